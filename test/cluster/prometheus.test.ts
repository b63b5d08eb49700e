/** The dashboard and the alerts on a real Prometheus that scrapes a running mailtrail. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ALERTS_FILE, allQueries, readAlerts } from '../dashboards.ts'
import { endAll, type Running, SAMPLES, tempFolder, until, up } from '../fixtures.ts'
import { install, PROMTOOL, type PrometheusServer, start } from './services/prometheus.ts'

const impossible = await install().then(
  () => null,
  (error: Error) => error.message,
)
const withPrometheus = impossible === null || process.env.CI === 'true' ? describe : describe.skip

/** Queries about what does not happen here: they must run, and give nothing. */
const NOTHING_HERE = [
  'Calls of the log that failed, a minute A',
  'Statements that failed, a minute A',
  'Posted mails refused, a minute A',
  'Answers 5xx, a minute A',
]

withPrometheus(`Prometheus${impossible === null ? '' : ` (${impossible})`}`, () => {
  let prometheus: PrometheusServer
  let mailtrail: Running

  beforeAll(async () => {
    if (impossible !== null) throw new Error(impossible)
    mailtrail = await up(await tempFolder('prometheus'), { paths: [SAMPLES] })
    await mailtrail.idle()
    prometheus = await start([new URL(mailtrail.url).host], ALERTS_FILE)
    // A rate needs two samples that differ in time, with something between them.
    await until('the first scrape', 20, async () => (await prometheus.query('mailtrail_store_up')).length === 1)
    const sample = readFileSync(join(SAMPLES, '02-aggregate-gzip-html.eml'))
    await mailtrail.post('/mail', Buffer.concat([Buffer.from('X-Delivery: another one\r\n'), sample]))
    await mailtrail.idle()
    await until('more scrapes', 20, async () => {
      const [series] = await prometheus.query('count_over_time(mailtrail_store_up[1m])')
      return Number(series?.value[1] ?? 0) >= 5
    })
  })
  afterAll(async () => {
    await prometheus?.stop()
    await endAll()
  })

  test('promtool finds nothing wrong with the rules', () => {
    expect(execFileSync(PROMTOOL, ['check', 'rules', ALERTS_FILE], { encoding: 'utf8' })).toContain('SUCCESS')
  })

  const panels = allQueries().slice(0, -readAlerts().length)
  test.each(panels.map(({ name, expr }) => [name, expr]))('%s has an answer', async (name, expr) => {
    const series = await prometheus.query(expr)
    expect(series.length > 0).toBe(!NOTHING_HERE.includes(name))
    // NaN stands for a share of nothing.
    for (const { value } of series) expect(Number(value[1]) < 0).toBe(false)
  })

  test('all alerts are evaluated, and none fires while all is well', async () => {
    await until('the rules to be evaluated', 20, async () =>
      (await prometheus.rules()).every(({ health }) => health !== 'unknown'),
    )
    const rules = await prometheus.rules()
    expect(rules.map(({ name }) => name)).toEqual(readAlerts().map(({ alert }) => alert))
    expect(rules.filter(({ lastError, health }) => lastError !== '' || health !== 'ok')).toEqual([])
    const alight = await prometheus.query('ALERTS')
    const names = alight.map(({ metric }) => metric.alertname)
    // The disk of the machine that runs the tests may well be full.
    expect(names.filter((name) => name !== 'MailtrailDiskLow')).toEqual([])
  })

  test('a process that ends is noticed', async () => {
    await mailtrail.stop()
    await until('the alert', 20, async () => {
      const [series] = await prometheus.query('ALERTS{alertname="MailtrailDown"}')
      return series?.metric.alertstate === 'pending'
    })
  })
})
