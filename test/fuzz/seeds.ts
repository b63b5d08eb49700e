/** What is changed: the samples, the corpus beside the checkout where there is one, and what stands in them. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { sniff } from '../../processors/formats/inflate.ts'
import { defaultLimits } from '../../processors/formats/limits.ts'
import { leaves, readMail } from '../../processors/formats/mime.ts'
import { unpack } from '../processors/formats/reading.ts'
import { zipOf } from '../processors/formats/zip-archive.ts'
import type { TargetName } from './targets.ts'

const ROOT = join(import.meta.dirname, '../..')
const CORPUS = join(ROOT, '../shared/corpus')

export type Seeds = Readonly<Record<TargetName, readonly Uint8Array[]>>

const CONDITIONS = [
  'true',
  'passed && !(dkim_aligned || spf_aligned)',
  'source_ip.in_range("192.0.2.0/24") || source_ip.in(lists.office)',
  'ptr.below("example.com") && asn == 64496 && lists.office != lists.partners',
  'header_from == policy_domain && envelope_from != ""',
  'dkim_results.exists(r, r.domain == header_from && r.result == "pass")',
  'spf_results.all(r, r.domain.startsWith("a")) ? true : false',
  'org.matches("^[a-z]+$") && org.size() > 3',
  '"forwarded" in overrides || ptr_names.exists(c, c.contains("arc"))',
  'count > 10 && count % 2 == 0 && 1 + 2 * 3 < 10',
  'sender == "x" || sender_class in ["service", "own"]',
]

/** Larger ones are tried seldom in the same time, and say no more. */
const LARGEST = 100_000

export async function loadSeeds(): Promise<Seeds> {
  const files = [
    ...globSync('samples/*.eml', { cwd: ROOT }).map((path) => join(ROOT, path)),
    ...globSync('**/*.{eml,xml,gz,zip,json,mbox,dat}', { cwd: CORPUS }).map((path) => join(CORPUS, path)),
  ].sort()
  const seeds: Record<TargetName, Uint8Array[]> = {
    mail: [], mime: [], gzip: [], zip: [], tnef: [], xml: [], json: [], mbox: [], rules: [], condition: [],
  } // biome-ignore format: one line
  const keep = async (bytes: Uint8Array, depth = 0) => {
    const kind = sniff(bytes)
    if (kind === 'xml' || kind === 'json' || kind === 'gzip' || kind === 'zip') seeds[kind].push(bytes)
    if ((kind !== 'gzip' && kind !== 'zip') || depth > 3) return
    const inner = await unpack(bytes).catch(() => []) // damaged on purpose
    for (const each of inner) await keep(each, depth + 1)
  }
  for (const path of files) {
    const bytes = readFileSync(path)
    if (!/\.(eml|dat)$/.test(path) || bytes.length > 500_000) {
      await keep(bytes)
      continue
    }
    seeds.mail.push(bytes)
    seeds.mime.push(bytes)
    try {
      for (const leaf of leaves(readMail(bytes, defaultLimits).root)) await keep(leaf.content())
    } catch {
      // A sample of what cannot be read.
    }
  }
  const from = Buffer.from('From a@b.example Thu Nov 21 00:00:00 2026\n')
  for (const mail of seeds.mail) seeds.mbox.push(Buffer.concat([from, mail, Buffer.from('\n'), from, mail]))
  for (const xml of seeds.xml.slice(0, 10)) {
    seeds.gzip.push(gzipSync(xml), Buffer.concat([gzipSync(xml.subarray(0, 500)), gzipSync(xml.subarray(500))]))
    const entry = { name: 'a.xml', data: xml }
    seeds.zip.push(
      zipOf({ entries: [entry, entry] }),
      zipOf({ entries: [{ ...entry, descriptor: true, zip64: true }], zip64End: true }),
    )
  }
  seeds.tnef.push(...makeTnef(seeds.gzip.slice(0, 5)))
  seeds.rules.push(
    ...globSync('{rules/*.yaml,test/**/*.yaml}', { cwd: ROOT }).map((path) =>
      readFileSync(join(ROOT, path)).subarray(0, 20_000),
    ),
  )
  seeds.rules.push(
    ...[...readFileSync(join(ROOT, 'docs/rules.md'), 'utf8').matchAll(/```yaml\n(.*?)```/gs)].map((match) =>
      Buffer.from(match[1]!),
    ),
  )
  seeds.condition.push(...CONDITIONS.map((text) => Buffer.from(text)))
  for (const name of Object.keys(seeds) as TargetName[])
    seeds[name] = seeds[name].filter(({ length }) => length <= LARGEST)
  return seeds
}

/** Attachments as Exchange writes them: a beginning, a title, data. */
function makeTnef(attachments: readonly Uint8Array[]): Buffer[] {
  const attribute = (id: number, data: Uint8Array) => {
    const head = Buffer.alloc(9)
    head[0] = 2
    head.writeUInt32LE(id, 1)
    head.writeUInt32LE(data.length, 5)
    return Buffer.concat([head, data, Buffer.alloc(2)])
  }
  return attachments.map((data) =>
    Buffer.concat([
      Buffer.from([0x78, 0x9f, 0x3e, 0x22, 1, 0]),
      attribute(0x00069002, Buffer.alloc(14)),
      attribute(0x00018010, Buffer.from('a.xml.gz\0')),
      attribute(0x0006800f, data),
    ]),
  )
}
