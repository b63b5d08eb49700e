/** State on a real PostgreSQL: what every state does, several processes at once, and a server that goes away. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openPostgresState, type PostgresStateOptions } from '../../state/postgres-state.ts'
import type { State } from '../../state/state.ts'
import { observation, onDay, testState } from '../state/state.contract.ts'
import { install, type PostgresServer, start } from './services/postgres.ts'

const missing = await install().then(
  () => null,
  (error: Error) => error.message,
)
if (missing !== null && process.env.CI === 'true') throw new Error(missing)
if (missing !== null) console.warn(`Skipped: ${missing}`)

const DAY = '2026-03-01'
const nowhere = new Map<number, number>()

describe.skipIf(missing !== null)('Postgres', () => {
  let server: PostgresServer
  let url: string
  let databases = 0
  const opened: State[] = []
  beforeAll(async () => {
    server = await start()
  })
  afterAll(() => server?.stop())

  const newDatabase = async () => {
    const name = `test_${++databases}`
    await server.query(`CREATE DATABASE ${name}`)
    return server.url.replace(/postgres$/, name)
  }
  beforeEach(async () => {
    url = await newDatabase()
    return async () => {
      await Promise.all(opened.splice(0).map((state) => state.close()))
    }
  })

  const problems: string[] = []
  const open = async (options: Partial<PostgresStateOptions> = {}) => {
    const state = await openPostgresState({ url, onProblem: (message) => problems.push(message), ...options })
    opened.push(state)
    return state
  }
  /** A statement in the database of the test. */
  const query = async (text: string) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    const { rows } = await client.query(text)
    await client.end()
    return rows as Record<string, unknown>[]
  }
  beforeEach(() => void problems.splice(0))

  testState('the Postgres state', async () => {
    const place = await newDatabase()
    return { open: () => open({ url: place }), remove: async () => undefined }
  })

  describe('what is kept', () => {
    test('comes back to the last byte, also what text of Postgres cannot hold', async () => {
      const hostile = observation('192.0.2.1\0"\\,{}', {
        observed: true,
        ptr: [
          { name: 'a\0b.example', confirmed: true },
          { name: '\ud800 alone', confirmed: false },
          { name: 'NULL', confirmed: true },
          { name: '', confirmed: false },
        ],
        as_name: `'); DROP TABLE observations; -- 𝔘 \u007f\u2028 "{}" \\u0000 \\`,
      })
      const state = await open()
      expect(await state.keepObservations(1, onDay(DAY, hostile), nowhere)).toEqual([hostile])
      const [found] = await (await open()).findObservations(1, [{ day: DAY, address: hostile.address }])
      expect(found).toEqual(hostile)
    })

    test('likewise in a database that knows no Unicode', async () => {
      await server.query(`CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)
      const state = await open({ url: server.url.replace(/postgres$/, 'latin') })
      const all = onDay(DAY, observation('192.0.2.1', { as_name: '日本 ☃ é' }))
      await state.keepObservations(1, all, nowhere)
      const [found] = await state.findObservations(1, [{ day: DAY, address: '192.0.2.1' }])
      expect(found).toEqual(all[0]!.observation)
    })

    test('installations with different prefixes do not see each other', async () => {
      const [one, two] = [await open({ scope: 'one.' }), await open({ scope: 'two.' })]
      await one.keepObservations(1, onDay(DAY, observation('192.0.2.1', { country: 'NZ' })), new Map([[0, 5]]))
      expect(await two.findObservations(1, [{ day: DAY, address: '192.0.2.1' }])).toEqual([undefined])
      expect(await two.observationPositions()).toEqual(new Map())
      await two.keepObservations(1, onDay(DAY, observation('192.0.2.1', { country: 'FI' })), nowhere)
      await two.forgetObservations()
      const [found] = await one.findObservations(1, [{ day: DAY, address: '192.0.2.1' }])
      expect(found?.country).toBe('NZ')
      expect(await one.observationPositions()).toEqual(new Map([[0, 5]]))
    })

    test('a schema is taken that the address names', async () => {
      const state = await open({ url: `${url}?options=-c%20search_path%3Dreports` })
      await state.keepObservations(1, onDay(DAY, observation('192.0.2.1')), nowhere)
      expect(await query('SELECT count(*)::int AS rows FROM reports.observations')).toEqual([{ rows: 1 }])
      await open({ url: `${url}?search_path=mail_2` })
      expect(await query('SELECT count(*)::int AS rows FROM mail_2.observations')).toEqual([{ rows: 0 }])
    })
  })

  describe('several processes', () => {
    test('may open a new database at once', async () => {
      const states = await Promise.all(Array.from({ length: 8 }, () => open()))
      await states[0]!.keepObservations(1, onDay(DAY, observation('192.0.2.1')), nowhere)
      const found = await Promise.all(
        states.map((state) => state.findObservations(1, [{ day: DAY, address: '192.0.2.1' }])),
      )
      expect(found.flat().map((one) => one?.address)).toEqual(Array(8).fill('192.0.2.1'))
    })

    /** A partition in which every address is answered several times, by different countries. */
    const topic = Array.from({ length: 600 }, (_, offset) => ({
      offset,
      rows: Array.from({ length: 5 }, (_, n) =>
        observation(`10.0.0.${(offset * 7 + n * 13) % 97}`, { asn: offset * 10 + n }),
      ),
    }))
    const first = new Map<string, number>()
    for (const { rows } of topic) for (const { address, asn } of rows) if (!first.has(address)) first.set(address, asn!)

    /** Folds the topic from the state's own position, in batches of random size. */
    async function fold(state: State, until: number): Promise<void> {
      let next = (await state.observationPositions()).get(0) ?? 0
      while (next < until) {
        const batch = topic.slice(next, Math.min(until, next + 1 + Math.floor(Math.random() * 20)))
        next = batch.at(-1)!.offset + 1
        const rows = batch.flatMap(({ rows }) => onDay(DAY, ...rows))
        const standing = await state.keepObservations(1, rows, new Map([[0, next]]))
        for (const { address, asn } of standing) expect(asn).toBe(first.get(address))
        if (Math.random() < 0.2) await sleep(Math.random() * 5)
      }
    }

    test('fold one partition at different offsets, and the first on the topic stands for all', async () => {
      const states = await Promise.all([open(), open(), open(), open()])
      const [a, b, c, d] = states as [State, State, State, State]
      await fold(a, 50)
      // One begins in the middle, where another got to; two more begin at once; one lags behind all of them.
      await Promise.all([fold(a, 600), fold(b, 600), fold(c, 400), sleep(20).then(() => fold(d, 600))])
      for (const state of states) {
        const wanted = [...first.keys()].map((address) => ({ day: DAY, address }))
        const found = await state.findObservations(1, wanted)
        expect(found.map((one) => one?.asn)).toEqual([...first.values()])
      }
      expect(await a.observationPositions()).toEqual(new Map([[0, 600]]))
    })

    test('a position is never taken back by one that lags', async () => {
      const [ahead, behind] = [await open(), await open()]
      await ahead.keepObservations(1, [], new Map([[0, 100], [1, 7]])) // biome-ignore format: pairs
      await behind.keepObservations(1, [], new Map([[0, 40], [2, 1]])) // biome-ignore format: pairs
      expect(await behind.observationPositions()).toEqual(new Map([[0, 100], [1, 7], [2, 1]])) // biome-ignore format: pairs
    })

    test('rows in opposite orders are kept side by side, without a deadlock', async () => {
      const states = await Promise.all([open(), open(), open()])
      const rows = onDay(DAY, ...Array.from({ length: 800 }, (_, n) => observation(`10.1.${n >> 8}.${n & 255}`)))
      const before = await query('SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()')
      for (let epoch = 1; epoch <= 10; epoch++) {
        await Promise.all(
          states.map(
            (state, n) =>
            state.keepObservations(epoch, n === 1 ? rows.toReversed() : rows, new Map([[n, epoch], [0, epoch]])), // biome-ignore format: pairs
          ),
        )
      }
      expect(await query('SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()')).toEqual(
        before,
      )
    })

    test('when one forgets, the others are told before they write, and a second one does not forget again', async () => {
      const [one, two, three] = [await open(), await open(), await open()]
      await one.keepObservations(1, onDay(DAY, observation('192.0.2.1')), new Map([[0, 500]]))
      for (const state of [two, three]) expect((await state.observationPositions()).get(0)).toBe(500)
      await one.forgetObservations()
      await one.keepObservations(1, onDay(DAY, observation('192.0.2.2')), new Map([[0, 3]]))
      const late = two.keepObservations(1, onDay(DAY, observation('192.0.2.3')), new Map([[0, 501]]))
      await expect(late).rejects.toThrow('Start this process again')
      // It had seen what the first one saw, and comes to the same conclusion a little later.
      await three.forgetObservations()
      await three.keepObservations(1, onDay(DAY, observation('192.0.2.1')), new Map([[0, 1]]))
      const wanted = ['1', '2', '3'].map((n) => ({ day: DAY, address: `192.0.2.${n}` }))
      const found = await (await open()).findObservations(1, wanted)
      expect(found.map((answer) => answer?.address)).toEqual(['192.0.2.1', '192.0.2.2', undefined])
      expect(await one.observationPositions()).toEqual(new Map([[0, 3]]))
    })

    test('what was forgotten is deleted from the disk', async () => {
      const state = await open()
      const rows = Array.from({ length: 3000 }, (_, n) => observation(`10.1.${n >> 8}.${n & 255}`))
      await state.keepObservations(1, onDay(DAY, ...rows), new Map([[0, 500]]))
      await state.forgetObservations()
      await expect
        .poll(() => query('SELECT count(*)::int AS rows FROM mailtrail.observations'), { timeout: 10_000 })
        .toEqual([{ rows: 0 }])
      await expect.poll(() => query('SELECT * FROM mailtrail.forgotten_folds')).toEqual([])
    })

    test('a server that lost what it had acknowledged is not written on as if it had not', async () => {
      const state = await open()
      await state.keepObservations(1, onDay(DAY, observation('192.0.2.1')), new Map([[0, 100]]))
      // What a replica that lagged, or a backup, does not have.
      await query('DELETE FROM mailtrail.observations; UPDATE mailtrail.observation_positions SET next = 90')
      const next = state.keepObservations(
        1,
        onDay(DAY, observation('192.0.2.1', { country: 'XX' })),
        new Map([[0, 101]]),
      )
      await expect(next).rejects.toThrow('Start this process again')
      expect(await query('SELECT * FROM mailtrail.observations')).toEqual([])
      const again = await open()
      expect(await again.observationPositions()).toEqual(new Map([[0, 90]]))
    })
  })

  describe('a database that cannot be used is refused with a sentence', () => {
    const refusal = (address: string) => open({ url: address }).then(() => '', (error: Error) => error.message) // biome-ignore format: short

    test('of a newer mailtrail', async () => {
      await (await open()).close()
      await query('UPDATE mailtrail.state_version SET version = 99')
      expect(await refusal(url)).toMatch(/version 99.*newer mailtrail/)
      expect(await query('SELECT version FROM mailtrail.state_version')).toEqual([{ version: 99 }])
    })

    test('by its password, its name and its rights', async () => {
      const [host] = /127\.0\.0\.1:\d+/.exec(url)!
      expect(await refusal(`postgres://mailtrail:wrong@${host}/postgres`)).toMatch(/refuses the user.*DATABASE_URL/)
      expect(await refusal(url.replace(/\w+$/, 'nowhere'))).toContain('createdb nowhere')
      await server.query(`CREATE USER guest PASSWORD 'guest'`)
      expect(await refusal(`postgres://guest:guest@${host}${new URL(url).pathname}`)).toMatch(
        /permission.*grant CREATE/,
      )
      expect(await refusal('postgres:// /')).toContain('DATABASE_URL')
      expect(await refusal(`${url}?sslmode=prefer`)).toContain('sslmode=prefer')
      expect(await refusal(`${url}?sslmode=verify-full&sslrootcert=/nowhere/ca.pem`)).toContain('/nowhere/ca.pem')
      expect(await refusal(`${url}?sslmode=require`)).toMatch(/SSL/)
      expect(problems).toEqual([])
    })

    test('a user without the right to make a schema may own one that is there', async () => {
      await server.query(`CREATE USER tenant PASSWORD 'tenant'`)
      await query('CREATE SCHEMA mailtrail AUTHORIZATION tenant')
      const { host, pathname } = new URL(url)
      const state = await open({ url: `postgres://tenant:tenant@${host}${pathname}` })
      expect(await state.observationPositions()).toEqual(new Map())
    })
  })

  describe('a server that goes away', () => {
    test('is waited for, by every verb, and told of once', async () => {
      const state = await open()
      await state.keepObservations(1, onDay(DAY, observation('192.0.2.1')), new Map([[0, 1]]))
      for (const stop of [() => server.pause(), () => server.kill()]) {
        problems.splice(0)
        await stop()
        const verbs = [
          state.findObservations(1, [{ day: DAY, address: '192.0.2.1' }]),
          state.keepObservations(1, onDay(DAY, observation('192.0.2.1'), observation('192.0.2.2')), new Map([[0, 2]])),
          state.observationPositions(),
        ]
        await sleep(1000)
        await server.resume()
        const [found, standing] = await Promise.all(verbs)
        expect(found).toEqual([observation('192.0.2.1')])
        expect(standing).toEqual([observation('192.0.2.1'), observation('192.0.2.2')])
        expect(problems).toHaveLength(1)
        expect(problems[0]).toMatch(/does not answer.*waiting/)
      }
    })

    test('and is restarted all the time, loses nothing that it was told', async () => {
      const state = await open()
      let isOver = false
      const restarting = (async () => {
        for (let n = 0; n < 4; n++) {
          await sleep(150 + Math.random() * 300)
          await (n % 2 === 0 ? server.kill() : server.pause())
          await server.resume()
        }
        isOver = true
      })()
      let n = 0
      for (; !isOver; n++) {
        const rows = onDay(DAY, observation(`10.2.${n >> 8}.${n & 255}`, { asn: n }))
        expect(await state.keepObservations(1, rows, new Map([[0, n + 1]]))).toEqual([rows[0]!.observation])
      }
      await restarting
      const wanted = Array.from({ length: n }, (_, i) => ({ day: DAY, address: `10.2.${i >> 8}.${i & 255}` }))
      expect((await state.findObservations(1, wanted)).map((one) => one?.asn)).toEqual(wanted.map((_, i) => i))
      expect(await state.observationPositions()).toEqual(new Map([[0, n]]))
    })

    test('is waited for at the start, until the signal aborts', async () => {
      await server.pause()
      const stop = new AbortController()
      const impatient = open({ signal: stop.signal })
      const patient = open()
      await expect.poll(() => problems.length).toBe(2)
      stop.abort(new Error('the process ends'))
      await expect(impatient).rejects.toThrow('the process ends')
      await server.resume()
      expect(await (await patient).observationPositions()).toEqual(new Map())
    })

    test('closing ends the waiting', async () => {
      const state = await open()
      await server.pause()
      const refused = expect(state.observationPositions()).rejects.toThrow('closed')
      await sleep(200)
      const began = performance.now()
      await state.close()
      await refused
      expect(performance.now() - began).toBeLessThan(4000)
      await server.resume()
    })

    test('closing ends a verb that a silent server holds up', async () => {
      // Takes connections and says nothing.
      const sockets = new Set<Socket>()
      const mute = createServer((socket) => void sockets.add(socket))
      await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
      const { port } = mute.address() as { port: number }
      const stop = new AbortController()
      const opening = open({ url: `postgres://a:b@127.0.0.1:${port}/c`, signal: stop.signal })
      const refused = expect(opening).rejects.toThrow('the process ends')
      await expect.poll(() => problems.length, { timeout: 15_000 }).toBe(1)
      stop.abort(new Error('the process ends'))
      await refused
      for (const socket of sockets) socket.destroy()
      mute.close()
    })
  })

  test('kill -9 of a process leaves its rows and its position of one moment', async () => {
    const script = `
      import { openPostgresState } from ${JSON.stringify(join(import.meta.dirname, '../../state/postgres-state.ts'))}
      const state = await openPostgresState({ url: ${JSON.stringify(url)}, onProblem: console.error })
      for (let n = 0; ; n++) {
        const rows = Array.from({ length: 200 }, (_, i) => ({
          day: '${DAY}',
          observation: { address: n + '-' + i, observed: false, ptr: [], asn: n, as_name: null, country: null },
        }))
        await state.keepObservations(1, rows, new Map([[0, n + 1]]))
        process.stdout.write('.')
      }`
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script])
    await new Promise((resolve) => child.stdout.once('data', resolve))
    await sleep(300)
    const ended = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGKILL')
    await ended
    const [{ rows, next }] = (await query(`
      SELECT (SELECT count(*)::int FROM mailtrail.observations) AS rows, next::int FROM mailtrail.observation_positions`)) as [
      { rows: number; next: number },
    ]
    expect(next).toBeGreaterThan(0)
    expect(rows).toBe(200 * next)
  })

  test('as many rows are looked at as are wanted, also before the table has statistics', async () => {
    const state = await open()
    const rows = Array.from({ length: 20_000 }, (_, n) => observation(`10.3.${n >> 8}.${n & 255}`))
    await state.keepObservations(1, onDay(DAY, ...rows), nowhere)
    const looked = async () => {
      const [row] = await query(`
        SELECT (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int AS looked
        FROM pg_stat_user_tables WHERE relname = 'observations'`)
      return row!.looked as number
    }
    const wanted = rows.slice(5000, 5300).map(({ address }) => ({ day: DAY, address }))
    expect((await state.findObservations(1, wanted)).every((found) => found !== undefined)).toBe(true)
    await state.close() // which makes the server count what the connection did
    await expect.poll(looked, { timeout: 10_000 }).toBeGreaterThanOrEqual(300)
    expect(await looked()).toBeLessThan(1000)
  })
})

describe.skipIf(missing !== null)('Postgres over TLS', () => {
  let folder: string
  let server: PostgresServer
  /** A certificate authority, and a certificate of it for `localhost` only. */
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mailtrail-certificates-'))
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
    const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    for (const ca of ['ca', 'other'])
      openssl('req', '-x509', ...fresh, '-days', '2', '-subj', `/CN=${ca}`, '-keyout', `${ca}.key`, '-out', `${ca}.pem`)
    openssl(
      'req',
      ...fresh,
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost',
      '-keyout',
      'key.pem',
      '-out',
      'request.pem',
    )
    openssl(
      'x509',
      '-req',
      '-in',
      'request.pem',
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-copy_extensions',
      'copy',
      '-days',
      '2',
      '-out',
      'cert.pem',
    )
    execFileSync('chmod', ['755', folder])
    server = await start({ tls: { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') } })
  })
  afterAll(async () => {
    await server?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const byName = () => server.url.replace('127.0.0.1', 'localhost')
  const outcome = async (url: string) => {
    const problems: string[] = []
    try {
      const state = await openPostgresState({ url, onProblem: (message) => problems.push(message) })
      await state.observationPositions()
      await state.close()
      return 'fine'
    } catch (error) {
      return (error as Error).message
    } finally {
      expect(problems).toEqual([])
    }
  }

  test('verify-full takes the right name from the right authority, and nothing else', async () => {
    const full = (ca: string) => `sslmode=verify-full&sslrootcert=${encodeURIComponent(join(folder, ca))}`
    expect(await outcome(`${byName()}?${full('ca.pem')}`)).toBe('fine')
    expect(await outcome(`${byName()}?${full('other.pem')}`)).toMatch(/No safe connection.*sslrootcert/)
    expect(await outcome(`${server.url}?${full('ca.pem')}`)).toMatch(/No safe connection/)
    expect(await outcome(`${byName()}?sslmode=verify-full`)).toMatch(/No safe connection/)
  })

  test('verify-ca takes any name, require any certificate, and without TLS the server refuses', async () => {
    const ca = encodeURIComponent(join(folder, 'ca.pem'))
    const other = encodeURIComponent(join(folder, 'other.pem'))
    expect(await outcome(`${server.url}?sslmode=verify-ca&sslrootcert=${ca}`)).toBe('fine')
    expect(await outcome(`${server.url}?sslmode=verify-ca&sslrootcert=${other}`)).toMatch(/No safe connection/)
    expect(await outcome(`${server.url}?sslmode=require`)).toBe('fine')
    expect(await outcome(server.url)).toMatch(/no encryption/)
  })
})
