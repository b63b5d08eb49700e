import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { assignPartitions, type Subscriber } from '../../topics/kafka-log-assign.ts'

const reader = (id: string, partitions: readonly number[] = [], generation = 0): Subscriber => ({
  id,
  topics: ['t'],
  owned: new Map([['t', partitions]]),
  generation,
})
const shares = (subscribers: readonly Subscriber[], count: number) =>
  new Map(
    [...assignPartitions(subscribers, new Map([['t', count]]))].map(([id, topics]) => [id, topics.get('t') ?? []]),
  )

describe('sharing partitions out', () => {
  test('each partition has one reader, and no reader has two more than another', () => {
    const anyReaders = fc.uniqueArray(fc.tuple(fc.string(), fc.uniqueArray(fc.nat(11)), fc.nat(3)), {
      minLength: 1,
      maxLength: 15,
      selector: ([id]) => id,
    })
    fc.assert(
      fc.property(anyReaders, fc.integer({ min: 1, max: 12 }), (readers, count) => {
        const assigned = shares(
          readers.map(([id, owned, generation]) => reader(id, owned, generation)),
          count,
        )
        const all = [...assigned.values()].flat().toSorted((a, b) => a - b)
        expect(all).toEqual(Array.from({ length: count }, (_, i) => i))
        const sizes = [...assigned.values()].map(({ length }) => length)
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1)
      }),
    )
  })

  test('nothing moves when nobody comes or goes', () => {
    const first = shares([reader('a'), reader('b'), reader('c')], 12)
    const again = shares(
      [...first].map(([id, partitions]) => reader(id, partitions, 1)),
      12,
    )
    expect(again).toEqual(first)
  })

  test('who comes takes only what evens the shares', () => {
    const assigned = shares([reader('a', [0, 1, 2, 3, 4, 5], 1), reader('b', [6, 7, 8, 9, 10, 11], 1), reader('c')], 12)
    expect(assigned.get('a')).toEqual([0, 1, 2, 3])
    expect(assigned.get('b')).toEqual([6, 7, 8, 9])
    expect(assigned.get('c')).toEqual([4, 5, 10, 11])
  })

  test('of two claims the younger holds', () => {
    const assigned = shares([reader('a', [0, 1], 1), reader('b', [0, 1], 2)], 4)
    expect(assigned.get('b')).toEqual([0, 1])
    expect(assigned.get('a')).toEqual([2, 3])
  })

  test('who reads another topic of the group gets none', () => {
    const other: Subscriber = { id: 'x', topics: ['u'], owned: new Map(), generation: 0 }
    const counts = new Map([
      ['t', 2],
      ['u', 1],
    ])
    const assigned = assignPartitions([reader('a'), other], counts)
    expect(assigned.get('a')).toEqual(new Map([['t', [0, 1]]]))
    expect(assigned.get('x')).toEqual(new Map([['u', [0]]]))
  })
})
