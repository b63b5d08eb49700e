/** Which partition a key belongs to: the same answer in both implementations of the log. */

const SEED = 0x9747b28c
const M = 0x5bd1e995

/** MurmurHash2, 32 bit, as Kafka's Java client computes it over the first `length` bytes; a signed 32-bit integer. */
export function murmur2(bytes: Uint8Array, length = bytes.length): number {
  let hash = SEED ^ length
  let i = 0
  for (; i + 4 <= length; i += 4) {
    let word = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    word = Math.imul(word, M)
    word ^= word >>> 24
    hash = Math.imul(hash, M) ^ Math.imul(word, M)
  }
  const rest = length - i
  if (rest === 3) hash ^= bytes[i + 2]! << 16
  if (rest >= 2) hash ^= bytes[i + 1]! << 8
  if (rest >= 1) hash = Math.imul(hash ^ bytes[i]!, M)
  hash ^= hash >>> 13
  hash = Math.imul(hash, M)
  return hash ^ (hash >>> 15)
}

/** A buffer a key costs more than hashing it. */
const scratch = Buffer.alloc(384)

/** Partition of a keyed event, from 0: Kafka's default partitioner (murmur2 of the UTF-8 key, made positive). */
export function partitionOf(key: string, partitions: number): number {
  const isShort = key.length * 3 <= scratch.length
  const hash = isShort ? murmur2(scratch, scratch.write(key, 'utf8')) : murmur2(Buffer.from(key, 'utf8'))
  return (hash & 0x7fffffff) % partitions
}
