import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { ByteReader, ByteWriter, varintSize } from '../../topics/kafka-log-bytes.ts'
import { decompress, loadCodecs } from '../../topics/kafka-log-codecs.ts'
import {
  committedBatches,
  crc32c,
  encodeBatch,
  encodeEvents,
  type ProducerState,
  type RawBatch,
  readBatch,
  splitBatches,
} from '../../topics/kafka-log-records.ts'
import type { NewEvent } from '../../topics/log.ts'

const producer: ProducerState = { id: 7n, epoch: 1, sequence: 0 }
const batchOf = (events: readonly NewEvent[], now = 1000) => encodeBatch(encodeEvents(events, now), producer)
const TRANSACTIONAL = 0x10
const CONTROL = 0x20

beforeAll(loadCodecs)

const anyEvent = fc.record(
  {
    key: fc.option(fc.string({ unit: 'binary' })),
    value: fc.oneof(fc.uint8Array({ maxLength: 50 }), fc.uint8Array({ minLength: 500, maxLength: 2000 })),
    headers: fc.dictionary(fc.string({ unit: 'binary', minLength: 1 }), fc.string({ unit: 'binary' }), { maxKeys: 4 }),
    timestamp: fc.integer({ min: -(2 ** 42), max: 2 ** 42 }),
  },
  { requiredKeys: ['key', 'value'] },
)

describe('numbers', () => {
  test('varints are read as they were written, and are as long as said', () => {
    const anyNumber = fc.oneof(
      fc.integer(),
      fc.maxSafeInteger().map((value) => Math.floor(value / 2)),
    )
    fc.assert(
      fc.property(anyNumber, (value) => {
        const written = new ByteWriter(1).varint(value).written()
        expect(written.length).toBe(varintSize(value))
        expect(new ByteReader(written).varint()).toBe(value)
      }),
    )
  })

  test('bytes that end too early are an error', () => {
    expect(() => new ByteReader(Buffer.from([0, 5, 1])).string()).toThrow(RangeError)
    expect(() => new ByteReader(Buffer.alloc(12, 0xff)).varint()).toThrow(RangeError)
  })

  test('the checksum is CRC-32C', () => {
    // RFC 3720 B.4
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa)
    expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43)
    expect(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i)))).toBe(0x46dd794e)
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
  })
})

describe('a batch of records', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { minLength: 1, maxLength: 50 }), (events) => {
        const [batch] = splitBatches(batchOf(events as NewEvent[]))
        const read = readBatch(batch!, 'topic', 3)
        expect(batch!.nextOffset).toBe(events.length)
        expect(
          read.map(({ key, value, headers, timestamp, offset, partition }) => ({
            key,
            value: Buffer.from(value).toString('hex'),
            headers: { ...headers },
            timestamp,
            offset,
            partition,
          })),
        ).toEqual(
          events.map(({ key, value, headers = {}, timestamp = 1000 }, offset) => ({
            key: key === null ? null : Buffer.from(key).toString(),
            value: Buffer.from(value).toString('hex'),
            headers: { ...headers },
            timestamp,
            offset,
            partition: 3,
          })),
        )
      }),
    )
  })

  test('is read from an offset on', () => {
    const bytes = batchOf(['a', 'b', 'c'].map((key) => ({ key, value: Buffer.from(key) })))
    bytes.writeBigInt64BE(100n, 0)
    const [batch] = splitBatches(bytes)
    expect(readBatch(batch!, 'topic', 0, 101).map(({ key, offset }) => [key, offset])).toEqual([
      ['b', 101],
      ['c', 102],
    ])
  })

  test('large ones are compressed', () => {
    const value = Buffer.from('again and again '.repeat(100))
    expect(batchOf([{ key: null, value }]).length).toBeLessThan(300)
  })

  test('one that was cut off is left out', () => {
    const whole = batchOf([{ key: null, value: Buffer.from('x') }])
    const cut = Buffer.concat([whole, whole.subarray(0, whole.length - 1)])
    expect(splitBatches(cut).length).toBe(1)
    expect(splitBatches(whole.subarray(0, 20))).toEqual([])
  })

  test('one of an old format is refused', () => {
    const bytes = batchOf([{ key: null, value: Buffer.from('x') }])
    bytes.writeInt8(1, 16)
    expect(() => splitBatches(bytes)).toThrow(/before 0.11/)
  })

  test('what is done to the values afterwards changes nothing', () => {
    const value = Buffer.from('before')
    const encoded = encodeEvents([{ key: null, value }], 0)
    value.fill('!')
    const [batch] = splitBatches(encodeBatch(encoded, producer))
    expect(Buffer.from(readBatch(batch!, 'topic', 0)[0]!.value).toString()).toBe('before')
  })
})

describe('transactions', () => {
  const written = (firstOffset: number, producerId: bigint, attributes = TRANSACTIONAL): RawBatch => {
    const bytes = encodeBatch(encodeEvents([{ key: null, value: Buffer.from('x') }], 0), {
      ...producer,
      id: producerId,
    })
    bytes.writeInt16BE(attributes, 21)
    return { bytes, firstOffset, nextOffset: firstOffset + 1 }
  }

  test('what was aborted is passed over, and what the same producer wrote afterwards is not', () => {
    const batches = [
      written(0, 1n),
      written(1, 2n),
      written(2, 1n, TRANSACTIONAL | CONTROL),
      written(3, 1n),
      written(4, 2n, TRANSACTIONAL | CONTROL),
      written(5, 3n, 0),
      written(6, 1n, TRANSACTIONAL | CONTROL),
    ]
    const kept = committedBatches(batches, [{ producerId: 1n, firstOffset: 0 }])
    expect(kept.map(({ firstOffset }) => firstOffset)).toEqual([1, 3, 5])
  })
})

describe('codecs', () => {
  test('Snappy with and without the Java client’s frame', () => {
    // One literal of five bytes.
    const block = Buffer.concat([Buffer.from([5, 4 << 2]), Buffer.from('snapp')])
    expect(decompress(2, block).toString()).toBe('snapp')
    const frame = Buffer.from([
      0x82,
      0x53,
      0x4e,
      0x41,
      0x50,
      0x50,
      0x59,
      0,
      0,
      0,
      0,
      1,
      0,
      0,
      0,
      1,
      0,
      0,
      0,
      block.length,
    ])
    const blocks = [frame, block, frame.subarray(16), block]
    expect(decompress(2, Buffer.concat(blocks)).toString()).toBe('snappsnapp')
  })

  test('a codec that nobody knows is an error', () => {
    expect(() => decompress(6, Buffer.alloc(1))).toThrow(/codec 6/)
  })

  test('a few bytes may not become any number of them', () => {
    const bomb = gzipSync(Buffer.alloc(300 * 1024 * 1024))
    expect(bomb.length).toBeLessThan(400_000)
    expect(() => decompress(1, bomb)).toThrow()
  })
})
