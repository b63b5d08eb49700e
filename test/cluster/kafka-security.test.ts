/** TLS and logins against the real broker, and what an operator is told when they are wrong. */
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type KafkaLogOptions, openKafkaLog } from '../../topics/kafka-log.ts'
import { numbered, readEvents, textOf } from '../topics/log.contract.ts'
import { freePort, hasCommand, install, type Kafka, start, unavailable } from './services/kafka.ts'

const reason = unavailable() ?? (hasCommand('openssl', 'version') ? null : 'there is no openssl')
if (reason !== null && process.env.CI === 'true') throw new Error(`Kafka cannot be started: ${reason}.`)

const PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required'
const SCRAM = 'org.apache.kafka.common.security.scram.ScramLoginModule required;'
const user = { username: 'mailtrail', password: 'a secret' }

/** A certificate authority and a broker's certificate for 127.0.0.1 from it. */
function makeCertificates(folder: string): { readonly ca: string; readonly keyStore: string } {
  const at = (name: string) => join(folder, name)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' })
  const key = ['-newkey', 'rsa:2048', '-nodes']
  openssl(
    'req',
    '-x509',
    ...key,
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.pem'),
    '-subj',
    '/CN=Test authority',
    '-days',
    '2',
  )
  openssl('req', ...key, '-keyout', at('broker.key'), '-out', at('broker.csr'), '-subj', '/CN=broker')
  writeFileSync(at('names'), 'subjectAltName=IP:127.0.0.1\n')
  const authority = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial']
  openssl(
    'x509',
    '-req',
    '-in',
    at('broker.csr'),
    ...authority,
    '-out',
    at('broker.pem'),
    '-days',
    '2',
    '-extfile',
    at('names'),
  )
  const keyStore = at('broker-and-key.pem')
  writeFileSync(keyStore, [at('broker.key'), at('broker.pem')].map((file) => readFileSync(file, 'utf8')).join(''))
  return { ca: readFileSync(at('ca.pem'), 'utf8'), keyStore }
}

describe.skipIf(reason !== null)(`a secured broker${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'mailtrail-tls-'))
  let kafka: Kafka
  let ca: string
  const ports = { plaintext: 0, sasl: 0, saslTls: 0, tls: 0 }

  beforeAll(async () => {
    await install()
    const certificates = makeCertificates(folder)
    ca = certificates.ca
    for (const name of ['plaintext', 'sasl', 'saslTls', 'tls'] as const) ports[name] = await freePort()
    const listeners = [
      `PLAINTEXT://127.0.0.1:${ports.plaintext}`,
      `SASL_PLAINTEXT://127.0.0.1:${ports.sasl}`,
      `SASL_SSL://127.0.0.1:${ports.saslTls}`,
      `SSL://127.0.0.1:${ports.tls}`,
    ].join(',')
    const logins = ['sasl_plaintext', 'sasl_ssl'].flatMap((listener) => [
      [`listener.name.${listener}.plain.sasl.jaas.config`, `${PLAIN} user_${user.username}="${user.password}";`],
      [`listener.name.${listener}.scram-sha-256.sasl.jaas.config`, SCRAM],
      [`listener.name.${listener}.scram-sha-512.sasl.jaas.config`, SCRAM],
    ])
    kafka = await start({
      port: ports.plaintext,
      properties: {
        listeners: `${listeners},CONTROLLER://127.0.0.1:${ports.plaintext + 1000}`,
        'advertised.listeners': listeners,
        'listener.security.protocol.map':
          'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL',
        'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
        'ssl.keystore.type': 'PEM',
        'ssl.keystore.location': certificates.keyStore,
        // Sessions end while the test runs: connections must log in again.
        'connections.max.reauth.ms': '15000',
        ...Object.fromEntries(logins),
      },
    })
    const where = ['--bootstrap-server', kafka.brokers[0]!, '--entity-type', 'users', '--entity-name', user.username]
    for (const mechanism of ['SCRAM-SHA-256', 'SCRAM-SHA-512']) {
      const password = ['--add-config', `${mechanism}=[password=${user.password}]`]
      await kafka.tool('kafka.admin.ConfigCommand', ['--alter', ...where, ...password])
    }
  })
  afterAll(async () => {
    await kafka?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const open = (port: number, options: Pick<KafkaLogOptions, 'ssl' | 'sasl'>) =>
    openKafkaLog({
      brokers: [`127.0.0.1:${port}`],
      clientId: 'mailtrail-test',
      replication: 0,
      fetchBytes: 1024 * 1024,
      onProblem: () => undefined,
      ...options,
    })
  const expectToWork = async (port: number, options: Pick<KafkaLogOptions, 'ssl' | 'sasl'>, milliseconds = 0) => {
    const log = await open(port, options)
    try {
      const topic = `topic-${randomUUID()}`
      await log.createTopic({ name: topic, partitions: 1, maxValueBytes: 1000 })
      const end = performance.now() + milliseconds
      let count = 0
      do {
        await log.append(topic, numbered(count, count + 5))
        count += 5
        if (milliseconds > 0) await new Promise((resolve) => setTimeout(resolve, 500))
      } while (performance.now() < end)
      const events = await readEvents(log, topic, count, { group: 'g', commit: true })
      expect(events.map(textOf)).toEqual(Array.from({ length: count }, (_, i) => String(i)))
      expect((await log.get(topic, 0, 3))?.offset).toBe(3)
      expect(await log.committed(topic, 'g')).toEqual(new Map([[0, count]]))
    } finally {
      await log.close()
    }
  }

  test('TLS', () => expectToWork(ports.tls, { ssl: { ca }, sasl: null }))

  test.each(['plain', 'scram-sha-256', 'scram-sha-512'] as const)('%s', (mechanism) =>
    expectToWork(ports.sasl, { ssl: false, sasl: { mechanism, ...user } }),
  )

  test('scram-sha-512 over TLS, beyond the end of a session', () =>
    expectToWork(ports.saslTls, { ssl: { ca }, sasl: { mechanism: 'scram-sha-512', ...user } }, 20_000))

  test.each(['plain', 'scram-sha-256'] as const)('a wrong password is told at once (%s)', async (mechanism) => {
    const opening = open(ports.sasl, { ssl: false, sasl: { mechanism, username: user.username, password: 'wrong' } })
    await expect(opening).rejects.toThrow(/refused the login.*KAFKA_PASSWORD/s)
  })

  test('a certificate that nobody vouches for is told at once', async () => {
    await expect(open(ports.tls, { ssl: {}, sasl: null })).rejects.toThrow(/KAFKA_SSL_CA/)
  })
})
