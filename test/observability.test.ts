/** The dashboard and the alerts ask for what a running mailtrail tells, and every alert has its paragraph. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { settings } from '../config.ts'
import { allQueries, readAlerts, readDashboard } from './dashboards.ts'
import { endAll, ROOT, SAMPLES, tempFolder, up } from './fixtures.ts'
import { readPromql } from './promql.ts'

/** What the scraper adds. */
const BY_THE_SCRAPER = ['instance', 'job']
/** Labels of series that appear only when something fails. */
const WHEN_IT_FAILS: Readonly<Record<string, readonly string[]>> = {
  mailtrail_http_mails_refused_total: ['code'],
  messaging_client_operation_duration_seconds: ['error_type'],
  db_client_operation_duration_seconds: ['error_type'],
}

/** Names of metrics and of their labels, as they are exposed. */
function readExposition(text: string): ReadonlyMap<string, ReadonlySet<string>> {
  const metrics = new Map<string, Set<string>>()
  for (const [, name = '', type = ''] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    const suffixes = type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
    for (const suffix of suffixes) metrics.set(`${name}${suffix}`, new Set(WHEN_IT_FAILS[name]))
  }
  for (const [, name = '', labels = ''] of text.matchAll(/^(\w+)\{(.*)\} \S+$/gm)) {
    for (const [, label = ''] of labels.matchAll(/(?:^|,)(\w+)="(?:\\.|[^"\\])*"/g)) metrics.get(name)?.add(label)
  }
  metrics.set('up', new Set())
  return metrics
}

describe('the reader of PromQL', () => {
  test.each([
    'sum by (le) (rate(a_bucket{b="c", d=~"e.*"}[5m])) > 0.5',
    'max(a) by (b) and on (b) max by (b) (c) == 1',
    '60 * histogram_quantile(0.95, sum(rate(a[1m])) by (le))',
    '-a / on (b) group_left (c) d',
  ])('takes %s', (expression) => {
    expect(readPromql(expression).selectors.length).toBeGreaterThan(0)
  })

  test.each([
    ['sum(rate(a[5m])', 'ends too early'],
    ['rate(a)', 'wants a range'],
    ['sum(a[5m])', 'wants no range'],
    ['a{b=c}', 'wants a text'],
    ['rat(a[5m])', 'no function rat'],
    ['a b', 'ends before "b"'],
    ['a ; b', 'No PromQL from here'],
  ])('refuses %s', (expression, reason) => {
    expect(() => readPromql(expression)).toThrow(reason)
  })
})

describe('against a running mailtrail with mail in it', () => {
  let metrics: ReadonlyMap<string, ReadonlySet<string>>

  beforeAll(async () => {
    const running = await up(await tempFolder('observability'), { paths: [SAMPLES] })
    await running.post('/mail', readFileSync(join(SAMPLES, '01-aggregate-zip.eml')))
    await running.idle()
    metrics = readExposition(await (await fetch(`${running.url}/metrics`)).text())
    await running.stop()
  }, 120_000)
  afterAll(endAll)

  test.each(allQueries().map(({ name, expr }) => [name, expr]))('%s asks for what is told', (_, expr) => {
    const { selectors, grouping } = readPromql(expr)
    const unknown = selectors.map(({ metric }) => metric).filter((metric) => !metrics.has(metric))
    expect(unknown).toEqual([])
    const labelsOf = (metric: string) => [...(metrics.get(metric) ?? []), ...BY_THE_SCRAPER]
    for (const { metric, labels } of selectors) {
      expect({ metric, labels: labels.filter((label) => !labelsOf(metric).includes(label)) }).toEqual({
        metric,
        labels: [],
      })
    }
    const known = selectors.flatMap(({ metric }) => labelsOf(metric))
    expect(grouping.filter((label) => !known.includes(label))).toEqual([])
  })

  test('every metric of ours is described in docs/operations.md, and no other', () => {
    const ours = [...metrics.keys()]
      .filter((name) => /^(mailtrail|messaging|db)_/.test(name))
      .map((name) => name.replace(/_(bucket|sum|count)$/, ''))
    const table = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8').split('## Logs')[0]!
    const described = [...table.matchAll(/`((?:mailtrail|messaging|db)_\w+)`/g)].map((match) => match[1]!)
    expect([...new Set(described)].sort()).toEqual([...new Set(ours)].sort())
  })
})

describe('alerts', () => {
  const alerts = readAlerts()
  const document = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8')
  const paragraphs = new Map(
    document
      .split(/^### /m)
      .slice(1)
      .map((part) => [part.split('\n')[0]!, part.split('\n').slice(1).join('\n').trim()]),
  )

  test('each has a paragraph that its runbook_url leads to, and each paragraph an alert', () => {
    expect(alerts.map(({ alert }) => alert)).toEqual(expect.arrayContaining([...paragraphs.keys()]))
    for (const { alert, annotations } of alerts) {
      expect(annotations.runbook_url).toBe(`docs/operations.md#${alert.toLowerCase()}`)
      expect(paragraphs.get(alert)?.length ?? 0).toBeGreaterThan(200)
    }
  })

  test('each says what it is, how bad, and has a name of its own', () => {
    expect(new Set(alerts.map(({ alert }) => alert)).size).toBe(alerts.length)
    for (const { alert, labels, annotations } of alerts) {
      expect(alert).toMatch(/^Mailtrail[A-Z]\w+$/)
      expect(['warning', 'critical']).toContain(labels.severity)
      expect(annotations.summary).toMatch(/\.$/)
    }
  })

  test('settings, endpoints and commands that the paragraphs name are there', () => {
    const named = [...document.matchAll(/`((?:MAILTRAIL|KAFKA|LOG)_[A-Z_]+)/g)].map((match) => match[1]!)
    expect(named.filter((name) => !(name in settings))).toEqual([])
    for (const [, path = ''] of document.matchAll(/`(docker\/[\w./-]+)`/g))
      expect(existsSync(join(ROOT, path))).toBe(true)
    const commands = globSync('*.ts', { cwd: join(ROOT, 'cli') }).map((path) => path.replace(/\.ts$/, ''))
    for (const [, name = ''] of document.matchAll(/`mailtrail ([a-z-]+)/g)) expect(commands).toContain(name)
  })
})

describe('the dashboard', () => {
  const { panels, uid } = readDashboard()

  test('has panels that do not lie on each other, with names of their own', () => {
    expect(uid).toBe('mailtrail-pipeline')
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length)
    for (const [i, { gridPos: one, title }] of panels.entries()) {
      expect(one.x + one.w).toBeLessThanOrEqual(24)
      for (const { gridPos: other, title: otherTitle } of panels.slice(i + 1)) {
        const apart =
          one.x + one.w <= other.x ||
          other.x + other.w <= one.x ||
          one.y + one.h <= other.y ||
          other.y + other.h <= one.y
        expect({ title, otherTitle, apart }).toEqual({ title, otherTitle, apart: true })
      }
    }
  })

  test('names in its legends only labels that its queries leave', () => {
    for (const { targets = [] } of panels) {
      for (const { expr, legendFormat } of targets) {
        const { grouping } = readPromql(expr.replaceAll('$__rate_interval', '1m'))
        const shown = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map((match) => match[1]!)
        expect(shown.filter((label) => !grouping.includes(label) && !BY_THE_SCRAPER.includes(label))).toEqual([])
      }
    }
  })

  test('is provisioned from where docker-compose.yml puts it', () => {
    const compose = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8')
    const provider = parse(
      readFileSync(join(ROOT, 'docker/grafana/provisioning/dashboards/mailtrail.yml'), 'utf8'),
    ) as { providers: { options: { path: string } }[] }
    expect(compose).toContain(`./docker/grafana/dashboards:${provider.providers[0]!.options.path}:ro`)
    const source = parse(
      readFileSync(join(ROOT, 'docker/grafana/provisioning/datasources/prometheus.yml'), 'utf8'),
    ) as {
      datasources: { url: string }[]
    }
    expect(source.datasources[0]!.url).toBe('http://prometheus:9090')
  })
})
