/** Maildir and Maildir++: `new` and `cur` are read, `tmp` never; files may change their names while we look. */
import type { Dirent } from 'node:fs'
import { readdir } from 'node:fs/promises'

/** A file of a Maildir by the part of its name that stays when flags change. */
export interface MaildirFile {
  /** The Maildir itself, which holds `new` and `cur`. */
  readonly maildir: string
  readonly unique: string
  readonly path: string
}

export function isMaildir(entries: readonly Dirent[]): boolean {
  const isFolder = (name: string) => entries.some((entry) => entry.name === name && !entry.isFile())
  return isFolder('cur') && isFolder('new')
}

/** Sub-folders of a Maildir: `.Name` (Maildir++) and plain ones. */
export function isMaildirFolder(name: string): boolean {
  return !['.', '..', 'cur', 'new', 'tmp'].includes(name)
}

/** The name without its flags: `:2,S`, on Windows `;2,S` or `!2,S`. */
export function uniquePart(name: string): string {
  return name.replace(/[:;!][12],[^/]*$/, '')
}

/** Time of delivery by the name, ISO 8601 UTC: it begins with the seconds since 1970. */
export function maildirDate(name: string): string | null {
  const seconds = /^(\d{9,10})[._]/.exec(name)?.[1]
  return seconds === undefined ? null : `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}Z`
}

/**
 * Files of a Maildir, `new` first: what is moved from there to `cur` while we read is met again there, and told by its
 * unique part. Throws when a folder cannot be read.
 */
export async function* listMaildir(maildir: string): AsyncGenerator<MaildirFile> {
  const met = new Set<string>()
  for (const folder of ['new', 'cur']) {
    const names = await listNames(`${maildir}/${folder}`)
    for (const name of names) {
      const unique = uniquePart(name)
      if (met.has(unique)) continue
      if (folder === 'new') met.add(unique)
      yield { maildir, unique, path: `${maildir}/${folder}/${name}` }
    }
  }
}

/** Where a file is now, after its name changed (flags) or it was moved to `cur`; null when it is gone. */
export async function findMoved(file: MaildirFile): Promise<MaildirFile | null> {
  for (const folder of ['cur', 'new']) {
    const name = (await listNames(`${file.maildir}/${folder}`)).find((name) => uniquePart(name) === file.unique)
    if (name !== undefined) return { ...file, path: `${file.maildir}/${folder}/${name}` }
  }
  return null
}

async function listNames(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  return entries
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => entry.name)
    .sort()
}
