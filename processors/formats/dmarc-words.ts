/** The closed vocabularies of aggregate reports, and what the wild writes instead (reference: dmarc-aggregate §11). */

export interface Vocabulary {
  readonly known: ReadonlySet<string>
  /** Spellings with one usual meaning. */
  readonly aliases: Readonly<Record<string, string>>
}

const vocabulary = (known: string, aliases: Readonly<Record<string, string>> = {}): Vocabulary => ({
  known: new Set(known.split(' ')),
  aliases: Object.assign(Object.create(null), aliases),
})

export const dkimResults = vocabulary('pass fail none policy neutral temperror permerror', {
  hardfail: 'fail',
  permfail: 'permerror',
  tempfail: 'temperror',
})
/** RFC 7489 appendix C calls `unknown` and `error` common spellings. */
export const spfResults = vocabulary('pass fail none softfail neutral temperror permerror policy', {
  hardfail: 'fail',
  unknown: 'temperror',
  error: 'permerror',
})
export const spfScopes = vocabulary('mfrom helo')
export const alignedResults = vocabulary('pass fail', { hardfail: 'fail' })
export const dispositions = vocabulary('none quarantine reject pass', { softfail: 'quarantine' })
export const policies = vocabulary('none quarantine reject')
export const alignments = vocabulary('r s', { relaxed: 'r', strict: 's' })
export const yesOrNo = vocabulary('n y')
export const discoveryMethods = vocabulary('psl treewalk')
export const overrideTypes = vocabulary(
  'forwarded sampled_out trusted_forwarder mailing_list local_policy policy_test_mode other',
)

/** The word in lower case, or its usual meaning. `known` is false when it is not a word of the standards as it stands. */
export function readWord(text: string, { known, aliases }: Vocabulary): { word: string; known: boolean } {
  if (known.has(text)) return { word: text, known: true }
  const lower = text.toLowerCase()
  if (known.has(lower)) return { word: lower, known: true }
  return { word: aliases[lower] ?? lower, known: false }
}
