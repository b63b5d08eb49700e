import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { PostPressure } from '../../api/post-pressure.ts'

const forever = new AbortController().signal

/** Posts that are answered after so long, so many at once, until told to stop. */
function posting(pressure: PostPressure, atOnce: number, milliseconds: number) {
  let stopped = false
  const client = async () => {
    while (!stopped) {
      const end = pressure.begin()
      await sleep(milliseconds)
      end()
    }
  }
  const clients = Promise.all(Array.from({ length: atOnce }, client))
  return async () => {
    stopped = true
    await clients
  }
}

async function secondsOf(work: Promise<void>): Promise<number> {
  const begun = performance.now()
  await work
  return (performance.now() - begun) / 1000
}

describe('loops give way to posts', () => {
  test('not when nobody posts, nor for one client after the other', async () => {
    const pressure = new PostPressure()
    expect(await secondsOf(pressure.giveWay(forever))).toBeLessThan(0.05)
    const stop = posting(pressure, 1, 20)
    await sleep(200)
    expect(pressure.isHigh()).toBe(false)
    await stop()
  })

  test('when many wait, until they do no more', async () => {
    const pressure = new PostPressure()
    const stop = posting(pressure, 16, 20)
    await sleep(200)
    expect(pressure.isHigh()).toBe(true)
    const resting = secondsOf(pressure.giveWay(forever))
    await sleep(300)
    await stop()
    const seconds = await resting
    expect(seconds).toBeGreaterThan(0.25)
    expect(seconds).toBeLessThan(1.5)
  })

  test('but not for ever: a batch is done every two seconds however much is posted', async () => {
    const pressure = new PostPressure()
    const stop = posting(pressure, 16, 20)
    await sleep(200)
    const seconds = await secondsOf(pressure.giveWay(forever))
    await stop()
    expect(seconds).toBeGreaterThan(1.5)
    expect(seconds).toBeLessThan(4)
  })

  test('and not when they are to stop', async () => {
    const pressure = new PostPressure()
    const stop = posting(pressure, 16, 20)
    await sleep(200)
    const ending = new AbortController()
    const resting = secondsOf(pressure.giveWay(ending.signal))
    ending.abort()
    expect(await resting).toBeLessThan(0.5)
    await stop()
  })
})
