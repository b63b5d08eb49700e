/** Locks on a real PostgreSQL: what all locks do, and what happens when a holder or the server goes away. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Locks } from '../../state/locks.ts'
import { openPostgresLocks } from '../../state/postgres-locks.ts'
import { testLocks } from '../state/locks.contract.ts'
import { install, type PostgresServer, start } from './services/postgres.ts'

const missing = await install().then(
  () => null,
  (error: Error) => error.message,
)
if (missing !== null && process.env.CI === 'true') throw new Error(missing)
if (missing !== null) console.warn(`Skipped: ${missing}`)

const never = new AbortController().signal
const untilAborted = (signal: AbortSignal) =>
  new Promise<Error>((resolve) => {
    if (signal.aborted) resolve(signal.reason)
    signal.addEventListener('abort', () => resolve(signal.reason))
  })

describe.skipIf(missing !== null)('Postgres', () => {
  let server: PostgresServer
  let folder: string
  const problems: string[] = []
  const opened: Locks[] = []
  const children: ChildProcess[] = []
  const open = (url = server.url, scope = '') => {
    const locks = openPostgresLocks({ url, scope, onProblem: (message) => problems.push(message) })
    opened.push(locks)
    return locks
  }
  beforeAll(async () => {
    server = await start()
    folder = mkdtempSync(join(tmpdir(), 'mailtrail-locks-'))
  })
  beforeEach(() => void problems.splice(0))
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
    await Promise.all(opened.splice(0).map((locks) => locks.close()))
  })
  afterAll(async () => {
    await server?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  testLocks('Postgres locks', async () => open())

  /** A process that runs `body` with `locks`, `never` and `sleep`. */
  function spawnHolder(body: string): ChildProcess {
    const script = `
      import { openPostgresLocks } from ${JSON.stringify(join(import.meta.dirname, '../../state/postgres-locks.ts'))}
      import { setTimeout as sleep } from 'node:timers/promises'
      import { readFileSync, writeFileSync } from 'node:fs'
      const locks = openPostgresLocks({ url: ${JSON.stringify(server.url)}, onProblem: console.error })
      const never = new AbortController().signal
      ${body}`
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    return child
  }
  const firstOutput = (child: ChildProcess) => new Promise((resolve) => child.stdout!.once('data', resolve))
  const HOLD_FOR_EVER = (name: string) =>
    `await locks.hold('${name}', async () => { console.log('held'); await sleep(1e8) }, never)`

  test('two processes never hold it at once, however often they ask', async () => {
    const counter = join(folder, 'counter')
    writeFileSync(counter, '0')
    // Reading, waiting and writing loses counts when two do it at once.
    const body = `
      for (let n = 0; n < 40; n++) {
        await locks.hold('churn', async () => {
          const count = Number(readFileSync(${JSON.stringify(counter)}, 'utf8'))
          await sleep(Math.random() * 4)
          writeFileSync(${JSON.stringify(counter)}, String(count + 1))
        }, never)
      }
      await locks.close()`
    const ends = [spawnHolder(body), spawnHolder(body), spawnHolder(body)].map(
      (child) => new Promise((resolve) => child.once('exit', resolve)),
    )
    expect(await Promise.all(ends)).toEqual([0, 0, 0])
    expect(readFileSync(counter, 'utf8')).toBe('120')
  })

  test('installations with different prefixes do not wait for each other', async () => {
    const other = open(server.url, 'other.')
    const result = await open().hold('a', () => other.hold('a', async () => 'both', never), never)
    expect(result).toBe('both')
  })

  test('kill -9 of the holder gives it to another', async () => {
    const holder = spawnHolder(HOLD_FOR_EVER('killed'))
    await firstOutput(holder)
    let isHeld = false
    const waiting = open().hold(
      'killed',
      async () => {
        isHeld = true
      },
      never,
    )
    await sleep(300)
    expect(isHeld).toBe(false)
    const began = performance.now()
    holder.kill('SIGKILL')
    await waiting
    expect(performance.now() - began).toBeLessThan(5000)
  })

  test('a restart of the server ends what is held, and who waits gets it afterwards', async () => {
    for (const stop of [() => server.pause(), () => server.kill()]) {
      const holding = Promise.withResolvers<void>()
      const holder = open().hold(
        'restart',
        (held) => {
          holding.resolve()
          return untilAborted(held)
        },
        never,
      )
      await holding.promise
      const waiting = open().hold('restart', async (held) => held.aborted, never)
      await sleep(200)
      await stop()
      expect((await holder).message).toMatch(/^The lock was lost: /)
      await server.resume()
      expect(await waiting).toBe(false)
    }
  })

  test('a server that is away is waited for, and told of once; the signal ends the waiting', async () => {
    await server.pause()
    const stop = new AbortController()
    const locks = open()
    const impatient = expect(locks.hold('a', async () => 1, stop.signal)).rejects.toThrow('the process ends')
    await expect.poll(() => problems.length).toBe(1)
    stop.abort(new Error('the process ends'))
    await impatient
    const patient = locks.hold('a', async () => 2, never)
    await sleep(500)
    await server.resume()
    expect(await patient).toBe(2)
    expect(problems).toHaveLength(1)
  })

  describe('who is cut off without a word', () => {
    /** Between a client and the server. Frozen, it keeps connections open and passes nothing on. */
    async function startProxy(): Promise<{ url: string; freeze(): void; close(): void }> {
      const sockets = new Set<Socket>()
      let isFrozen = false
      const proxy: Server = createServer((near) => {
        if (isFrozen) return void sockets.add(near)
        const far = connect(server.port, '127.0.0.1')
        for (const [from, to] of [
          [near, far],
          [far, near],
        ] as const) {
          // biome-ignore format: pairs
          sockets.add(from)
          from.on('data', (bytes) => isFrozen || to.write(bytes))
          from.on('close', () => isFrozen || to.destroy())
          from.on('error', () => undefined)
        }
      })
      await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
      const { port } = proxy.address() as { port: number }
      return {
        url: server.url.replace(`:${server.port}/`, `:${port}/`),
        freeze: () => {
          isFrozen = true
        },
        close: () => {
          for (const socket of sockets) socket.destroy()
          proxy.close()
        },
      }
    }

    test('knows within 10 s, before another gets the lock; a stopped process loses it, too', async () => {
      const proxy = await startProxy()
      const stopped = spawnHolder(HOLD_FOR_EVER('stopped'))
      await firstOutput(stopped)
      const holding = Promise.withResolvers<void>()
      const events: string[] = []
      const cutOff = open(proxy.url).hold(
        'cut off',
        async (held) => {
          holding.resolve()
          const reason = await untilAborted(held)
          events.push('lost')
          return [reason.message, performance.now()] as const
        },
        never,
      )
      await holding.promise
      await sleep(3000) // some questions of the holder were answered
      const began = performance.now()
      proxy.freeze()
      stopped.kill('SIGSTOP')
      const others = open()
      const [[reason, lostAt]] = await Promise.all([
        cutOff,
        others.hold('cut off', async () => void events.push('taken over'), never),
        others.hold('stopped', async () => undefined, never),
      ])
      expect(events).toEqual(['lost', 'taken over'])
      expect(reason).toContain('did not answer in time')
      expect(lostAt - began).toBeLessThan(10_000)
      expect(performance.now() - began).toBeLessThan(20_000)
      proxy.close()
    })
  })

  test('a connection that an administrator ends ends what it held', async () => {
    const reason = await open().hold(
      'ended',
      async (held) => {
        await sleep(100)
        await server.query(`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted`)
        return untilAborted(held)
      },
      never,
    )
    expect(reason.message).toMatch(/^The lock was lost: .*terminat/)
  })

  test('a lock that is held for long is still held, and given up afterwards', async () => {
    const locks = open()
    const other = open()
    let isOver = false
    // Longer than a holder may be silent before it takes the lock for lost.
    const long = locks.hold(
      'long',
      async (held) => {
        await sleep(9000)
        isOver = true
        return held.aborted
      },
      never,
    )
    await sleep(500)
    const next = other.hold('long', async () => isOver, never)
    expect(await long).toBe(false)
    expect(await next).toBe(true)
    await expect
      .poll(() => server.query(`SELECT count(*)::int AS held FROM pg_locks WHERE locktype = 'advisory'`))
      .toEqual([{ held: 0 }])
  })
})
