/** The queries of the dashboard and of the alerts, from their files. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'

const DOCKER = join(import.meta.dirname, '../docker')
export const ALERTS_FILE = join(DOCKER, 'prometheus/alerts.yml')

export interface Alert {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly runbook_url: string }
}

export interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number }
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string; readonly refId: string }[]
}

export function readAlerts(): readonly Alert[] {
  const { groups } = parse(readFileSync(ALERTS_FILE, 'utf8')) as { groups: { rules: Alert[] }[] }
  return groups.flatMap(({ rules }) => rules)
}

export function readDashboard(): { readonly uid: string; readonly panels: readonly Panel[] } {
  return JSON.parse(readFileSync(join(DOCKER, 'grafana/dashboards/pipeline.json'), 'utf8')) as ReturnType<
    typeof readDashboard
  >
}

export interface NamedQuery {
  readonly name: string
  readonly expr: string
}

/** Grafana puts its own numbers for its variables. */
export function allQueries(): readonly NamedQuery[] {
  const panels = readDashboard().panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, refId }) => ({
      name: `${title} ${refId}`,
      expr: expr.replaceAll('$__rate_interval', '1m'),
    })),
  )
  return [...panels, ...readAlerts().map(({ alert, expr }) => ({ name: alert, expr }))]
}
