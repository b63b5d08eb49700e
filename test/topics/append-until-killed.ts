/**
 * A process for the crash tests: appends numbered values to a topic for ever, single events and calls of several at
 * once, and writes each number to stdout when it is acknowledged. Arguments: file of the log, topic, first number.
 */
import { writeSync } from 'node:fs'
import { argv } from 'node:process'
import { openSqliteLog } from '../../topics/sqlite-log.ts'

const STDOUT = 1
const [path, topic, first] = argv.slice(2)
const log = await openSqliteLog({ path: path! })
let next = Number(first)

async function appendForEver(size: number): Promise<never> {
  for (;;) {
    const numbers = Array.from({ length: size }, () => String(next++))
    await log.append(
      topic!,
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

await Promise.all([appendForEver(1), appendForEver(1), appendForEver(100)])
