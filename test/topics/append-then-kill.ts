/** Who kills the processes of the crash tests. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'vitest'

/** Starts a program that appends for ever, kills it after some acknowledged lines, and returns what it was told. */
export async function appendThenKill(program: string, args: readonly string[], lines: number): Promise<string[]> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString('latin1')
    if (output.split('\n').length > lines) child.kill('SIGKILL')
  })
  const [, signal] = await once(child, 'close')
  expect(signal).toBe('SIGKILL')
  return output.split('\n').slice(0, -1)
}
