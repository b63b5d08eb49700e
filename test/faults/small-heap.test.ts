/** Little memory: mails that unpack to many times their size are read in a heap that could not hold a few of them. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, expect, test } from 'vitest'
import { ALL_DAYS, endAll, mailtrail, tempFolder, up } from '../fixtures.ts'
import { aggregateXml, mailOf } from '../report-mail.ts'

const LIMIT = 300_000
/** 1,000 by hand: `MAILS=1000 vitest run test/faults/small-heap.test.ts` takes some minutes. */
const MAILS = Number(process.env.MAILS ?? 6)
const HEAP = { NODE_OPTIONS: '--max-old-space-size=256' }

afterEach(endAll)

/** An aggregate report of 60,000 records: 20 MB of XML, which differ in few octets and pack to a hundredth. */
function writeReports(folder: string): Promise<unknown> {
  const records = Array.from({ length: 60_000 }, (_, n) => ({
    source_ip: `192.0.${(n >> 8) & 0xff}.${n & 0xff}`,
    count: 1,
    dkim: true,
    spf: false,
  }))
  const xml = aggregateXml({ id: 'NUMBER', domain: 'heap.example', begin: 1_790_000_000, records })
  expect(xml.length).toBeGreaterThan(18_000_000)
  const write = async (n: number) => {
    const content = gzipSync(xml.replace('NUMBER', `r${n}`), { level: 1 })
    const type = { type: 'application/gzip', name: 'r.xml.gz', content }
    await writeFile(
      join(folder, `${n}.eml`),
      mailOf(`Report Domain: heap.example Report-ID: r${n}`, 1_790_000_000, type),
    )
  }
  return Array.from({ length: MAILS }, (_, n) => n).reduce<Promise<unknown>>(
    (before, n) => before.then(() => write(n)),
    Promise.resolve(),
  )
}

test(
  `${MAILS} mails of 20 MB inflated are read with a heap of 256 MB, by parse and by the whole`,
  async () => {
    const folder = await tempFolder('heap')
    const mail = join(folder, 'mail')
    await mkdir(mail)
    await writeReports(mail)
    const table = await mailtrail(['parse', mail, '--format', 'table'], { env: HEAP })
    expect({ code: table.code, stderr: table.stderr }).toEqual({ code: 0, stderr: '' })
    expect(table.stdout.match(/60000 records, 60000 messages/g)).toHaveLength(MAILS)
    const running = await up(join(folder, 'data'), { paths: [mail], env: HEAP })
    await running.says(/Read \d+ mails?: /, 250)
    await running.idle()
    const { items } = await running.get<{ items: { messages: number; reports: number }[] }>(`/domains?${ALL_DAYS}`)
    expect(items).toMatchObject([{ messages: MAILS * 60_000, reports: MAILS }])
    expect(await running.stop()).toBe(0)
  },
  LIMIT,
)
