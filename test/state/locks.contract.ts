/** What every implementation of `Locks` does. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Locks } from '../../state/locks.ts'

const never = new AbortController().signal

/** Resolves when it was called as often as given. */
function countdown(times: number) {
  const { promise, resolve } = Promise.withResolvers<void>()
  let left = times
  return { done: promise, count: () => void (--left === 0 && resolve()) }
}

export function testLocks(name: string, open: () => Promise<Locks>): void {
  describe(name, () => {
    let locks: Locks
    beforeEach(async () => {
      locks = await open()
    })
    afterEach(() => locks.close())

    test('work gives its result, and a signal that has not aborted', async () => {
      expect(await locks.hold('a', async (held) => [held.aborted, 7], never)).toEqual([false, 7])
    })

    test('one at a time holds it, in the order of asking', async () => {
      const order: number[] = []
      let inside = 0
      const all = Array.from({ length: 8 }, (_, n) =>
        locks.hold(
          'a',
          async () => {
            expect(++inside).toBe(1)
            await sleep(5)
            inside--
            order.push(n)
          },
          never,
        ),
      )
      await Promise.all(all)
      expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    })

    test('locks of different names are held side by side', async () => {
      const both = countdown(2)
      const meet = async () => {
        both.count()
        await both.done
      }
      await Promise.all([locks.hold('a', meet, never), locks.hold('b', meet, never)])
    })

    test('it is given up when the work fails, and what it failed with is told', async () => {
      const work = () => Promise.reject(new Error('no tea left'))
      await expect(locks.hold('a', work, never)).rejects.toThrow('no tea left')
      expect(await locks.hold('a', async () => 'again', never)).toBe('again')
    })

    test('who waits may give up, and the others still get it', async () => {
      const first = new AbortController()
      const waiting = new AbortController()
      const holding = countdown(1)
      const holder = locks.hold(
        'a',
        (held) => {
          holding.count()
          return new Promise<void>((resolve) => held.addEventListener('abort', () => resolve()))
        },
        first.signal,
      )
      await holding.done
      const impatient = locks.hold('a', async () => expect.fail('it was held twice'), waiting.signal)
      const patient = locks.hold('a', async () => 'at last', never)
      waiting.abort(new Error('too long'))
      await expect(impatient).rejects.toThrow('too long')
      first.abort(new Error('that is enough'))
      await holder
      expect(await patient).toBe('at last')
    })

    test('a signal that has aborted refuses at once', async () => {
      const work = async () => expect.fail('it ran')
      await expect(locks.hold('a', work, AbortSignal.abort(new Error('over')))).rejects.toThrow('over')
    })

    test('the signal aborts what is held, with its reason', async () => {
      const stop = new AbortController()
      const work = (held: AbortSignal) =>
        new Promise((resolve) => {
          held.addEventListener('abort', () => resolve(held.reason))
          stop.abort(new Error('the process ends'))
        })
      expect(await locks.hold('a', work, stop.signal)).toEqual(new Error('the process ends'))
    })

    test('closing aborts what is held, waits for it, and refuses who waits and who comes', async () => {
      const holding = countdown(1)
      let isCleanedUp = false
      const holder = locks.hold(
        'a',
        async (held) => {
          holding.count()
          await new Promise<void>((resolve) => held.addEventListener('abort', () => resolve()))
          await sleep(50)
          isCleanedUp = true
        },
        never,
      )
      await holding.done
      const waiting = locks.hold('a', async () => expect.fail('it was held'), never)
      const refused = expect(waiting).rejects.toThrow('closed')
      await locks.close()
      expect(isCleanedUp).toBe(true)
      await holder
      await refused
      await expect(locks.hold('a', async () => 1, never)).rejects.toThrow('closed')
      await locks.close()
    })

    test('a hundred short holds leave nothing that still waits', async () => {
      let count = 0
      for (let n = 0; n < 100; n++) await locks.hold('a', async () => void count++, never)
      expect(count).toBe(100)
    })
  })
}
