/** Every projection, once. */
import { dmarcRecords } from './dmarc-records.ts'
import { dmarcReports } from './dmarc-reports.ts'
import { failureReports } from './failure-reports.ts'
import { mail } from './mail.ts'
import type { Projection } from './projection.ts'
import { recordVerdicts } from './record-verdicts.ts'
import { rejects } from './rejects.ts'
import { reportVerdicts } from './report-verdicts.ts'
import { tlsFailures } from './tls-failures.ts'
import { tlsPolicies } from './tls-policies.ts'
import { tlsReports } from './tls-reports.ts'

export const projections: readonly Projection[] = [
  dmarcRecords,
  dmarcReports,
  tlsPolicies,
  tlsFailures,
  tlsReports,
  failureReports,
  mail,
  rejects,
  recordVerdicts,
  reportVerdicts,
]
