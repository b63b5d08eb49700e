/**
 * Writes decisions about sources into a rule file. Only what a decision is about changes: comments, order and blank lines
 * stay, and the reason of a decision becomes a comment.
 */
import {
  CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  Parser,
  parseDocument,
  type YAMLMap,
  YAMLSeq,
} from 'yaml'
import { nearestAncestor, readDomain } from './domains.ts'
import { readAsn } from './lists.ts'
import { readRange } from './ranges.ts'

/** What somebody decided about a source of a domain's mail. */
export interface RuleDecision {
  /** An address, a range, `AS64496`, a domain that machines are named below, or the id of a sender. */
  readonly source: string
  readonly as: 'own' | 'sender' | 'forwarder' | 'exclude'
  /** Id of the sender or forwarder that the source belongs to. */
  readonly sender?: string
  /** Last day of an exclusion, YYYY-MM-DD. */
  readonly until?: string
  readonly reason: string
}

export type EditedRules =
  | { readonly ok: true; readonly yaml: string }
  /** `decision` counts from 0. */
  | { readonly ok: false; readonly decision: number; readonly message: string }

/** `domain` in its stored form. What comes out must be read again: a limit of rule sets may be passed. */
export function editRules(yaml: string, domain: string, decisions: readonly RuleDecision[]): EditedRules {
  const document = parseDocument(yaml)
  const [fault] = document.errors
  if (fault !== undefined || !isMap(document.contents)) {
    const message = `The rule file cannot be edited: ${fault?.message.split('\n')[0] ?? 'it is no map of keys.'}`
    return { ok: false, decision: 0, message }
  }
  const name = readDomain(domain)
  if (name === null) return { ok: false, decision: 0, message: `${JSON.stringify(domain)} is no domain.` }
  const editor = new RuleEditor(document, document.contents, name)
  for (const [decision, each] of decisions.entries()) {
    const message = editor.decide(each)
    if (message !== null) return { ok: false, decision, message }
  }
  return { ok: true, yaml: written(document, yaml) }
}

/** Spaces inside brackets stay as they mostly were: the library knows one way for lists and maps together. */
function written(document: Document, before: string): string {
  const count = (pattern: RegExp) => (before.match(pattern) ?? []).length
  const spacedMaps = count(/\{ +[^\s}]/g) > count(/\{[^\s}]/g)
  const spacedLists = count(/\[ +[^\s\]]/g) > count(/\[[^\s\]]/g)
  const text = document.toString({ lineWidth: 0, flowCollectionPadding: spacedMaps })
  return spacedMaps && !spacedLists ? withoutSpacesInLists(text) : text
}

function withoutSpacesInLists(text: string): string {
  const withoutSpaces = (tokens: CST.SourceToken[]) =>
    tokens.some(({ type }) => type === 'newline') ? tokens : tokens.filter(({ type }) => type !== 'space')
  const tidy: CST.Visitor = ({ value }) => {
    if (value?.type !== 'flow-collection' || value.start.type !== 'flow-seq-start') return
    const first = value.items[0]
    const last = value.items.at(-1)?.value
    if (first !== undefined) first.start = withoutSpaces(first.start)
    if (last !== undefined && last !== null && 'end' in last && last.end !== undefined)
      last.end = withoutSpaces(last.end)
  }
  return [...new Parser().parse(text)]
    .map((token) => {
      if (token.type === 'document') CST.visit(token, tidy)
      return CST.stringify(token)
    })
    .join('')
}

/** What a source is, and the key of a sender that holds such values. */
type Source =
  | { readonly kind: 'ranges' | 'asn' | 'ptr'; readonly text: string }
  | { readonly kind: 'sender'; readonly text: string; readonly sender: YAMLMap }

/** A message, or null when the decision is carried out. */
type Outcome = string | null

class RuleEditor {
  readonly #document: Document
  readonly #root: YAMLMap
  readonly #domain: string

  constructor(document: Document, root: YAMLMap, domain: string) {
    this.#document = document
    this.#root = root
    this.#domain = domain
  }

  decide(decision: RuleDecision): Outcome {
    const source = this.#sourceOf(decision.source)
    if (typeof source === 'string') return source
    if (decision.until !== undefined && decision.as !== 'exclude') return '"until" goes with "exclude" only.'
    if (decision.reason.trim() === '') return 'Say the reason, so that others understand the decision later.'
    switch (decision.as) {
      case 'own':
        return this.#own(source, decision)
      case 'sender':
        return this.#name(source, decision)
      case 'forwarder':
        return this.#forward(source, decision)
      case 'exclude':
        return this.#exclude(source, decision)
    }
  }

  #sourceOf(text: string): Source | string {
    const sender = this.#sender(text)
    if (sender !== null) return { kind: 'sender', text, sender }
    const range = readRange(text)
    if (range !== null) return { kind: 'ranges', text: range.text }
    const asn = /^AS/i.test(text) ? readAsn(text) : null
    if (asn !== null) return { kind: 'asn', text: `AS${asn}` }
    const domain = text.includes('.') ? readDomain(text) : null
    // What ends in a number is an address that is wrong, not a name.
    if (domain !== null && !/\.\d+$/.test(domain)) return { kind: 'ptr', text: domain }
    return `There is no sender ${JSON.stringify(text)}; name one, an address, a range, an AS number, or a domain.`
  }

  /** The domain's own: an address or a sender is listed; a network or a domain of machines needs a sender first. */
  #own(source: Source, { sender, reason }: RuleDecision): Outcome {
    if (source.kind === 'sender' && sender !== undefined) return `${source.text} is a sender itself.`
    if (source.kind === 'sender' || (source.kind === 'ranges' && sender === undefined)) {
      this.#addOnce(this.#listAt(this.#domainEntry(), 'own'), source.text, reason)
      return null
    }
    const id = sender ?? `own-${idFrom(source.text)}`
    this.#addToSender(id, 'own', source, reason)
    this.#addOnce(this.#listAt(this.#domainEntry(), 'own'), id, reason)
    return null
  }

  #name(source: Source, { sender, reason }: RuleDecision): Outcome {
    if (source.kind === 'sender') return `${source.text} is a sender already; decide own, forwarder or exclude.`
    if (sender === undefined) return 'Name the sender that the source belongs to.'
    this.#addToSender(sender, 'service', source, reason)
    return null
  }

  #forward(source: Source, { sender, reason }: RuleDecision): Outcome {
    if (source.kind === 'sender') {
      if (sender !== undefined) return `${source.text} is a sender itself.`
      source.sender.set('class', this.#scalar('forwarder', reason))
      return null
    }
    const known = sender === undefined ? null : this.#sender(sender)
    const itsClass = known === null ? 'forwarder' : String(known.get('class') ?? 'other')
    if (itsClass !== 'forwarder' && itsClass !== 'list') return `${sender} is of class ${itsClass} and no forwarder.`
    this.#addToSender(sender ?? `forwarder-${idFrom(source.text)}`, 'forwarder', source, reason)
    return null
  }

  #exclude(source: Source, { sender, until, reason }: RuleDecision): Outcome {
    if (sender !== undefined) return '"sender" does not go with "exclude"; to exclude a sender name it as the source.'
    const when = conditionOf(source)
    const exclusions = this.#listAt(this.#domainEntry(), 'exclude')
    const same = exclusions.items.findIndex((item) => isMap(item) && item.get('when') === when)
    const exclusion = this.#document.createNode({ when, reason, ...(until === undefined ? {} : { until }) })
    if (same >= 0) exclusions.items[same] = exclusion
    else exclusions.add(exclusion)
    exclusions.flow = false
    return null
  }

  /** Adds a value to the sender with this id. A new one is put first: it is more particular than what is there. */
  #addToSender(id: string, itsClass: string, source: Source, reason: string): void {
    const sender = this.#sender(id)
    if (sender !== null) {
      this.#addOnce(this.#listAt(sender, source.kind), source.text, reason)
      return
    }
    const made: YAMLMap = this.#document.createNode({ id, name: id, class: itsClass }) as YAMLMap
    const values = new YAMLSeq(this.#document.schema)
    values.flow = true
    values.add(this.#scalar(source.text))
    made.set(source.kind, values)
    made.commentBefore = commentOf(reason)
    const senders = this.#senders()
    const [first] = senders.items
    senders.items.unshift(made)
    senders.flow = false
    // The comment above the first sender is kept with the list; it must go on standing above that sender.
    if (isMap(first) && senders.commentBefore != null) {
      first.commentBefore = [senders.commentBefore, first.commentBefore].filter((text) => text != null).join('\n')
      senders.commentBefore = null
    }
  }

  #senders(): YAMLSeq {
    if (!this.#root.has('senders')) {
      const senders = new YAMLSeq(this.#document.schema)
      const at = this.#root.items.findIndex(({ key }) => ['domains', 'verdicts'].includes(keyText(key)))
      this.#root.items.splice(at < 0 ? this.#root.items.length : at, 0, this.#document.createPair('senders', senders))
    }
    return this.#listAt(this.#root, 'senders')
  }

  #sender(id: string): YAMLMap | null {
    const senders = this.#resolved(this.#root.get('senders', true))
    if (!isSeq(senders)) return null
    const found = senders.items.map((item) => this.#resolved(item)).find((item) => isMap(item) && item.get('id') === id)
    return isMap(found) ? found : null
  }

  /**
   * The domain's entry. A new one begins with what the nearest domain above it says, which would hold no longer: only
   * the nearest entry counts.
   */
  #domainEntry(): YAMLMap {
    const domains = this.#mapAt(this.#root, 'domains')
    domains.flow = false
    const entries = new Map<string, YAMLMap>()
    for (const { key } of domains.items) {
      const name = readDomain(keyText(key))
      if (name !== null) entries.set(name, this.#mapAt(domains, keyText(key)))
    }
    const known = entries.get(this.#domain)
    if (known !== undefined) return known
    const above = nearestAncestor(entries, this.#domain)
    const entry = above === undefined ? this.#document.createNode({}) : this.#copyOf(above)
    domains.add(this.#document.createPair(this.#domain, entry))
    return entry
  }

  /** Anchors are left behind: a second one of the same name would take the first one's place. */
  #copyOf(entry: YAMLMap): YAMLMap {
    const copy = entry.clone() as YAMLMap
    const strip = (node: unknown): void => {
      if (isMap(node) || isSeq(node) || isScalar(node)) delete node.anchor
      if (isSeq(node)) node.items.forEach(strip)
      if (isMap(node)) for (const { value } of node.items) strip(value)
    }
    strip(copy)
    return copy
  }

  #mapAt(map: YAMLMap, key: string): YAMLMap {
    const there = this.#owned(map, key)
    if (isMap(there)) return there
    const made = this.#document.createNode({})
    map.set(key, made)
    return made
  }

  /** The list under the key. A single value becomes a list of one. */
  #listAt(map: YAMLMap, key: string): YAMLSeq {
    const there = this.#owned(map, key)
    if (isSeq(there)) return there
    const made = new YAMLSeq(this.#document.schema)
    made.flow = true
    if (isScalar(there) && there.value !== null) made.add(there)
    map.set(key, made)
    return made
  }

  /** The value under the key, to be changed: an alias gives way to a copy, so that its anchor stays as it is. */
  #owned(map: YAMLMap, key: string): unknown {
    const there = map.get(key, true)
    if (!isAlias(there)) return there
    const meant = there.resolve(this.#document)
    const copy = meant === undefined ? undefined : (meant.clone() as Node)
    if (copy !== undefined) {
      if (!isAlias(copy)) delete copy.anchor
      map.set(key, copy)
    }
    return copy
  }

  #resolved(node: unknown): unknown {
    return isAlias(node) ? node.resolve(this.#document) : node
  }

  #addOnce(list: YAMLSeq, value: string, reason: string): void {
    const same = (item: unknown) => isScalar(item) && normal(String(item.value)) === normal(value)
    if (list.items.some((item) => same(this.#resolved(item)))) return
    list.add(this.#scalar(value, reason))
    list.flow = false
  }

  #scalar(value: string, reason?: string) {
    const scalar = this.#document.createNode(value)
    if (reason !== undefined) scalar.comment = commentOf(reason)
    return scalar
  }
}

const keyText = (key: unknown): string => String(isScalar(key) ? key.value : key)

/** The same range, network or domain, however it is written. */
const normal = (text: string): string => readRange(text)?.text ?? text.toLowerCase()

function commentOf(reason: string): string {
  return ` ${reason.replace(/\s+/g, ' ').trim()}`
}

/** Letters, digits and "-", as ids are written. */
function idFrom(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
}

function conditionOf({ kind, text }: Source): string {
  const quoted = JSON.stringify(text)
  switch (kind) {
    case 'sender':
      return `sender == ${quoted}`
    case 'ranges':
      return `in_range(source_ip, ${quoted})`
    case 'asn':
      return `asn == ${text.slice(2)}`
    case 'ptr':
      return `ptr.below(${quoted})`
  }
}
