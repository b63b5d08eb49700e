/** Limits come before bytes. Each names the attack that it stops; passing one is a reject or a warning with a code. */

export interface Limits {
  /** A whole mail. Larger ones are refused at the edges, and rejected (`mail_too_large`) when a producer wrote them. */
  readonly mailBytes: number
  /** Header block of one entity: a 10 MB header costs time quadratic in careless readers. */
  readonly headerBytes: number
  /** MIME entities in a mail (20,000-part bombs). */
  readonly mimeParts: number
  /** Nesting of multiparts and attached mails (depth-1,000 bombs overflow the stack). */
  readonly mimeDepth: number
  /** Bytes out of one container that is streamed (gzip, zip entry): the 10 GB bomb. */
  readonly inflatedBytes: number
  /** Bytes of anything that is held in memory whole (TLS JSON, nested containers, text). */
  readonly heldBytes: number
  /** Beyond `ratioFree` inflated bytes, more than this many bytes out per byte in is a bomb. */
  readonly inflateRatio: number
  readonly ratioFree: number
  /** Entries of a zip that are looked at. */
  readonly zipEntries: number
  /** gz in zip in gz …: the 42.zip shape. */
  readonly containerDepth: number
  /** Depth of XML elements and of JSON values. */
  readonly xmlDepth: number
  readonly jsonDepth: number
  /** One run of XML text or one attribute (a 100 MB text node). */
  readonly xmlTextBytes: number
  /** Records in one report (10 million empty records). */
  readonly records: number
  /** Policies, and failure details over all policies, in one TLS report. */
  readonly tlsPolicies: number
  readonly tlsDetails: number
}

export const defaultLimits: Limits = {
  mailBytes: 50 * 1024 * 1024,
  headerBytes: 256 * 1024,
  mimeParts: 500,
  mimeDepth: 20,
  inflatedBytes: 1024 * 1024 * 1024,
  heldBytes: 20 * 1024 * 1024,
  inflateRatio: 200,
  ratioFree: 10 * 1024 * 1024,
  zipEntries: 100,
  containerDepth: 4,
  xmlDepth: 32,
  jsonDepth: 32,
  xmlTextBytes: 256 * 1024,
  records: 5_000_000,
  tlsPolicies: 10_000,
  tlsDetails: 200_000,
}

/** Strings in events are cut at this many characters with a `value_truncated` warning; names at fewer. */
export const MAX_TEXT = 1024
export const MAX_NAME = 255
/** Results kept of one record; more are dropped with `results_dropped`. */
export const MAX_DKIM_RESULTS = 100
export const MAX_SPF_RESULTS = 20
export const MAX_REASONS = 20
/** Warnings kept of one report; then one `more_warnings` with the number of the rest. */
export const MAX_WARNINGS = 100
