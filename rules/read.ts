/** Reads a rule file: YAML to a checked, canonical rule set, or all that is wrong with it. */
import { type Verdict, verdictNames } from '../topics/verdicts.ts'
import { type Condition, Conditions } from './condition.ts'
import { readDomain } from './domains.ts'
import { asList, asMap, asScalar, Fields } from './fields.ts'
import { kindNames, type ListDefinition, type ListKind, readAsn } from './lists.ts'
import { namesBeforeSender } from './names.ts'
import { Problems, type RuleProblem } from './problems.ts'
import { readRange } from './ranges.ts'
import {
  type DomainDefinition,
  type ExclusionDefinition,
  makeRuleSet,
  type RuleSet,
  type RuleSetDefinition,
  type SenderDefinition,
  senderClasses,
  type VerdictRuleDefinition,
} from './rule-set.ts'
import { type Located, warnOfUnreachable, warnOfUnused } from './warnings.ts'
import { readYaml, type ScalarNode, type YamlNode } from './yaml.ts'

/** Limits of a rule set: it may come over HTTP, and all of it is held in memory by every process. */
export const MAX_RULES_BYTES = 1024 * 1024
const MAX_SENDERS = 2000
const MAX_VERDICT_RULES = 300
const MAX_DOMAINS = 5000
const MAX_EXCLUSIONS = 5000
const MAX_VALUES = 100_000
const MAX_ID = 100
const MAX_TEXT = 500

/** Reads a rule set. `ruleSet` is null when there is an error among the problems. */
export function readRules(yaml: string): { ruleSet: RuleSet | null; problems: readonly RuleProblem[] } {
  const text = yaml.startsWith('\ufeff') ? yaml.slice(1) : yaml
  const problems = new Problems(text)
  const bytes = Buffer.byteLength(yaml)
  if (bytes > MAX_RULES_BYTES) {
    problems.error(0, `A rule set has at most ${MAX_RULES_BYTES} bytes; this one has ${bytes}.`)
    return { ruleSet: null, problems: problems.all() }
  }
  const { root, faults } = readYaml(text)
  for (const { at, message } of faults) problems.error(at, message)
  if (root === null && faults.length === 0) problems.error(0, 'The file is empty; a rule set has at least "verdicts".')
  const definition = root === null || faults.length > 0 ? null : new RuleReader(problems).read(root)
  return {
    ruleSet: definition === null || problems.hasErrors ? null : makeRuleSet(yaml, definition),
    problems: problems.all(),
  }
}

const sortedOnce = (values: Iterable<string>): readonly string[] => [...new Set(values)].sort()

class RuleReader {
  readonly #problems: Problems
  #lists: Record<string, ListDefinition> = {}
  #conditions = new Conditions({})
  #senderIds: ReadonlySet<string> = new Set()
  readonly #usedLists = new Set<string>()
  readonly #located: { senders: Located[]; exclusions: Located[]; verdicts: Located[] } = {
    senders: [],
    exclusions: [],
    verdicts: [],
  }
  #values = 0

  constructor(problems: Problems) {
    this.#problems = problems
  }

  read(root: YamlNode): RuleSetDefinition {
    const problems = this.#problems
    const file = new Fields(
      root,
      ['version', 'name', 'lists', 'senders', 'domains', 'verdicts'],
      'A rule set',
      problems,
    )
    const version = file.text('version', null, MAX_ID)
    if (version !== '' && version !== '1') problems.error(file.placeOf('version'), 'The only version there is, is 1.')
    const name = file.text('name', '', MAX_TEXT)
    const listPlaces = this.#readLists(file.get('lists'))
    this.#conditions = new Conditions(this.#lists)
    const senders = this.#readSenders(file.get('senders'))
    const domains = this.#readDomains(file.get('domains'))
    const verdicts = this.#readVerdicts(file)
    const definition = { version: 1, name, lists: this.#lists, senders, domains, verdicts } as const
    if (!problems.hasErrors) {
      warnOfUnused(listPlaces, this.#usedLists, problems)
      warnOfUnreachable(definition, this.#located, problems)
    }
    return definition
  }

  #countValue(at: number): void {
    if (++this.#values === MAX_VALUES + 1) {
      this.#problems.error(at, `A rule set has at most ${MAX_VALUES} ranges, domains and AS numbers.`)
    }
  }

  #tooMany(node: YamlNode, count: number, most: number, what: string): boolean {
    if (count > most) this.#problems.error(node.at, `A rule set has at most ${most} ${what}; this one has ${count}.`)
    return count > most
  }

  /** Places of the lists, by name. */
  #readLists(node: YamlNode | null): ReadonlyMap<string, number> {
    const places = new Map<string, number>()
    if (node === null) return places
    const lists: Record<string, ListDefinition> = {}
    for (const { key, at, value } of asMap(node, '"lists"', this.#problems).entries) {
      if (!/^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(key) || key === 'in' || key === '__proto__') {
        this.#problems.error(at, 'The name of a list consists of letters, digits and _, and begins with no digit.')
      }
      places.set(key, at)
      lists[key] = this.#readList(value, key)
    }
    this.#lists = lists
    return places
  }

  #readList(node: YamlNode, name: string): ListDefinition {
    const values = new Set<string>()
    let kind: ListKind | null = null
    for (const item of asList(node, `The list "${name}"`, this.#problems).items) {
      const scalar = asScalar(item, `An entry of the list "${name}"`, this.#problems)
      if (scalar === null) continue
      this.#countValue(scalar.at)
      const entry = this.#readListEntry(scalar)
      if (entry === null) continue
      kind ??= entry.kind
      if (kind !== entry.kind) {
        this.#problems.error(
          scalar.at,
          `The list "${name}" holds ${kindNames[kind]}; ${scalar.text} is of another kind. Make a list for each kind.`,
        )
      } else values.add(entry.value)
    }
    return { kind: kind ?? 'domains', values: sortedOnce(values) }
  }

  #readListEntry(scalar: ScalarNode): { kind: ListKind; value: string } | null {
    const { text } = scalar
    const asn = readAsn(text)
    if (asn !== null) return { kind: 'asns', value: `AS${asn}` }
    if (/^[0-9a-f.:]+(?:\/\d*)?$/i.test(text) && /[:/]|^[\d.]+$/.test(text)) {
      const range = this.#readRange(scalar)
      return range === null ? null : { kind: 'ranges', value: range }
    }
    const domain = this.#readDomain(scalar, 'no address range, domain or AS number')
    return domain === null ? null : { kind: 'domains', value: domain }
  }

  #readRange(scalar: ScalarNode): string | null {
    const range = readRange(scalar.text)
    if (range === null) {
      this.#problems.error(
        scalar.at,
        `${JSON.stringify(scalar.text)} is no address range such as 192.0.2.0/24 or 2001:db8::/32.`,
      )
      return null
    }
    if (range.hadHostBits) {
      this.#problems.warn(scalar.at, `${scalar.text} does not begin its range; ${range.text} is taken instead.`)
    }
    return range.text
  }

  #readDomain(scalar: ScalarNode, isNo = 'no domain'): string | null {
    const { text } = scalar
    if (/^\*?\./.test(text)) {
      const bare = text.replace(/^\*?\./, '')
      this.#problems.error(scalar.at, `Write ${bare}: a domain stands for itself and all that is below it.`)
      return null
    }
    const domain = readDomain(text)
    if (domain === null) this.#problems.error(scalar.at, `${JSON.stringify(text)} is ${isNo}.`)
    return domain
  }

  /** Values of a sender of one kind, names of lists among them. */
  #readValues(fields: Fields, key: string, kind: ListKind): readonly string[] {
    const values = fields.scalars(key).map((scalar) => {
      this.#countValue(scalar.at)
      const { text } = scalar
      const list = Object.hasOwn(this.#lists, text) ? this.#lists[text]! : null
      if (list !== null) {
        this.#usedLists.add(text)
        if (list.kind !== kind && list.values.length > 0) {
          const holds = `The list "${text}" holds ${kindNames[list.kind]}`
          this.#problems.error(scalar.at, `${holds}, but "${key}" takes ${kindNames[kind]}.`)
        }
        return text
      }
      if (kind === 'ranges' && /[.:]/.test(text)) return this.#readRange(scalar)
      if (kind === 'asns') {
        const asn = readAsn(text)
        if (asn !== null) return `AS${asn}`
      }
      if (kind === 'domains' && text.includes('.')) return this.#readDomain(scalar)
      const wanted = { ranges: 'no address range', domains: 'no domain with a dot', asns: 'no AS number' }[kind]
      const near = this.#problems.suggestion(text, Object.keys(this.#lists))
      this.#problems.error(scalar.at, `${JSON.stringify(text)} is ${wanted} and no name of a list.${near}`)
      return null
    })
    return sortedOnce(values.filter((value) => value !== null))
  }

  /** An id that none of the others has. */
  #readId(fields: Fields, taken: Set<string>, what: string): string {
    const id = fields.text('id', null, MAX_ID)
    if (id === '') return id
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(id)) {
      this.#problems.error(fields.placeOf('id'), 'An id consists of letters, digits, ".", "_" and "-".')
    } else if (taken.has(id)) this.#problems.error(fields.placeOf('id'), `Another ${what} has the id "${id}" already.`)
    taken.add(id)
    return id
  }

  #noteLists(condition: Condition | null): void {
    for (const list of condition?.lists ?? []) this.#usedLists.add(list)
  }

  #readSenders(node: YamlNode | null): readonly SenderDefinition[] {
    if (node === null) return []
    const { items } = asList(node, '"senders"', this.#problems)
    if (this.#tooMany(node, items.length, MAX_SENDERS, 'senders')) return []
    const ids = new Set<string>()
    const keys = ['id', 'name', 'class', 'ptr', 'dkim', 'spf', 'asn', 'ranges', 'when']
    const senders = items.map((item) => {
      const fields = new Fields(item, keys, 'A sender', this.#problems)
      const id = this.#readId(fields, ids, 'sender')
      const condition = fields.condition('when', this.#conditions, namesBeforeSender)
      this.#noteLists(condition)
      this.#located.senders.push({ at: fields.placeOf('id'), condition, placeOf: fields.placesIn('when') })
      return {
        id,
        name: fields.text('name', id, MAX_TEXT),
        class: fields.word('class', senderClasses, 'other'),
        ptr: this.#readValues(fields, 'ptr', 'domains'),
        dkim: this.#readValues(fields, 'dkim', 'domains'),
        spf: this.#readValues(fields, 'spf', 'domains'),
        asn: this.#readValues(fields, 'asn', 'asns'),
        ranges: this.#readValues(fields, 'ranges', 'ranges'),
        when: condition?.text ?? '',
      }
    })
    this.#senderIds = ids
    return senders
  }

  #readDomains(node: YamlNode | null): Readonly<Record<string, DomainDefinition>> {
    if (node === null) return {}
    const { entries } = asMap(node, '"domains"', this.#problems)
    if (this.#tooMany(node, entries.length, MAX_DOMAINS, 'domains')) return {}
    const domains = new Map<string, DomainDefinition>()
    let exclusions = 0
    for (const { key, at, value } of entries) {
      const domain = this.#readDomain({ kind: 'scalar', at, value: key, text: key, placeOf: () => at })
      const fields = new Fields(value, ['own', 'exclude'], 'A domain', this.#problems)
      const own = sortedOnce(fields.scalars('own').flatMap((scalar) => this.#readOwn(scalar)))
      const list = fields.get('exclude')
      const items = list === null ? [] : asList(list, '"exclude"', this.#problems).items
      exclusions += items.length
      if (this.#tooMany(value, exclusions, MAX_EXCLUSIONS, 'exclusions')) return {}
      const exclude = this.#readExclusions(items)
      if (domain === null) continue
      if (domains.has(domain)) this.#problems.error(at, `The domain ${domain} has an entry already.`)
      domains.set(domain, { own, exclude })
    }
    return Object.fromEntries(domains)
  }

  #readOwn(scalar: ScalarNode): readonly string[] {
    const { text } = scalar
    const isList = Object.hasOwn(this.#lists, text)
    if (isList) this.#usedLists.add(text)
    if (isList || this.#senderIds.has(text)) return [text]
    if (readRange(text) !== null) return [this.#readRange(scalar)!]
    const near = this.#problems.suggestion(text, [...this.#senderIds, ...Object.keys(this.#lists)])
    this.#problems.error(scalar.at, `There is no sender and no list ${JSON.stringify(text)}.${near}`)
    return []
  }

  #readExclusions(items: readonly YamlNode[]): readonly ExclusionDefinition[] {
    return items.map((item) => {
      const fields = new Fields(item, ['when', 'reason', 'until'], 'An exclusion', this.#problems)
      const condition = fields.condition('when', this.#conditions)
      this.#noteLists(condition)
      if (fields.get('when') === null) {
        this.#problems.error(fields.placeOf('when'), 'Say which records are meant with "when"; "true" means all.')
      }
      const until = fields.text('until', '', MAX_ID)
      if (until !== '' && !isDay(until)) {
        this.#problems.error(fields.placeOf('until'), `${JSON.stringify(until)} is no day such as 2027-01-31.`)
      }
      this.#located.exclusions.push({ at: item.at, condition, placeOf: fields.placesIn('when') })
      return {
        when: condition?.text ?? '',
        reason: fields.text('reason', null, MAX_TEXT),
        until: until === '' ? null : until,
      }
    })
  }

  #readVerdicts(file: Fields): readonly VerdictRuleDefinition[] {
    const node = file.get('verdicts')
    if (node === null) {
      this.#problems.error(file.placeOf('verdicts'), 'The key "verdicts" is missing; its last rule has no "when".')
      return []
    }
    const { items } = asList(node, '"verdicts"', this.#problems)
    if (this.#tooMany(node, items.length, MAX_VERDICT_RULES, 'verdict rules')) return []
    if (items.length === 0) this.#problems.error(node.at, '"verdicts" has no rule; the last one has no "when".')
    const ids = new Set<string>()
    return items.map((item, index) => {
      const fields = new Fields(item, ['id', 'verdict', 'when'], 'A verdict rule', this.#problems)
      const id = this.#readId(fields, ids, 'verdict rule')
      const verdict = fields.word<Verdict>('verdict', verdictNames, null)
      const condition = fields.condition('when', this.#conditions)
      this.#noteLists(condition)
      this.#located.verdicts.push({ at: fields.placeOf('id'), condition, placeOf: fields.placesIn('when') })
      if (index === items.length - 1 && condition !== null) {
        this.#problems.error(
          fields.placeOf('when'),
          'The last verdict rule decides all that is left: it takes no "when".',
        )
      }
      return { id, verdict, when: condition?.text ?? '' }
    })
  }
}

/** A day of the calendar, `YYYY-MM-DD`. */
function isDay(text: string): boolean {
  if (!/^\d{4}-\d\d-\d\d$/.test(text)) return false
  const time = Date.parse(`${text}T00:00:00Z`)
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text)
}
