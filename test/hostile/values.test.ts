/** Values that are well formed and mean harm, through the whole of mailtrail: days, counts, long lists. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { openEmbeddedStore } from '../../projections/embedded-store.ts'
import { ALL_DAYS, endAll, importMail, tempFolder, up } from '../fixtures.ts'
import { aggregateXml } from '../report-mail.ts'

const LIMIT = 120_000
const DAY = 86_400

afterEach(endAll)

test(
  'days of 130 years make no more partitions than one, and every report is there',
  async () => {
    const folder = await tempFolder('values')
    const [data, mail] = [join(folder, 'data'), join(folder, 'mail')]
    await mkdir(mail)
    const record = { source_ip: '192.0.2.1', count: 1, dkim: true, spf: true }
    for (let n = 0; n < 400; n++) {
      const xml = aggregateXml({ id: `r${n}`, domain: 'x.example', begin: DAY * (1 + n * 117), records: [record] })
      await writeFile(join(mail, `${n}.xml`), xml)
    }
    expect(await importMail(data, [mail])).toEqual({ read: 400, new: 400, duplicates: 0, rejects: 0 })
    const tmp = await mkdtemp(join(tmpdir(), 'mailtrail-values-'))
    const store = await openEmbeddedStore({ folder: join(data, 'store'), tmp })
    try {
      const parts = await store.query<{ name: string; partitions: number }>(
        `SELECT table AS name, uniqExact(partition) AS partitions FROM system.parts
         WHERE active AND database = currentDatabase() GROUP BY table`,
      )
      expect(parts.length).toBeGreaterThan(3)
      expect(parts.filter(({ partitions }) => partitions > 3)).toEqual([])
      expect(await store.query('SELECT count() AS reports FROM v_dmarc_reports')).toEqual([{ reports: 400 }])
    } finally {
      await store.close()
      await rm(tmp, { recursive: true, force: true })
    }
  },
  LIMIT,
)

test(
  'a count of 9e15 adds nothing, and 100,000 details of a TLS report are all there',
  async () => {
    const folder = await tempFolder('values')
    const [data, mail] = [join(folder, 'data'), join(folder, 'mail')]
    await mkdir(mail)
    const record = { source_ip: '192.0.2.1', dkim: true, spf: true }
    const counts = [9e15, 5, 1_000_000_001, -3].map((count) => ({ ...record, count }))
    const begin = Date.UTC(2026, 9, 1) / 1000
    await writeFile(join(mail, 'a.xml'), aggregateXml({ id: 'a', domain: 'x.example', begin, records: counts }))
    const details = Array.from({ length: 100_000 }, (_, n) => ({
      'result-type': 'certificate-expired',
      'sending-mta-ip': `192.0.${n >> 8}.${n & 0xff}`.replace(/\.(\d{3,})\./, '.2.'),
      'failed-session-count': 1,
    }))
    const report = {
      'organization-name': 'x',
      'date-range': { 'start-datetime': '2026-10-01T00:00:00Z', 'end-datetime': '2026-10-01T23:59:59Z' },
      'report-id': 'r',
      policies: [
        {
          policy: { 'policy-type': 'sts', 'policy-domain': 'x.example' },
          summary: { 'total-successful-session-count': 9e15, 'total-failure-session-count': 100_000 },
          'failure-details': details,
        },
      ],
    }
    await writeFile(join(mail, 'b.json'), JSON.stringify(report))
    const running = await up(data, { paths: [mail] })
    await running.says(/Read 2 mails: .*0 rejected/)
    await running.idle()
    const { items } = await running.get<{ items: unknown[] }>(`/domains?${ALL_DAYS}`)
    expect(items).toMatchObject([{ domain: 'x.example', messages: 5, tls_successful: 0, tls_failed: 100_000 }])
    let shown = 0
    for await (const _ of running.items(`/tls/failures?${ALL_DAYS}&domain=x.example`)) shown++
    expect(shown).toBe(100_000)
    const records = await running.list<{ count: number | null }>(`/dmarc/records?${ALL_DAYS}`)
    expect(records.map(({ count }) => count).sort()).toEqual([...counts.map(({ count }) => count)].sort())
    expect(await running.stop()).toBe(0)
  },
  LIMIT,
)
