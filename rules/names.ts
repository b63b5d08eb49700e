/** The names and functions that a condition may use: one table for reading, evaluating and documenting conditions. */

export const nameTypes = {
  string: 'string',
  int: 'int',
  bool: 'bool',
  strings: 'list(string)',
  dkimResults: 'list(map)',
  spfResults: 'list(map)',
} as const
export type NameType = keyof typeof nameTypes

interface NameEntry {
  readonly type: NameType
  readonly about: string
  /** Follows from the sender, so the `when` of a sender cannot know it. */
  readonly afterSender?: true
}

const name = (type: NameType, about: string): NameEntry => ({ type, about })
const afterSender = (type: NameType, about: string): NameEntry => ({ type, about, afterSender: true })

export const names = {
  source_ip: name('string', 'address of the source, as stored; what is no address, as sent'),
  policy_domain: name('string', 'the domain that the report is about'),
  org_domain: name('string', 'organisational domain of `policy_domain` by the public suffix list'),
  header_from: name('string', '"" when not said'),
  envelope_from: name('string', '"" when not said'),
  envelope_to: name('string', '"" when not said'),
  org: name('string', 'submitter of the report, lower case'),
  count: name('int', 'messages that the record adds to totals; 0 when its count is implausible'),
  day: name('string', '`YYYY-MM-DD`, the day of the report'),
  disposition: name('string', 'as evaluated: `none`, `quarantine`, `reject`; "" when not said'),
  dkim: name('string', 'as evaluated: `pass` or `fail`; "" when not said'),
  spf: name('string', 'as evaluated: `pass` or `fail`; "" when not said'),
  passed: name('bool', 'DKIM or SPF is aligned: the record passed DMARC'),
  dkim_aligned: name('bool', '`dkim` is `pass`'),
  spf_aligned: name('bool', '`spf` is `pass`'),
  p: name('string', 'policy as published; "" when not said'),
  sp: name('string', 'policy for subdomains as published; "" when not said'),
  np: name('string', 'policy for names that do not exist, as published; "" when not said'),
  overrides: name('strings', 'types of the reasons, and `arc` when the comment of one says `arc=pass`'),
  dkim_results: name('dkimResults', 'each with `domain`, `selector`, `result`; "" when not said'),
  spf_results: name('spfResults', 'each with `domain`, `scope`, `result`; "" when not said'),
  dkim_pass_domains: name('strings', 'domains of the DKIM results that are `pass`'),
  spf_pass_domains: name('strings', 'domains of the SPF results that are `pass`'),
  ptr: name('string', 'first forward-confirmed name of the source; "" when there is none'),
  ptr_names: name('strings', 'all names of the source, confirmed or not'),
  asn: name('int', 'autonomous system of the source; 0 when not known'),
  as_name: name('string', '"" when not known'),
  country: name('string', 'ISO 3166-1 alpha-2, upper case; "" when not known'),
  observed: name('bool', 'the look-up of the names was answered'),
  sender: afterSender('string', 'id of the sender; "" when none was named'),
  sender_class: afterSender('string', 'class of the sender; "" when none was named'),
  own: afterSender('bool', 'the sender or the source is among what the domain calls its own'),
} as const satisfies Record<string, NameEntry>

export type RuleName = keyof typeof names
export const ruleNames = Object.keys(names) as RuleName[]
/** What the `when` of a sender may read. */
export const namesBeforeSender = ruleNames.filter((one) => !('afterSender' in names[one]))

/** Members of the entries of a list of results. */
export const resultMembers: Readonly<Record<'dkimResults' | 'spfResults', readonly string[]>> = {
  dkimResults: ['domain', 'selector', 'result'],
  spfResults: ['domain', 'scope', 'result'],
}

/** Called as `NAME(…)`: how it is written, and what it says. */
export const functions = {
  in_range: ['in_range(source_ip, "192.0.2.0/24")', 'the address is in the range'],
  has: ['has(r.selector)', 'the entry has the member; it always has those of the table'],
  size: ['size(overrides)', 'entries of a list, or characters of a string'],
  int: ['int(text)', 'as a whole number; a condition in which that fails is false'],
  double: ['double(count)', 'as a number with a fraction'],
  string: ['string(asn)', 'as text'],
} as const

/** Called as `x.NAME(…)`. */
export const methods = {
  in: ['source_ip.in(lists.office)', 'the address, domain or AS number is in the list, or, a domain, below one of it'],
  below: ['header_from.below("example.org")', 'equal to the domain or below it'],
  exists: ['dkim_results.exists(r, r.result == "fail")', 'the condition holds for one entry'],
  all: ['spf_results.all(r, r.result == "pass")', 'the condition holds for every entry'],
  exists_one: ['overrides.exists_one(o, o == "arc")', 'the condition holds for exactly one entry'],
  filter: ['ptr_names.filter(n, n.below("example.org"))', 'the entries for which the condition holds'],
  map: ['dkim_results.map(r, r.domain)', 'what becomes of each entry'],
  startsWith: ['as_name.startsWith("EXAMPLE")', 'the text begins so'],
  endsWith: ['org.endsWith(".example")', 'the text ends so; for domains `below` is what is meant'],
  contains: ['ptr.contains("mail")', 'the text is somewhere in it'],
  matches: ['ptr.matches("^mx[0-9]+")', 'a regular expression, written out in the condition'],
  lowerAscii: ['as_name.lowerAscii()', 'in lower case'],
  upperAscii: ['country.upperAscii()', 'in upper case'],
  trim: ['org.trim()', 'without white space at the ends'],
  indexOf: ['ptr.indexOf("-")', 'place of the first such text, -1 when there is none'],
  lastIndexOf: ['ptr.lastIndexOf("-")', 'place of the last such text'],
  substring: ['day.substring(0, 7)', 'a part of the text'],
  split: ['ptr.split(".")', 'the parts between the separators'],
  join: ['overrides.join(",")', 'all entries in one text'],
  size: ['dkim_results.size()', 'entries of a list, or characters of a string'],
} as const

/** Methods that name each entry and say something of it: `list.exists(entry, condition)`. */
export const comprehensions: ReadonlySet<string> = new Set(['exists', 'all', 'exists_one', 'filter', 'map'])
