/** Every endpoint, once. */
import type { Route } from '../route.ts'
import { getDmarcRecords } from './get-dmarc-records.ts'
import { getDmarcReport } from './get-dmarc-report.ts'
import { getDmarcReports } from './get-dmarc-reports.ts'
import { getDomainSources } from './get-domain-sources.ts'
import { getDomainSummary } from './get-domain-summary.ts'
import { getDomains } from './get-domains.ts'
import { getFailure } from './get-failure.ts'
import { getFailures } from './get-failures.ts'
import { getHealthLive } from './get-health-live.ts'
import { getHealthReady } from './get-health-ready.ts'
import { getMail } from './get-mail.ts'
import { getMailRaw } from './get-mail-raw.ts'
import { getMails } from './get-mails.ts'
import { getMetrics } from './get-metrics.ts'
import { getOpenapi } from './get-openapi.ts'
import { getRejects } from './get-rejects.ts'
import { getReportsUnfinished } from './get-reports-unfinished.ts'
import { getRoot } from './get-root.ts'
import { getStatus } from './get-status.ts'
import { getTlsFailures } from './get-tls-failures.ts'
import { getTlsReport } from './get-tls-report.ts'
import { getTlsReports } from './get-tls-reports.ts'
import { getTlsSummary } from './get-tls-summary.ts'
import { postMail } from './post-mail.ts'
import { postMailSettle } from './post-mail-settle.ts'
import { postRejectsCount } from './post-rejects-count.ts'
import { postRejectsRetry } from './post-rejects-retry.ts'

export const routes: readonly Route[] = [
  postMail,
  postMailSettle,
  getMails,
  getMail,
  getMailRaw,
  getRejects,
  postRejectsRetry,
  postRejectsCount,
  getStatus,
  getReportsUnfinished,
  getDomains,
  getDomainSummary,
  getDomainSources,
  getDmarcRecords,
  getDmarcReports,
  getDmarcReport,
  getTlsSummary,
  getTlsReports,
  getTlsReport,
  getTlsFailures,
  getFailures,
  getFailure,
  getHealthLive,
  getHealthReady,
  getMetrics,
  getOpenapi,
  getRoot,
]
