/** The blob store of docker-compose.yml: its very commands, run on this machine, make a store that mailtrail can use. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { readConfig } from '../../config.ts'
import { openS3Blobs } from '../../edges/s3-blobs.ts'
import { endAll, ROOT, tempFolder, until } from '../fixtures.ts'
import { BINARY, install } from './services/s3.ts'

interface Service {
  readonly entrypoint: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly healthcheck: { readonly test: readonly string[] }
}

const impossible = await install().then(
  () => null,
  (error: Error) => error.message,
)
const withServer = impossible === null || process.env.CI === 'true' ? test : test.skip
const { services } = parse(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
  services: Record<string, Service>
}

const ends: (() => void)[] = []
afterEach(async () => {
  for (const end of ends.splice(0)) end()
  await endAll()
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const address = server.address()
  await new Promise((closed) => server.close(closed))
  if (address === null || typeof address === 'string') throw new Error('No free port.')
  return address.port
}

withServer(
  'the S3 services of docker-compose.yml make a bucket that mailtrail, with its settings there, can use',
  async () => {
    if (impossible !== null) throw new Error(impossible)
    const place = await tempFolder('s3-compose')
    const secrets = join(place, 'secrets')
    execFileSync(join(ROOT, 'docker/make-secrets.sh'), [secrets], { stdio: 'ignore' })
    const port = await freePort()
    // Paths and the port of the container are ours here; `$$` is how Compose writes a dollar.
    const here = (words: readonly string[]) =>
      words.map((word) =>
        word
          .replaceAll('$$', '$')
          .replaceAll('/run/secrets/', `${secrets}/`)
          .replaceAll('/objects', `${place}/objects`)
          .replaceAll('7070', String(port)),
      )
    const tools = join(place, 'tools')
    mkdirSync(tools)
    writeFileSync(join(tools, 'versitygw'), `#!/bin/sh\nexec ${BINARY} "$@"\n`)
    chmodSync(join(tools, 'versitygw'), 0o755)
    const env = { PATH: `${tools}:${process.env.PATH}` }

    const [make = '', ...rest] = here(services['s3-bucket']!.entrypoint)
    for (let i = 0; i < 2; i++) expect(spawnSync(make, rest, { env }).status).toBe(0)
    const [command = '', ...words] = here(services.s3!.entrypoint)
    const server = spawn(command, words, { env, stdio: 'ignore' })
    ends.push(() => server.kill('SIGKILL'))
    const probe = here(services.s3!.healthcheck.test.slice(1))
    await until('the health check to pass', 20, () => spawnSync(probe[0]!, probe.slice(1)).status === 0)

    const given = Object.entries(services.mailtrail!.environment).map(([name, value]) => [name, here([value])[0]])
    const config = readConfig({}, Object.fromEntries(given))
    if (config.MAILTRAIL_BLOBS?.kind !== 's3') throw new Error('docker-compose.yml keeps large mails elsewhere.')
    const blobs = openS3Blobs({
      ...config.MAILTRAIL_BLOBS,
      endpoint: config.MAILTRAIL_S3_ENDPOINT!.replace('//s3:', '//127.0.0.1:'),
      region: config.MAILTRAIL_S3_REGION,
      pathStyle: config.MAILTRAIL_S3_PATH_STYLE,
      accessKeyId: config.MAILTRAIL_S3_ACCESS_KEY_ID!,
      secretAccessKey: config.MAILTRAIL_S3_SECRET_ACCESS_KEY!,
    })
    await blobs.check()
    const { sha256 } = await blobs.put(Buffer.from('a large mail'))
    expect(Buffer.from((await blobs.get(sha256))!).toString()).toBe('a large mail')
  },
)

describe('the health check of the registry', () => {
  const probe = (port: number) => {
    const words = services.registry!.healthcheck.test.slice(1).map((word) => word.replace('8080', String(port)))
    return new Promise<number | null>((resolve) => spawn(words[0]!, words.slice(1)).once('close', resolve))
  }

  test.each([
    ['passes when it lists its subjects', 'HTTP/1.0 200 OK\r\n\r\n[]', true],
    ['fails when it cannot', 'HTTP/1.0 500 Internal Server Error\r\n\r\n', false],
  ])('%s', async (_, answer, healthy) => {
    const server = createServer((socket) => socket.once('data', () => socket.end(answer)))
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
    ends.push(() => server.close())
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('No port.')
    expect((await probe(address.port)) === 0).toBe(healthy)
  })

  test('fails when nobody listens', async () => {
    expect(await probe(await freePort())).not.toBe(0)
  })
})
