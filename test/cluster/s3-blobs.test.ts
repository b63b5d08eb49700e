/** Blobs on a real S3-compatible server, which verifies every signature, and what happens when it fails. */
import { createHash } from 'node:crypto'
import { globSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openS3Blobs, type S3Options } from '../../edges/s3-blobs.ts'
import { BlobsUnavailable } from '../../topics/blobs.ts'
import { testBlobs } from '../edges/blobs.contract.ts'
import { install, type S3Server, start } from './services/s3.ts'
import { type FaultyProxy, startProxy } from './services/s3-faults.ts'

const impossible = await install().then(
  () => null,
  (error: Error) => error.message,
)
const withServer = impossible === null || process.env.CI === 'true' ? describe : describe.skip

let server: S3Server
let buckets = 0

function optionsFor(bucket: string, more: Partial<S3Options> = {}): S3Options {
  const { endpoint, region, owner } = server
  return { endpoint, region, bucket, prefix: 'mail/large', pathStyle: true, ...owner, pauseMilliseconds: 20, ...more }
}

async function newBucket(): Promise<string> {
  const bucket = `blobs-${++buckets}`
  await server.makeBucket(bucket)
  return bucket
}

withServer(`S3-compatible blobs${impossible === null ? '' : ` (${impossible})`}`, () => {
  beforeAll(async () => {
    if (impossible !== null) throw new Error(impossible)
    server = await start()
  })
  afterAll(() => server?.stop())

  testBlobs('blobs in a bucket', async () => {
    const bucket = await newBucket()
    const place = join(server.folder, bucket)
    return {
      blobs: openS3Blobs(optionsFor(bucket)),
      names: () => globSync('mail/large/*/*', { cwd: place }).map((path) => basename(path)),
      tamper: (sha256, bytes) => writeFile(join(place, 'mail/large', sha256.slice(0, 2), sha256), bytes),
      remove: async () => rmSync(place, { recursive: true, force: true }),
    }
  })

  test('without a prefix, objects lie at the top of the bucket', async () => {
    const bucket = await newBucket()
    const { sha256 } = await openS3Blobs(optionsFor(bucket, { prefix: '' })).put(Buffer.from('a mail'))
    expect(readFileSync(join(server.folder, bucket, sha256.slice(0, 2), sha256), 'utf8')).toBe('a mail')
  })

  test('a prefix may hold what an address may not', async () => {
    const bucket = await newBucket()
    const blobs = openS3Blobs(optionsFor(bucket, { prefix: 'our mails/2026+ü (large)' }))
    const { sha256 } = await blobs.put(Buffer.from('a mail'))
    expect(Buffer.from((await blobs.get(sha256))!).toString()).toBe('a mail')
  })

  describe('refused', () => {
    const refusal = async (more: Partial<S3Options>, bucket?: string) => {
      const told: string[] = []
      const blobs = openS3Blobs(
        optionsFor(bucket ?? (await newBucket()), { ...more, onProblem: (message) => told.push(message) }),
      )
      const writing = blobs.put(Buffer.from('a mail'))
      await expect(writing).rejects.toThrow(BlobsUnavailable)
      const reading = blobs.get('0'.repeat(64))
      await expect(reading).rejects.toThrow(BlobsUnavailable)
      await expect(blobs.check()).rejects.toThrow(BlobsUnavailable)
      // Once for writing, once for reading.
      expect(told).toHaveLength(2)
      return told
    }

    test('a bucket that is not there is no missing blob: it must be created', async () => {
      for (const message of await refusal({}, 'nobody-made-this'))
        expect(message).toContain('there is no such bucket. Create nobody-made-this')
    })

    test('a wrong secret names the settings of the keys', async () => {
      for (const message of await refusal({ secretAccessKey: 'wrong' }))
        expect(message).toContain('Check MAILTRAIL_S3_ACCESS_KEY_ID and MAILTRAIL_S3_SECRET_ACCESS_KEY')
    })

    test('an unknown key names the settings of the keys', async () => {
      for (const message of await refusal({ accessKeyId: 'nobody' }))
        expect(message).toContain('Check MAILTRAIL_S3_ACCESS_KEY_ID and MAILTRAIL_S3_SECRET_ACCESS_KEY')
    })

    test('a key without rights is told which it lacks', async () => {
      const [writing, reading] = await refusal({ ...server.stranger })
      expect(writing).toContain('the key lacks a right. It needs s3:PutObject.')
      expect(reading).toContain('the key lacks a right. It needs s3:GetObject')
    })

    test('another region names the setting of the region', async () => {
      for (const message of await refusal({ region: 'eu-nowhere-1' })) expect(message).toContain('MAILTRAIL_S3_REGION')
    })
  })

  describe('behind a connection that fails', () => {
    const bytes = Buffer.alloc(400_000, 'a large mail ')
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    let proxy: FaultyProxy
    let folder: string
    let told: string[]
    let blobs: ReturnType<typeof openS3Blobs>

    beforeEach(async () => {
      proxy = await startProxy(server.endpoint)
      folder = mkdtempSync(join(tmpdir(), 'mailtrail-blobs-'))
      told = []
      blobs = openS3Blobs(
        optionsFor(await newBucket(), {
          endpoint: proxy.endpoint,
          timeoutMilliseconds: 300,
          attempts: 3,
          onProblem: (message) => told.push(message),
        }),
      )
    })
    afterEach(async () => {
      await proxy.stop()
      rmSync(folder, { recursive: true, force: true })
    })

    test('what is there already is not sent again', async () => {
      await blobs.put(bytes)
      await blobs.put(bytes)
      expect(proxy.seen).toEqual(['HEAD', 'PUT', 'HEAD'])
    })

    test('who may not ask whether it is there sends it', async () => {
      proxy.fail({ status: 403 }, 1, 'HEAD')
      await blobs.put(bytes)
      expect(proxy.seen).toEqual(['HEAD', 'PUT'])
      expect(told).toEqual([])
    })

    test.each([
      ['500', { status: 500 }],
      ['503', { status: 503 }],
      ['429', { status: 429 }],
      ['a connection that is cut', 'reset'],
      ['silence', 'silent'],
    ] as const)('two times %s are passed over without a word', async (_, fault) => {
      proxy.fail(fault, 2, 'PUT')
      await blobs.put(bytes)
      proxy.fail(fault, 2, 'GET')
      expect(Buffer.from((await blobs.get(sha256))!).equals(bytes)).toBe(true)
      proxy.fail(fault, 2, 'GET')
      const local = (await blobs.fetch(sha256, folder))!
      expect(readFileSync(local.path).equals(bytes)).toBe(true)
      await local.release()
      expect(told).toEqual([])
    })

    test('an answer that ends too early is asked for again, also into a file', async () => {
      await blobs.put(bytes)
      proxy.fail('cut', 2, 'GET')
      expect(Buffer.from((await blobs.get(sha256))!).equals(bytes)).toBe(true)
      proxy.fail('cut', 2, 'GET')
      const local = (await blobs.fetch(sha256, folder))!
      expect(readFileSync(local.path).equals(bytes)).toBe(true)
      await local.release()
      expect(readdirSync(folder)).toEqual([])
    })

    test('bytes that changed on the way are refused by the store', async () => {
      proxy.fail('garble', Number.POSITIVE_INFINITY, 'PUT')
      await expect(blobs.put(bytes)).rejects.toThrow('it received other bytes than were sent')
      expect(await blobs.get(sha256)).toBeNull()
      proxy.fail('garble', 1, 'PUT')
      await blobs.put(bytes)
      expect(Buffer.from((await blobs.get(sha256))!).equals(bytes)).toBe(true)
    })

    test('a store that stays away is said once, leaves no file behind, and is said once when it is back', async () => {
      await blobs.put(bytes)
      proxy.fail({ status: 503 }, Number.POSITIVE_INFINITY)
      for (let i = 0; i < 3; i++) {
        await expect(blobs.get(sha256)).rejects.toThrow(BlobsUnavailable)
        await expect(blobs.fetch(sha256, folder)).rejects.toThrow('does not answer GET after 3 attempts')
      }
      expect(readdirSync(folder)).toEqual([])
      proxy.heal()
      await blobs.get(sha256)
      expect(told).toEqual([
        `The blob store at ${proxy.endpoint} does not answer GET after 3 attempts: it answered 503. It is asked again until it does.`,
        'The blob store gives blobs again.',
      ])
    })

    test('a server that was killed and started again has everything that it acknowledged', async () => {
      await blobs.put(bytes)
      await server.kill()
      await expect(blobs.get(sha256)).rejects.toThrow(BlobsUnavailable)
      await server.restart()
      expect(Buffer.from((await blobs.get(sha256))!).equals(bytes)).toBe(true)
    })
  })
})
