/**
 * What may stand where in an aggregate report: RFC 7489 appendix C, RFC 9990, and the drafts before them, read by local
 * names in any order. The tables say of (where we are, what comes) which value it is or where it leads.
 */

/** Where the reader is: an element that holds others. */
export const OUTSIDE = 0
export const FEEDBACK = 1
export const REPORT_METADATA = 2
export const DATE_RANGE = 3
export const POLICY_PUBLISHED = 4
export const RECORD = 5
export const ROW = 6
export const POLICY_EVALUATED = 7
export const REASON = 8
export const IDENTIFIERS = 9
export const AUTH_RESULTS = 10
export const DKIM = 11
export const SPF = 12
/** In an element that no standard knows, or one that was there before. */
export const IGNORED = 13
/** In a value that turned out to hold elements. */
export const BROKEN = 14

/** Places of values; `VALUES` is their number. Those of a record come last, from `RECORD_VALUES` on. */
export const ORG_NAME = 1
export const EMAIL = 2
export const EXTRA_CONTACT_INFO = 3
export const REPORT_ID = 4
export const BEGIN = 5
export const END = 6
export const VERSION = 7
export const GENERATOR = 8
export const ERROR = 9
export const DOMAIN = 10
export const ADKIM = 11
export const ASPF = 12
export const P = 13
export const SP = 14
export const NP = 15
export const PCT = 16
export const FO = 17
export const TESTING = 18
export const DISCOVERY_METHOD = 19
export const RECORD_VALUES = 20
export const SOURCE_IP = 20
export const COUNT = 21
export const DISPOSITION = 22
export const EVALUATED_DKIM = 23
export const EVALUATED_SPF = 24
export const ENVELOPE_TO = 25
export const ENVELOPE_FROM = 26
export const HEADER_FROM = 27
export const REASON_TYPE = 28
export const REASON_COMMENT = 29
export const DKIM_DOMAIN = 30
export const DKIM_SELECTOR = 31
export const DKIM_RESULT = 32
export const DKIM_HUMAN_RESULT = 33
export const SPF_DOMAIN = 34
export const SPF_SCOPE = 35
export const SPF_RESULT = 36
/** Read by nobody: RFC 9990 allows it, and no shape has a place for it. */
export const SPF_HUMAN_RESULT = 37
export const VALUES = 38

const valuesIn: Readonly<Record<number, Readonly<Record<string, number>>>> = {
  [FEEDBACK]: { version: VERSION },
  [REPORT_METADATA]: {
    org_name: ORG_NAME,
    email: EMAIL,
    extra_contact_info: EXTRA_CONTACT_INFO,
    report_id: REPORT_ID,
    error: ERROR,
    generator: GENERATOR,
  },
  [DATE_RANGE]: { begin: BEGIN, end: END },
  [POLICY_PUBLISHED]: {
    domain: DOMAIN,
    adkim: ADKIM,
    aspf: ASPF,
    p: P,
    sp: SP,
    np: NP,
    pct: PCT,
    fo: FO,
    testing: TESTING,
    // Mail::DMARC writes the name of the tag of the DNS record.
    t: TESTING,
    discovery_method: DISCOVERY_METHOD,
  },
  [ROW]: { source_ip: SOURCE_IP, count: COUNT },
  [POLICY_EVALUATED]: { disposition: DISPOSITION, dkim: EVALUATED_DKIM, spf: EVALUATED_SPF },
  [REASON]: { type: REASON_TYPE, comment: REASON_COMMENT },
  [IDENTIFIERS]: { envelope_to: ENVELOPE_TO, envelope_from: ENVELOPE_FROM, header_from: HEADER_FROM },
  [DKIM]: { domain: DKIM_DOMAIN, selector: DKIM_SELECTOR, result: DKIM_RESULT, human_result: DKIM_HUMAN_RESULT },
  [SPF]: { domain: SPF_DOMAIN, scope: SPF_SCOPE, result: SPF_RESULT, human_result: SPF_HUMAN_RESULT },
}

const elementsIn: Readonly<Record<number, Readonly<Record<string, number>>>> = {
  [OUTSIDE]: { feedback: FEEDBACK },
  [FEEDBACK]: { report_metadata: REPORT_METADATA, policy_published: POLICY_PUBLISHED, record: RECORD },
  [REPORT_METADATA]: { date_range: DATE_RANGE },
  [RECORD]: { row: ROW, identifiers: IDENTIFIERS, identities: IDENTIFIERS, auth_results: AUTH_RESULTS },
  [ROW]: { policy_evaluated: POLICY_EVALUATED },
  [POLICY_EVALUATED]: { reason: REASON },
  [AUTH_RESULTS]: { dkim: DKIM, spf: SPF },
}

/** Every element name that has a meaning somewhere. */
export const elementNames: readonly string[] = [
  ...new Set([...Object.values(valuesIn), ...Object.values(elementsIn)].flatMap((names) => Object.keys(names))),
]
export const FEEDBACK_NAME = elementNames.indexOf('feedback')
export const RECORD_NAME = elementNames.indexOf('record')

const parts = [
  'report_metadata',
  'policy_published',
  'record',
  'row',
  'source_ip',
  'count',
  'identifiers',
  'auth_results',
]

/** Says of an element that it can only be a piece of a report, wherever it stands. */
export const isPartOfReport = (name: number): boolean => name >= 0 && parts.includes(elementNames[name]!)

const WIDTH = 64

const meanings = new Int8Array(16 * WIDTH)
for (const [context, names] of Object.entries(valuesIn)) {
  for (const [name, value] of Object.entries(names)) {
    meanings[Number(context) * WIDTH + elementNames.indexOf(name)] = value
  }
}
for (const [context, names] of Object.entries(elementsIn)) {
  for (const [name, element] of Object.entries(names)) {
    meanings[Number(context) * WIDTH + elementNames.indexOf(name)] = -element
  }
}

/** Place of the value that element `name` gives in `context`; minus the context that it opens; 0 when it has no meaning. */
export const meaningOf = (context: number, name: number): number => (name < 0 ? 0 : meanings[context * WIDTH + name]!)
