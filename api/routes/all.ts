/** Every endpoint, once. */
import type { Route } from '../route.ts'
import { getDomainSummary } from './get-domain-summary.ts'
import { getDomains } from './get-domains.ts'
import { getHealthLive } from './get-health-live.ts'
import { getHealthReady } from './get-health-ready.ts'
import { getMetrics } from './get-metrics.ts'
import { getOpenapi } from './get-openapi.ts'
import { getRoot } from './get-root.ts'
import { getStatus } from './get-status.ts'
import { postMail } from './post-mail.ts'

export const routes: readonly Route[] = [
  postMail,
  getStatus,
  getDomains,
  getDomainSummary,
  getHealthLive,
  getHealthReady,
  getMetrics,
  getOpenapi,
  getRoot,
]
