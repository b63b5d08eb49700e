import { spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openSqliteState } from '../../state/sqlite-state.ts'
import { observation, onDay, testState } from './state.contract.ts'

testState('the SQLite state', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mailtrail-state-'))
  return {
    open: () => openSqliteState({ path: join(folder, 'deeper', 'state.sqlite') }),
    remove: async () => rmSync(folder, { recursive: true, force: true }),
  }
})

const DAY = '2026-03-01'
let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mailtrail-state-'))
  path = join(folder, 'state.sqlite')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function fill(): Promise<void> {
  const state = await openSqliteState({ path })
  const rows = Array.from({ length: 5000 }, (_, n) => observation(`10.0.${n >> 8}.${n & 255}`, { asn: n }))
  await state.keepObservations(1, onDay(DAY, ...rows), new Map([[0, 99]]))
  await state.close()
}

/** Why it was made anew, and that it is empty and works then. */
async function reasonOfRebuild(): Promise<string | undefined> {
  let reason: string | undefined
  const state = await openSqliteState({ path, onRebuild: (why) => (reason = why) })
  if (reason !== undefined) {
    expect(await state.observationPositions()).toEqual(new Map())
    await state.keepObservations(1, onDay(DAY, observation('192.0.2.1')), new Map([[0, 1]]))
  }
  await state.close()
  const again = await openSqliteState({ path, onRebuild: () => expect.fail('a good file was made anew') })
  await again.close()
  return reason
}

describe('a file that cannot be used is made anew', () => {
  test('a whole one is kept', async () => {
    await fill()
    expect(await reasonOfRebuild()).toBeUndefined()
  })

  test('when it is no database', async () => {
    writeFileSync(path, 'this is no database, and long enough not to be taken for an empty one. '.repeat(300))
    expect(await reasonOfRebuild()).toContain('damaged')
  })

  test('when it was cut short', async () => {
    await fill()
    truncateSync(path, Math.floor(statSync(path).size / 2))
    expect(await reasonOfRebuild()).toContain('damaged')
  })

  test('when pages of it were overwritten', async () => {
    await fill()
    const file = openSync(path, 'r+')
    writeSync(file, Buffer.alloc(32 * 1024, 0xa5), 0, 32 * 1024, 16 * 1024)
    closeSync(file)
    expect(await reasonOfRebuild()).toContain('damaged')
  })

  test('when another version or another program wrote it', async () => {
    await fill()
    const change = (pragma: string) => {
      const database = new DatabaseSync(path)
      database.exec(pragma)
      database.close()
    }
    change('PRAGMA user_version = 99')
    expect(await reasonOfRebuild()).toContain('version 99')
    change('PRAGMA application_id = 7')
    expect(await reasonOfRebuild()).toContain('not a state file of mailtrail')
  })
})

test('after kill -9 every row that the positions cover is there', async () => {
  const script = `
    import { openSqliteState } from ${JSON.stringify(join(import.meta.dirname, '../../state/sqlite-state.ts'))}
    const state = await openSqliteState({ path: ${JSON.stringify(path)} })
    for (let n = 0; ; n++) {
      const rows = Array.from({ length: 500 }, (_, i) => ({
        day: '${DAY}',
        observation: { address: n + '-' + i, observed: false, ptr: [], asn: n, as_name: null, country: null },
      }))
      await state.keepObservations(1, rows, new Map([[0, n + 1]]))
      process.stdout.write('.')
      await new Promise((resolve) => setImmediate(resolve))
    }`
  for (let round = 0; round < 3; round++) {
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script])
    let dots = 0
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (bytes: Buffer) => {
        dots += bytes.length
        if (dots > 60 + 25 * round) resolve()
      })
      child.once('close', () => resolve())
    })
    const ended = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGKILL')
    await ended
    const state = await openSqliteState({ path, onRebuild: (why) => expect.fail(why) })
    const position = (await state.observationPositions()).get(0) ?? 0
    expect(position).toBeGreaterThan(0)
    const wanted = Array.from({ length: position }, (_, n) =>
      [0, 250, 499].map((i) => ({ day: DAY, address: `${n}-${i}` })),
    )
    expect(await state.findObservations(1, wanted.flat())).not.toContain(undefined)
    expect(await state.findObservations(1, [{ day: DAY, address: `${position}-0` }])).toEqual([undefined])
    await state.close()
    for (const suffix of ['', '-wal']) rmSync(`${path}${suffix}`, { force: true })
  }
})
