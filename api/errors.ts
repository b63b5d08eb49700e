/** Every error code of the API, once, with its status and a sentence that tells a person what to do next. */
import type { RuleProblem } from './replays.ts'

export const errorCodes = {
  authentication_missing: { status: 401, message: 'Send a key: Authorization: Bearer KEY.' },
  authentication_invalid: { status: 401, message: 'This key is not known here; check MAILTRAIL_API_KEYS.' },
  scope_missing: { status: 403, message: 'This key may not do that; use one with the scope that the call needs.' },
  not_found: { status: 404, message: 'There is nothing under this address; /docs lists what there is.' },
  report_unknown: { status: 404, message: 'No report with this id counts here (yet).' },
  failure_unknown: { status: 404, message: 'No failure report with this id is known here (yet).' },
  mail_unknown: { status: 404, message: 'No mail with this id is known here (yet).' },
  mail_bytes_gone: {
    status: 410,
    message: 'The bytes of this mail are no longer kept (retention, or a missing blob).',
  },
  generation_unknown: { status: 404, message: 'There is no such generation; /api/v1/status names the live one.' },
  erasure_unknown: { status: 404, message: 'There is no erasure with this number.' },
  mail_being_erased: { status: 503, message: 'This mail is being erased; send it again in a moment.' },
  mail_erased: { status: 410, message: 'This mail was erased: its bytes are not kept any more.' },
  forget_selector_missing: { status: 400, message: 'Say what to forget: address, or mail_ids.' },
  rule_set_unknown: {
    status: 404,
    message: 'There is no such rule set; GET /api/v1/rule-sets lists those that there are.',
  },
  rules_invalid: { status: 422, message: 'The rules have errors; each is named with its line and column.' },
  decision_invalid: { status: 422, message: 'A decision cannot be carried out; its message says why.' },
  parent_unusable: { status: 409, message: 'The generation to build on is not kept any more; start again.' },
  start_point_unknown: { status: 409, message: 'A generation starts from ingest or from enriched.' },
  role_missing: { status: 404, message: 'This process does other work; ask one with the role that answers this.' },
  no_such_epoch: { status: 404, message: 'There is no such observation epoch; the first is 1.' },
  epoch_unknown: { status: 409, message: 'There is no such observation epoch; begin one with re-observe.' },
  not_building: { status: 409, message: 'The generation is not being built, so this cannot be done with it.' },
  not_paused: { status: 409, message: 'The generation is not paused.' },
  not_former: { status: 409, message: 'The generation was not live before, or is not kept any more.' },
  already_live: { status: 409, message: 'The generation is live already.' },
  not_caught_up: { status: 409, message: 'The generation has not caught up yet; look at its status and try again.' },
  coverage_shrinks: {
    status: 409,
    message: 'The generation covers less mail than the live one; add accept_gap to promote it all the same.',
  },
  nothing_to_roll_back: { status: 409, message: 'No generation that was live before is kept any more.' },
  nothing_to_compare: { status: 409, message: 'Name two generations: the one of the address, and against=.' },
  generation_gone: { status: 410, message: 'The generation was cancelled or retired, and its tables are gone.' },
  cursor_expired: { status: 410, message: 'The generation of this cursor is gone; begin again without a cursor.' },
  cursor_invalid: {
    status: 400,
    message: 'The cursor does not belong to this request; use next_cursor with the same filters, or leave it out.',
  },
  parameter_invalid: { status: 400, message: 'A parameter has a value that it cannot have.' },
  parameter_unknown: { status: 400, message: 'There is no such parameter here; /docs lists those that there are.' },
  day_invalid: { status: 400, message: 'A day is written YYYY-MM-DD and must exist.' },
  range_reversed: { status: 400, message: 'The range ends before it begins; swap from and to.' },
  range_too_long: { status: 400, message: 'The range has too many steps; ask for interval=month or a shorter range.' },
  body_invalid: { status: 400, message: 'The body is not what this call takes; /docs shows an example.' },
  retry_selector_missing: { status: 400, message: 'Say what to retry: code, from and to, or ids.' },
  request_malformed: { status: 400, message: 'The request cannot be read.' },
  mail_empty: { status: 400, message: 'The body is empty; send the bytes of the mail.' },
  header_invalid: { status: 400, message: 'A request header has a value that it cannot have.' },
  mail_too_large: { status: 413, message: 'The mail is larger than MAILTRAIL_MAX_MAIL_BYTES allows.' },
  body_too_large: { status: 413, message: 'The body is larger than this call takes.' },
  content_type_unsupported: {
    status: 415,
    message: 'Send the bytes of the mail as they are, with Content-Type: message/rfc822 (not JSON, not a form).',
  },
  content_encoding_unsupported: { status: 415, message: 'Send the mail uncompressed, without Content-Encoding.' },
  body_type_unsupported: { status: 415, message: 'This call takes JSON: send Content-Type: application/json.' },
  rules_type_unsupported: { status: 415, message: 'Send the rule file as it is, with Content-Type: text/yaml.' },
  rate_limited: {
    status: 429,
    message: 'More mail came from there within a minute than is taken; send it again later.',
  },
  too_busy: { status: 503, message: 'Too many bytes are being received at once; try again in a moment.' },
  log_full: {
    status: 503,
    message: 'The disk of the log is full: the mail was not stored. Make room, then send again.',
  },
  log_unavailable: {
    status: 503,
    message:
      'The log does not answer now: a mail may not have been stored. Send it again; one that comes twice counts once.',
  },
  blobs_unavailable: {
    status: 503,
    message: 'The blob store does not take mail now: it was not stored. Send it again.',
  },
  store_unavailable: {
    status: 503,
    message: 'The store does not answer now. Mail is accepted all the same; ask again.',
  },
  store_timeout: {
    status: 503,
    message: 'The answer took longer than allowed; ask for a shorter range or add filters.',
  },
  rebuilding: {
    status: 503,
    message: 'The store is being rebuilt from the log; wait, or add partial=true to see what is there already.',
  },
  not_ready: { status: 503, message: 'Not ready: the store or the log does not answer.' },
  internal: { status: 500, message: 'A fault of the server; its log says more.' },
} as const satisfies Record<string, { status: number; message: string }>
export type ErrorCode = keyof typeof errorCodes

export interface ErrorDetails {
  /** The parameter, header or member at fault. */
  readonly field?: string
  /** Replaces the code's sentence when more can be said. */
  readonly message?: string
  /** Seconds for the Retry-After header. */
  readonly retryAfter?: number
  readonly progress?: { readonly done: number; readonly total: number }
  readonly problems?: readonly RuleProblem[]
}

/** Thrown by a handler to answer with an error of the list. */
export class ApiError extends Error {
  readonly code: ErrorCode
  readonly status: number
  readonly field: string | null
  readonly retryAfter: number | undefined
  readonly progress: { readonly done: number; readonly total: number } | undefined
  readonly problems: readonly RuleProblem[] | undefined

  constructor(code: ErrorCode, details: ErrorDetails = {}) {
    super(details.message ?? errorCodes[code].message)
    this.code = code
    this.status = errorCodes[code].status
    this.field = details.field ?? null
    this.retryAfter = details.retryAfter
    this.progress = details.progress
    this.problems = details.problems
  }

  body(): ErrorBody {
    const { code, message, field, progress, problems } = this
    const more = { ...(progress === undefined ? {} : { progress }), ...(problems === undefined ? {} : { problems }) }
    return { error: { code, message, field, ...more } }
  }
}

export interface ErrorBody {
  readonly error: {
    readonly code: string
    readonly message: string
    readonly field: string | null
    readonly progress?: { readonly done: number; readonly total: number }
    readonly problems?: readonly RuleProblem[]
  }
}
