/** Rounds of `kill -9` while mail is imported, for the test of every day and for the long one. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { expectTruth, viewChecksums } from '../answers.ts'
import { importMail, killGroup, start, until, up } from '../fixtures.ts'
import type { Truth } from '../report-mail.ts'

export interface KillRounds {
  readonly rounds: number
  /** Where data folders are made. */
  readonly folder: string
  /** The mail, and what is true when all of it is in. */
  readonly mail: string
  readonly truth: Truth
  /** A number from 0 to 1 for the instant of each kill. */
  readonly random: () => number
}

/** Seconds to be ready again after a kill; where a start without one takes half as long already, twice that. */
const RESTART_SECONDS = 5

/**
 * In each round: a fresh data folder, an import killed with all its processes at some instant between its start and its
 * end, a new start, the same import to its end. Expects the truth in every answer and the same rows as without a kill.
 */
export async function killRounds({ rounds, folder, mail, truth, random }: KillRounds): Promise<void> {
  const whole = join(folder, 'whole')
  const began = performance.now()
  await importMail(whole, [mail])
  const duration = performance.now() - began
  /** Measured anew where a start was slow: other tests may take the machine meanwhile. */
  const restartSeconds = async () => {
    const untouched = await up(whole)
    expect(await untouched.stop()).toBe(0)
    return Math.max(RESTART_SECONDS, (2 * untouched.startedIn) / 1000)
  }
  const wanted = await viewChecksums(whole)
  for (let round = 1; round <= rounds; round++) {
    const data = join(folder, `round-${round}`)
    const instant = random() * duration
    await killedImport(data, mail, instant, ways[round % ways.length]!)
    const running = await up(data, { paths: [mail] })
    const about = `round ${round} of ${rounds}, killed after ${Math.round(instant)} of ${Math.round(duration)} ms`
    const seconds = running.startedIn / 1000
    if (seconds >= RESTART_SECONDS)
      expect(seconds, `${about}: seconds to be ready again`).toBeLessThan(await restartSeconds())
    await running.says(new RegExp(`Read ${truth.mails} mails: `), 600)
    await expectTruth(running, truth)
    expect(await running.stop()).toBe(0)
    expect(await viewChecksums(data), about).toEqual(wanted)
  }
}

/** How a round imports, and whether the process of the store dies with its owner or has to notice. */
const ways = [
  { command: 'import', whole: true },
  { command: 'up', whole: true },
  { command: 'import', whole: false },
] as const

/** Imports until the instant, by `import` or by `up` with a path, and kills. */
async function killedImport(data: string, mail: string, instant: number, way: (typeof ways)[number]): Promise<void> {
  const listen = way.command === 'up' ? ['--listen', '127.0.0.1:0'] : []
  const child = start([way.command, mail, '--data', data, ...listen])
  child.stdout!.resume()
  child.stderr!.resume()
  await sleep(instant)
  if (way.whole) {
    await killGroup(child)
    await until('the killed processes to be gone', 10, () => !groupLives(child.pid!))
  } else child.kill('SIGKILL')
}

function groupLives(pid: number): boolean {
  try {
    process.kill(-pid, 0)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}
