/** What every store does, whatever serves it. Run it against each implementation. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { array, encodeBlock, lowCardinality, pushTexts, string, uint32, uint64 } from '../../projections/native.ts'
import type { Store } from '../../projections/store.ts'

const hard = [
  '',
  "it's",
  'tab\tline\nreturn\r',
  'back\\slash \\t \\N',
  'nul\0inside',
  "'; DROP TABLE contract; --",
  '{name:String}',
  'ümläut 😀',
  '[]',
  "['a']",
  '\\',
  "\\'",
]

export function storeContract(name: string, open: () => Promise<{ store: Store; close(): Promise<void> }>): void {
  describe(`${name}: a store`, () => {
    let store: Store
    let close: () => Promise<void>
    beforeAll(async () => {
      ;({ store, close } = await open())
    })
    afterAll(() => close())
    beforeEach(async () => {
      await store.command('DROP TABLE IF EXISTS contract SYNC')
      await store.command(
        `CREATE TABLE contract (number UInt32, big UInt64, text String, kind LowCardinality(String), list Array(String))
         ENGINE = MergeTree ORDER BY number`,
      )
    })

    const block = (rows: readonly string[]) => {
      const columns = { number: uint32(), big: uint64(), text: string(), kind: lowCardinality(), list: array(string()) }
      rows.forEach((text, index) => {
        columns.number.push(index)
        columns.big.push(Number.MAX_SAFE_INTEGER)
        columns.text.push(text)
        columns.kind.push(text)
        pushTexts(columns.list, [text, text])
      })
      return encodeBlock(columns)
    }

    test.each(hard)('binds the text %j as a value', async (text) => {
      const rows = await store.query('SELECT {text:String} AS text, length({text:String}) AS bytes', {
        parameters: { text },
      })
      expect(rows).toEqual([{ text, bytes: Buffer.byteLength(text) }])
    })

    test('binds lists, numbers, days and null', async () => {
      const rows = await store.query(
        `SELECT {texts:Array(String)} AS texts, {numbers:Array(UInt64)} AS numbers, {none:Array(String)} AS none,
           {day:Date} AS day, {count:Float64} AS count, {nothing:Nullable(String)} AS nothing,
           5 IN {numbers:Array(UInt64)} AS has_five`,
        { parameters: { texts: hard, numbers: [5, 6], none: [], day: '2026-10-01', count: 1.5, nothing: null } },
      )
      const expected = {
        texts: hard,
        numbers: [5, 6],
        none: [],
        day: '2026-10-01',
        count: 1.5,
        nothing: null,
        has_five: 1,
      }
      expect(rows).toEqual([expected])
    })

    test('keeps the parameters of many statements at once apart', async () => {
      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, n) =>
          store.query<{ text: string }>('SELECT {text:String} AS text, sleepEachRow(0.002) FROM numbers(2)', {
            parameters: { text: `value ${n}` },
          }),
        ),
      )
      for (const [n, rows] of answers.entries())
        expect(rows.map(({ text }) => text)).toEqual(Array(2).fill(`value ${n}`))
    })

    test('gives counts as numbers', async () => {
      const rows = await store.query(
        'SELECT count() AS rows, toUInt64(9007199254740991) AS big, toInt64(-5) AS negative FROM contract',
      )
      expect(rows).toEqual([{ rows: 0, big: 9_007_199_254_740_991, negative: -5 }])
    })

    test('inserts a Native block, and has it when the call resolves', async () => {
      await store.insert('contract', block(hard))
      const rows = await store.query('SELECT text, kind, list, big FROM contract ORDER BY number')
      expect(rows).toEqual(hard.map((text) => ({ text, kind: text, list: [text, text], big: Number.MAX_SAFE_INTEGER })))
    })

    test('takes inserts side by side', async () => {
      await Promise.all(Array.from({ length: 8 }, () => store.insert('contract', block(Array(1000).fill('x')))))
      expect(await store.query('SELECT count() AS rows FROM contract')).toEqual([{ rows: 8000 }])
    })

    test('refuses half a block and keeps nothing of it', async () => {
      const whole = block(Array(1000).fill('some text'))
      await expect(store.insert('contract', whole.subarray(0, whole.length / 2))).rejects.toThrow()
      expect(await store.query('SELECT count() AS rows FROM contract')).toEqual([{ rows: 0 }])
    })

    test('streams a long answer piece by piece', async () => {
      let rows = 0
      let pieces = 0
      for await (const piece of store.stream<{ number: number }>('SELECT number FROM numbers(500000)')) {
        pieces++
        for (const { number } of piece) {
          if (number !== rows) throw new Error(`Row ${rows} is ${number}.`)
          rows++
        }
      }
      expect(rows).toBe(500_000)
      expect(pieces).toBeGreaterThan(5)
    })

    test('lets a stream be left early, and goes on', async () => {
      for (let round = 0; round < 12; round++)
        for await (const piece of store.stream('SELECT number FROM numbers(100000000)')) {
          expect(piece.length).toBeGreaterThan(0)
          break
        }
      expect(await store.query('SELECT 1 AS one')).toEqual([{ one: 1 }])
    })

    test('says what is wrong with a statement', async () => {
      await expect(store.query('SELECT nothing_like_it FROM contract')).rejects.toMatchObject({
        message: expect.stringContaining('nothing_like_it'),
        type: 'UNKNOWN_IDENTIFIER',
        code: '47',
      })
      await expect(store.query('SELECT {text:String}')).rejects.toThrow('is not set')
      await expect(store.insert('not_there', block(['a']))).rejects.toMatchObject({ type: 'UNKNOWN_TABLE' })
    })

    test('does not take an answer that failed midway for a whole one', async () => {
      const read = async () => {
        let rows = 0
        const failing = "SELECT throwIf(number = 900000, 'broke midway') AS zero FROM numbers(1000000)"
        for await (const piece of store.stream(failing)) rows += piece.length
        return rows
      }
      await expect(read()).rejects.toThrow('broke midway')
    })

    test('gives up after the time allowed', async () => {
      const long = 'SELECT max(sipHash64(number)) FROM numbers(100000000000)'
      await expect(store.query(long, { timeout: 0.3 })).rejects.toThrow('Timeout exceeded')
    })

    test('stops a statement whose reader has gone', async () => {
      const gone = new AbortController()
      setTimeout(() => gone.abort(new Error('the client went away')), 200)
      const long = 'SELECT max(sipHash64(number)) FROM numbers(100000000000)'
      await expect(store.query(long, { signal: gone.signal, timeout: 60 })).rejects.toThrow('the client went away')
      await expect
        .poll(
          () =>
            store.query(
              "SELECT count() AS running FROM system.processes WHERE query LIKE '%100000000000%' AND query NOT LIKE '%processes%'",
            ),
          { timeout: 5000 },
        )
        .toEqual([{ running: 0 }])
    })
  })
}
