/** Every endpoint, once. */
import type { Route } from '../route.ts'
import { getDmarcRecords } from './get-dmarc-records.ts'
import { getDmarcReport } from './get-dmarc-report.ts'
import { getDmarcReports } from './get-dmarc-reports.ts'
import { getDomainSources } from './get-domain-sources.ts'
import { getDomainSummary } from './get-domain-summary.ts'
import { getDomainTriage } from './get-domain-triage.ts'
import { getDomainWhatIf } from './get-domain-what-if.ts'
import { getDomains } from './get-domains.ts'
import { getFailure } from './get-failure.ts'
import { getFailures } from './get-failures.ts'
import { getForget } from './get-forget.ts'
import { getGeneration } from './get-generation.ts'
import { getGenerationDiff } from './get-generation-diff.ts'
import { getGenerations } from './get-generations.ts'
import { getHealthLive } from './get-health-live.ts'
import { getHealthReady } from './get-health-ready.ts'
import { getMail } from './get-mail.ts'
import { getMailRaw } from './get-mail-raw.ts'
import { getMails } from './get-mails.ts'
import { getMetrics } from './get-metrics.ts'
import { getObservationEpoch } from './get-observation-epoch.ts'
import { getOpenapi } from './get-openapi.ts'
import { getRejects } from './get-rejects.ts'
import { getReportsUnfinished } from './get-reports-unfinished.ts'
import { getRoot } from './get-root.ts'
import { getRuleSet } from './get-rule-set.ts'
import { getRuleSetDiff } from './get-rule-set-diff.ts'
import { getRuleSets } from './get-rule-sets.ts'
import { getStatus } from './get-status.ts'
import { getTlsFailures } from './get-tls-failures.ts'
import { getTlsReport } from './get-tls-report.ts'
import { getTlsReports } from './get-tls-reports.ts'
import { getTlsSummary } from './get-tls-summary.ts'
import { postDomainTriage } from './post-domain-triage.ts'
import { postForget } from './post-forget.ts'
import { postGenerationCommand } from './post-generation-command.ts'
import { postGenerations } from './post-generations.ts'
import { postGenerationsRollback } from './post-generations-rollback.ts'
import { postMail } from './post-mail.ts'
import { postMailSettle } from './post-mail-settle.ts'
import { postObservationEpochs } from './post-observation-epochs.ts'
import { postRejectsCount } from './post-rejects-count.ts'
import { postRejectsRetry } from './post-rejects-retry.ts'
import { postRuleSets } from './post-rule-sets.ts'
import { postRuleSetsTest } from './post-rule-sets-test.ts'

export const routes: readonly Route[] = [
  postMail,
  postMailSettle,
  getMails,
  getMail,
  getMailRaw,
  getRejects,
  postRejectsRetry,
  postRejectsCount,
  postForget,
  getForget,
  getStatus,
  getReportsUnfinished,
  getDomains,
  getDomainSummary,
  getDomainSources,
  getDomainWhatIf,
  getDomainTriage,
  getDmarcRecords,
  getDmarcReports,
  getDmarcReport,
  getTlsSummary,
  getTlsReports,
  getTlsReport,
  getTlsFailures,
  getFailures,
  getFailure,
  getRuleSets,
  postRuleSets,
  postRuleSetsTest,
  getRuleSet,
  getRuleSetDiff,
  getGenerations,
  postGenerations,
  postGenerationsRollback,
  getGeneration,
  postGenerationCommand,
  getGenerationDiff,
  postDomainTriage,
  getObservationEpoch,
  postObservationEpochs,
  getHealthLive,
  getHealthReady,
  getMetrics,
  getOpenapi,
  getRoot,
]
