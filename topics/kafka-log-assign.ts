/** Who of a group reads which partitions: even shares, and everybody keeps what they can of what they had. */

export interface Subscriber {
  readonly id: string
  readonly topics: readonly string[]
  /** Partitions by topic that it read in `generation` of the group. */
  readonly owned: ReadonlyMap<string, readonly number[]>
  readonly generation: number
}

export type Assignment = ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>

/** Partitions by topic of each subscriber. The same answer whoever leads the group. */
export function assignPartitions(subscribers: readonly Subscriber[], counts: ReadonlyMap<string, number>): Assignment {
  const byId = subscribers.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const assignment = new Map<string, Map<string, readonly number[]>>(byId.map(({ id }) => [id, new Map()]))
  for (const [topic, count] of counts) {
    const readers = byId.filter(({ topics }) => topics.includes(topic))
    if (readers.length === 0) continue
    for (const [id, partitions] of shareOut(readers, topic, count)) assignment.get(id)!.set(topic, partitions)
  }
  return assignment
}

function shareOut(readers: readonly Subscriber[], topic: string, count: number): Map<string, number[]> {
  const least = Math.floor(count / readers.length)
  /** So many readers get one more than the least. */
  let larger = count % readers.length
  const free = new Set(Array.from({ length: count }, (_, partition) => partition))
  const shares = new Map<string, number[]>()
  // Of two that claim a partition the one with the younger claim is right.
  for (const { id, owned } of readers.toSorted((a, b) => b.generation - a.generation)) {
    const kept = (owned.get(topic) ?? [])
      .filter((partition) => free.has(partition))
      .slice(0, least + (larger > 0 ? 1 : 0))
    if (kept.length > least) larger--
    for (const partition of kept) free.delete(partition)
    shares.set(id, kept)
  }
  for (const { id } of readers) {
    const share = shares.get(id)!
    for (const partition of free) {
      if (share.length > least || (share.length === least && larger === 0)) break
      if (share.length === least) larger--
      share.push(partition)
      free.delete(partition)
    }
    share.sort((a, b) => a - b)
  }
  return shares
}
