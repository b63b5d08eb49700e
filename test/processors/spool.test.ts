import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Spool } from '../../processors/spool.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mailtrail-spool-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const all = (spool: Spool) => Buffer.concat(Array.from(spool.read(), (piece) => Buffer.from(piece)))

test('little stays in memory and makes no file', () => {
  const spool = new Spool(folder, 'a')
  spool.write(Buffer.from('one '))
  expect(spool.write(Buffer.from('two'))).toEqual({ start: 4, length: 3 })
  expect(all(spool).toString()).toBe('one two')
  expect(spool.path).toBeNull()
  expect(readdirSync(folder)).toEqual([])
})

test('much goes to a file, comes back in order, and leaves nothing behind', () => {
  const spool = new Spool(folder, 'a')
  const piece = Buffer.alloc(700_000, 'abcdefg')
  for (let i = 0; i < 20; i++) spool.write(piece)
  expect(existsSync(join(folder, 'a'))).toBe(true)
  expect(spool.size).toBe(20 * piece.length)
  expect(all(spool).equals(Buffer.concat(Array(20).fill(piece)))).toBe(true)
  spool.discard()
  expect(readdirSync(folder)).toEqual([])
})

test('what was discarded takes no memory and no disk', () => {
  const spool = new Spool(folder, 'a')
  spool.write(Buffer.from('x'))
  spool.discard()
  expect(readdirSync(folder)).toEqual([])
})
