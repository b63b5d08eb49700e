/** A mailtrail in a process of its own, for benchmarks that talk to it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { entry } from './measure.ts'

export interface RunningServer {
  readonly url: string
  readonly process: ChildProcess
  /** Seconds from the start of the process until it said that it is up. */
  readonly seconds: number
  stop(): Promise<void>
}

export async function startServer(data: string): Promise<RunningServer> {
  const begun = performance.now()
  const child = spawn(process.execPath, [entry, 'up', '--data', data, '--listen', '127.0.0.1:0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, LOG_LEVEL: 'error' },
  })
  const url = await new Promise<string>((resolve, reject) => {
    let said = ''
    child.stdout.on('data', (bytes: Buffer) => {
      said += bytes.toString()
      const match = /is up: (http\S+)/.exec(said)
      if (match !== null) resolve(match[1]!)
    })
    child.once('exit', (code) => reject(new Error(`mailtrail ended with exit code ${code}: ${said}`)))
  })
  return {
    url,
    process: child,
    seconds: (performance.now() - begun) / 1000,
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await ended
    },
  }
}
