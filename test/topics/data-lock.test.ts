import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { acquireDataLock, DataFolderInUse, readOwner } from '../../topics/data-lock.ts'

let folder: string
let children: ChildProcess[]

beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'mailtrail-lock-')), 'data')
  children = []
})
afterEach(async () => {
  for (const child of children) await kill(child)
  await rm(join(folder, '..'), { recursive: true })
})

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

/** Another process takes the lock and keeps it; resolves when it has it, or with what it was refused with. */
async function acquireInOtherProcess(url: string): Promise<{ child: ChildProcess; said: string }> {
  const module = new URL('../../topics/data-lock.ts', import.meta.url).href
  const script = `import { acquireDataLock } from ${JSON.stringify(module)}
    try {
      await acquireDataLock(process.argv[1], { pid: process.pid, url: process.argv[2] })
      console.log('acquired')
      setInterval(() => undefined, 1000)
    } catch (error) { console.log(error.message) }`
  const args = ['--input-type=module', '-e', script, folder, url]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const [chunk] = await once(child.stdout!, 'data')
  return { child, said: String(chunk).trim() }
}

test('a folder that nobody holds has no owner', async () => {
  expect(await readOwner(folder)).toBeNull()
  const lock = await acquireDataLock(folder, { pid: process.pid })
  await lock.release()
  expect(await readOwner(folder)).toBeNull()
})

test('a second process is refused with the pid and the URL of the first', async () => {
  const lock = await acquireDataLock(folder, { pid: process.pid })
  await lock.setUrl('http://127.0.0.1:7489')
  const { said } = await acquireInOtherProcess('http://127.0.0.1:1')
  expect(said).toContain(`process ${process.pid} at http://127.0.0.1:7489`)
  await lock.release()
  expect((await acquireInOtherProcess('http://127.0.0.1:1')).said).toBe('acquired')
})

test('this process is refused while another has it, and knows whom to ask', async () => {
  const { child } = await acquireInOtherProcess('http://127.0.0.1:7000')
  const owner = { pid: child.pid, url: 'http://127.0.0.1:7000' }
  await expect(acquireDataLock(folder, { pid: process.pid })).rejects.toMatchObject({ folder, owner })
  await expect(acquireDataLock(folder, { pid: process.pid })).rejects.toThrow(DataFolderInUse)
  expect(await readOwner(folder)).toEqual(owner)
})

test('kill -9 frees the folder at once, whatever its owner file still says', async () => {
  const { child } = await acquireInOtherProcess('http://127.0.0.1:7000')
  await kill(child)
  expect(JSON.parse(await readFile(join(folder, 'owner.json'), 'utf8'))).toMatchObject({ pid: child.pid })
  expect(await readOwner(folder)).toBeNull()
  const lock = await acquireDataLock(folder, { pid: process.pid })
  expect(await readOwner(folder)).toEqual({ pid: process.pid, url: null })
  await lock.release()
})

test('a stale owner file that names a living pid does not refuse', async () => {
  await (await acquireDataLock(folder, { pid: 1 })).release()
  await writeFile(join(folder, 'owner.json'), JSON.stringify({ pid: process.pid, url: null }))
  expect(await readOwner(folder)).toBeNull()
  await (await acquireDataLock(folder, { pid: process.pid })).release()
})

test('the owner may ask for itself and try again without losing the lock', async () => {
  const lock = await acquireDataLock(folder, { pid: process.pid, url: 'http://127.0.0.1:7489' })
  expect(await readOwner(folder)).toEqual({ pid: process.pid, url: 'http://127.0.0.1:7489' })
  await expect(acquireDataLock(folder, { pid: process.pid })).rejects.toThrow(DataFolderInUse)
  expect((await acquireInOtherProcess('http://127.0.0.1:1')).said).toContain('is in use by process')
  await lock.release()
})

test('asking for the owner does not keep anyone from becoming it', async () => {
  const asking = Promise.all(Array.from({ length: 20 }, () => readOwner(folder)))
  const lock = await acquireDataLock(folder, { pid: process.pid })
  await asking
  await lock.release()
  await lock.release()
})

test('nothing but the lock file is left after release', async () => {
  const lock = await acquireDataLock(folder, { pid: process.pid })
  expect((await readdir(folder)).toSorted()).toEqual(['owner.json', 'owner.lock'])
  await lock.release()
  expect(await readdir(folder)).toEqual(['owner.lock'])
})
