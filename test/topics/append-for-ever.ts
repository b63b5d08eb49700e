/** What the processes of the crash tests do, whatever log they append to. */
import { writeSync } from 'node:fs'
import type { Log } from '../../topics/log.ts'

const STDOUT = 1

/** Appends numbered values, single events and calls of several at once; writes each number to stdout when acknowledged. */
export async function appendForEver(log: Log, topic: string, first: number): Promise<never> {
  let next = first
  const appendCalls = async (size: number): Promise<never> => {
    for (;;) {
      const numbers = Array.from({ length: size }, () => String(next++))
      await log.append(
        topic,
        numbers.map((number) => ({
          key: number,
          value: Buffer.from(number.padEnd(2000, ' ')),
          headers: { call: numbers[0]!, size: String(size) },
          onceId: number,
        })),
      )
      writeSync(STDOUT, `${numbers.join('\n')}\n`)
    }
  }
  return Promise.race([appendCalls(1), appendCalls(1), appendCalls(100)])
}
