import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ConfigError, nearest, readConfig, settings, wantsStackTraces } from '../config.ts'

const DIGEST = 'a'.repeat(64)

/** What is wrong with a setting, in the words for the operator. */
function complaint(environment: Readonly<Record<string, string>>): string {
  try {
    readConfig({}, environment)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as Error).message
  }
  return ''
}

describe('readConfig', () => {
  test('an empty environment gives the defaults, frozen', () => {
    const config = readConfig({}, {})
    expect(config).toMatchObject({
      MAILTRAIL_DATA: resolve('data'),
      MAILTRAIL_LISTEN: { host: '127.0.0.1', port: 7489 },
      MAILTRAIL_ROLES: ['ingest', 'process', 'project', 'api'],
      MAILTRAIL_TOPIC_PREFIX: '',
      MAILTRAIL_MAX_MAIL_BYTES: 52_428_800,
      MAILTRAIL_RETENTION_INGEST: null,
      MAILTRAIL_API_KEYS: [],
      LOG_LEVEL: 'info',
    })
    expect(Object.keys(config).sort()).toEqual(Object.keys(settings).sort())
    expect(Object.isFrozen(config)).toBe(true)
  })

  test('an argument wins over the environment, and empty text is not set', () => {
    const environment = { MAILTRAIL_DATA: '/from/environment', MAILTRAIL_TOPIC_PREFIX: '' }
    expect(readConfig({ MAILTRAIL_DATA: '/from/argument' }, environment).MAILTRAIL_DATA).toBe('/from/argument')
    expect(readConfig({}, environment).MAILTRAIL_DATA).toBe('/from/environment')
    expect(readConfig({}, { MAILTRAIL_DATA: '' }).MAILTRAIL_DATA).toBe(resolve('data'))
  })

  test('other names are nobody’s business', () => {
    expect(complaint({ PATH: '/bin', MAILTRAILER: 'x', HOME: '/root' })).toBe('')
  })

  test.each([
    ['127.0.0.1:1', { host: '127.0.0.1', port: 1 }],
    ['[::1]:7489', { host: '::1', port: 7489 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
    [':8080', { host: '0.0.0.0', port: 8080 }],
  ])('%s is an address', (MAILTRAIL_LISTEN, address) => {
    expect(readConfig({}, { MAILTRAIL_LISTEN }).MAILTRAIL_LISTEN).toEqual(address)
  })

  test.each(['7489', '127.0.0.1', '127.0.0.1:65536', '::1:80', 'http://x:1', '127.0.0.1:-1', ' 127.0.0.1:1'])(
    '"%s" is none',
    (MAILTRAIL_LISTEN) => {
      expect(complaint({ MAILTRAIL_LISTEN })).toContain('MAILTRAIL_LISTEN must be HOST:PORT')
    },
  )

  test('times are days, hours or minutes, or for ever', () => {
    const kept = (MAILTRAIL_RETENTION_INGEST: string) =>
      readConfig({}, { MAILTRAIL_RETENTION_INGEST }).MAILTRAIL_RETENTION_INGEST
    expect([kept('730d'), kept('12h'), kept('30m'), kept('forever')]).toEqual([
      63_072_000_000,
      43_200_000,
      1_800_000,
      null,
    ])
    for (const wrong of ['730', '1y', '-1d', '1.5d', 'd']) {
      expect(complaint({ MAILTRAIL_RETENTION_INGEST: wrong })).toContain('730d')
    }
  })

  test('numbers are whole and not negative', () => {
    for (const wrong of ['-1', '1.5', '1e6', 'many', '0x10', '1 000']) {
      expect(complaint({ MAILTRAIL_MAX_MAIL_BYTES: wrong })).toBe('MAILTRAIL_MAX_MAIL_BYTES must be a whole number.')
    }
  })

  test('keys are name, digest and scopes; several by white space', () => {
    const MAILTRAIL_API_KEYS = `reader:${DIGEST}:read\n sender:${DIGEST.toUpperCase()}:ingest+read`
    expect(readConfig({}, { MAILTRAIL_API_KEYS }).MAILTRAIL_API_KEYS).toEqual([
      { name: 'reader', sha256: DIGEST, scopes: ['read'] },
      { name: 'sender', sha256: DIGEST, scopes: ['ingest', 'read'] },
    ])
    for (const wrong of [
      'reader',
      `reader:${DIGEST}`,
      `reader:${DIGEST}:write`,
      `:${DIGEST}:read`,
      'reader:abc:read',
    ]) {
      expect(complaint({ MAILTRAIL_API_KEYS: wrong })).toContain('MAILTRAIL_API_KEYS')
      expect(complaint({ MAILTRAIL_API_KEYS: wrong })).not.toContain(wrong)
    }
  })

  test('a secret may lie in a file; other settings may not', () => {
    const folder = mkdtempSync(join(tmpdir(), 'mailtrail-config-'))
    try {
      const path = join(folder, 'key')
      writeFileSync(path, 'the key\n')
      expect(readConfig({}, { MAILTRAIL_API_KEY_FILE: path }).MAILTRAIL_API_KEY).toBe('the key')
      expect(complaint({ MAILTRAIL_API_KEY_FILE: join(folder, 'none') })).toContain('ENOENT')
      expect(complaint({ MAILTRAIL_LISTEN_FILE: path })).toContain('MAILTRAIL_LISTEN_FILE is no setting')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('a misspelt name is refused, and the nearest is suggested', () => {
    expect(complaint({ MAILTRAIL_DAAT: 'x' })).toContain('Did you mean MAILTRAIL_DATA?')
    expect(complaint({ MAILTRAIL_ROLE: 'api' })).toContain('Did you mean MAILTRAIL_ROLES?')
  })

  test('where the servers are is checked before anything is opened', () => {
    expect(readConfig({}, { KAFKA_BROKERS: 'a:9092, [::1]:9093' }).KAFKA_BROKERS).toEqual(['a:9092', '[::1]:9093'])
    expect(readConfig({}, {}).KAFKA_BROKERS).toEqual([])
    expect(complaint({ KAFKA_BROKERS: 'kafka' })).toContain('KAFKA_BROKERS must be HOST:PORT')
    expect(complaint({ KAFKA_SASL_MECHANISM: 'gssapi' })).toContain('scram-sha-512')
    expect(complaint({ KAFKA_SSL: 'maybe' })).toContain('must be true or false')
    expect(complaint({ CLICKHOUSE_URL: 'clickhouse:8123' })).toContain('must be an address')
    expect(complaint({ CLICKHOUSE_DATABASE: 'a-b' })).toContain('letters, digits and underscores')
    expect(complaint({ DATABASE_URL: 'mysql://x' })).toContain('postgres://')
    expect(readConfig({}, { MAILTRAIL_BLOBS: 's3://bucket/some/prefix/' }).MAILTRAIL_BLOBS).toEqual({
      kind: 's3',
      bucket: 'bucket',
      prefix: 'some/prefix',
    })
    expect(complaint({ MAILTRAIL_BLOBS: 'gs://bucket' })).toContain('file:PATH or s3://')
  })

  test('name servers are addresses with ports, those of the machine, or none', () => {
    const resolvers = (text: string) => readConfig({}, { MAILTRAIL_RESOLVERS: text }).MAILTRAIL_RESOLVERS
    expect(resolvers('')).toBe('system')
    expect(resolvers('off')).toEqual([])
    expect(resolvers('192.0.2.53:53, [2001:db8::53]:5353')).toEqual(['192.0.2.53:53', '[2001:db8::53]:5353'])
    for (const wrong of ['192.0.2.53', ':53', 'on', '192.0.2.53:0', '192.0.2.53:53,'])
      expect(complaint({ MAILTRAIL_RESOLVERS: wrong }), wrong).toContain('must be off, system, or name servers')
  })
})

test('nearest takes the name with the fewest letters to change', () => {
  expect(nearest('imprt', ['up', 'import', 'parse'])).toBe('import')
  expect(nearest('', ['up', 'import'])).toBe('up')
})

test('stack traces are for debugging', () => {
  expect([{}, { LOG_LEVEL: 'info' }, { LOG_LEVEL: 'debug' }, { LOG_LEVEL: 'trace' }].map(wantsStackTraces)).toEqual([
    false,
    false,
    true,
    true,
  ])
})
