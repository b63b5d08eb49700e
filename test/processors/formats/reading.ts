/** Reads documents the way the mail reader does: by content, strict first, tolerant on malformed XML. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Rejected } from '../../../processors/formats/codes.ts'
import { AggregateReader } from '../../../processors/formats/dmarc-aggregate.ts'
import { type Bytes, gunzip, hold, sniff } from '../../../processors/formats/inflate.ts'
import { defaultLimits, type Limits } from '../../../processors/formats/limits.ts'
import type { DmarcRecord, DmarcReport, Warning } from '../../../processors/formats/shapes.ts'
import { readZip } from '../../../processors/formats/zip.ts'

export interface ReadAggregate {
  report: DmarcReport
  records: DmarcRecord[]
}

export interface ReadOptions {
  tolerant?: boolean
  limits?: Partial<Limits>
  /** Sizes of the pieces that are written, the last one again and again. */
  pieces?: readonly number[]
}

export const limitsWith = (limits: Partial<Limits> = {}): Limits => ({ ...defaultLimits, ...limits })

export function readOnce(document: Uint8Array | string, options: ReadOptions = {}): ReadAggregate {
  const bytes = typeof document === 'string' ? Buffer.from(document) : document
  const records: DmarcRecord[] = []
  const reader = new AggregateReader({
    limits: limitsWith(options.limits),
    tolerant: options.tolerant ?? false,
    onRecord: (record) => records.push(record),
  })
  const pieces = options.pieces ?? [bytes.length || 1]
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const size = Math.max(1, pieces[Math.min(n, pieces.length - 1)]!)
    reader.write(bytes.subarray(at, at + size))
    at += size
  }
  return { report: reader.end(), records }
}

export function readAggregate(document: Uint8Array | string, options: ReadOptions = {}): ReadAggregate {
  try {
    return readOnce(document, options)
  } catch (error) {
    if (!(error instanceof Rejected) || error.code !== 'xml_malformed') throw error
    return readOnce(document, { ...options, tolerant: true })
  }
}

/** The code that reading is rejected with; any other error, or none, fails the test. */
export function rejectOf(read: () => unknown): string {
  try {
    read()
  } catch (error) {
    if (error instanceof Rejected) return error.code
    throw error
  }
  throw new Error('nothing was rejected')
}

export async function rejectOfAsync(read: () => Promise<unknown>): Promise<string> {
  try {
    await read()
  } catch (error) {
    if (error instanceof Rejected) return error.code
    throw error
  }
  throw new Error('nothing was rejected')
}

export const codesOf = (warnings: readonly Warning[]): string[] => warnings.map(({ code }) => code)

/** The documents inside of a file, unpacked. */
export async function unpack(bytes: Uint8Array, warnings: Warning[] = []): Promise<Uint8Array[]> {
  const warn = (warning: Warning) => warnings.push(warning)
  const content = sniff(bytes)
  const inner: Bytes[] =
    content === 'gzip'
      ? [gunzip(bytes, defaultLimits, warn)]
      : content === 'zip'
        ? readZip(bytes, defaultLimits, warn).map((entry) => entry.open())
        : []
  if (inner.length === 0) return [bytes]
  return Promise.all(inner.map((data) => hold(data, defaultLimits)))
}

export const corpus = join(import.meta.dirname, '../../../../shared/corpus')
export const hasCorpus = existsSync(join(corpus, 'expected.json'))

export interface ExpectedAggregate {
  kind: 'aggregate'
  org: string
  email: string | null
  id: string
  begin: number
  end: number
  domain: string
  p: string
  sp: string | null
  np: string | null
  adkim: string | null
  aspf: string | null
  records: number
  messages: number
  dkim: number
  spf: number
  dmarc: number
  first: Record<string, string | number | null>
}
export interface ExpectedTls {
  kind: 'tls'
  org: string
  id: string
  contact: string
  begin: string
  end: string
  policies: { domain: string; type: string; ok: number; failed: number; details: [string, number][] }[]
}
export type Expected = ExpectedAggregate | ExpectedTls | { kind: 'other' | 'rejected' | 'failure' }

/** Files of the corpus that are no mails, with what must be found in each. */
export function corpusFiles(): { name: string; bytes: Uint8Array; expected: Expected[] }[] {
  if (!hasCorpus) return []
  const all: Record<string, Expected[]> = JSON.parse(readFileSync(join(corpus, 'expected.json'), 'utf8'))
  return Object.entries(all)
    .filter(([name]) => /\.(xml|gz|zip|json)$/.test(name))
    .map(([name, expected]) => ({ name, expected, bytes: readFileSync(join(corpus, name)) }))
}
