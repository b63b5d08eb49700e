/** One record of an aggregate report: from the texts of its elements to normalised facts. */
import { plausibleCount } from '../../topics/plausible-count.ts'
import { normaliseAddress } from './addresses.ts'
import type { WarningCode } from './codes.ts'
import * as at from './dmarc-grammar.ts'
import {
  alignedResults,
  dispositions,
  dkimResults,
  overrideTypes,
  readWord,
  spfResults,
  spfScopes,
  type Vocabulary,
} from './dmarc-words.ts'
import { normaliseDomain } from './domain-names.ts'
import { MAX_DKIM_RESULTS, MAX_NAME, MAX_REASONS, MAX_SPF_RESULTS, MAX_TEXT } from './limits.ts'
import type { DkimResult, DmarcReason, DmarcRecord, SpfResult } from './shapes.ts'
import { cutText, detach, excerpt } from './text-encoding.ts'
import type { WarningList } from './warnings.ts'

/** Stands at the end of a number out of which bytes were dropped, so that nobody reads it as another number. */
export const DROPPED_MARK = '\ufffd'

/** `count` as sent: a decimal number, its fraction cut; null when it is none. */
export function readCount(text: string | null): { count: number | null; fraction: boolean } {
  const parts = text === null ? null : /^(-?[0-9]{1,300})(\.[0-9]*)?$/.exec(text)
  if (parts === null) return { count: null, fraction: false }
  // `-0` would be another number than 0 to whoever compares.
  return { count: Number(parts[1]) || 0, fraction: parts[2] !== undefined }
}

const isShortCount = (text: string): boolean => {
  if (text.length > 9 || text.length === 0) return false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c < 0x30 || c > 0x39) return false
  }
  return true
}

/** Normalised form of the name that stood last in the same place: most records of a report repeat it. It pins one chunk. */
class DomainMemo {
  #text: string | null = null
  #domain: string | null = null

  read(text: string): string | null {
    if (text === this.#text) return this.#domain
    this.#text = text
    this.#domain = text === '<>' ? null : normaliseDomain(text)
    return this.#domain
  }
}

/** Holds the record that is being read, and nothing of those before it. */
export class RecordBuilder {
  /** Texts by their place in the grammar; null = not said. Those below `RECORD_VALUES` are the report's. */
  readonly values: (string | null)[] = new Array<string | null>(at.VALUES).fill(null)
  /** The record has an auth_results element. */
  hasAuthResults = false
  readonly #warnings: WarningList
  #index = -1
  #reasons: DmarcReason[] = []
  #dkim: DkimResult[] = []
  #spf: SpfResult[] = []
  readonly #headerFrom = new DomainMemo()
  readonly #envelopeFrom = new DomainMemo()
  readonly #envelopeTo = new DomainMemo()
  readonly #dkimDomain = new DomainMemo()
  readonly #spfDomain = new DomainMemo()

  constructor(warnings: WarningList) {
    this.#warnings = warnings
  }

  /** Begins a record; its number in the report, from 1, is what warnings name. */
  begin(): void {
    this.#index++
    this.#clear(at.RECORD_VALUES, at.VALUES)
    this.hasAuthResults = false
    this.#reasons = []
    this.#dkim = []
    this.#spf = []
  }

  /** Records begun so far, those that were left out included. */
  get begun(): number {
    return this.#index + 1
  }

  /** Warns about the record; of `text`, which the sender wrote, the beginning is shown. */
  warn(code: WarningCode, what: string, text = ''): void {
    if (!this.#warnings.wants(code)) return
    this.#warnings.keep(code, `record ${this.#index + 1}: ${what}${text === '' ? '' : ` ${excerpt(text)}`}`)
  }

  /** Ends a `dkim` element of auth_results. */
  endDkim(): void {
    const { values } = this
    if (this.#dkim.length < MAX_DKIM_RESULTS) {
      const domain = values[at.DKIM_DOMAIN]!
      const result = values[at.DKIM_RESULT]!
      this.#dkim.push({
        domain: domain === null ? null : this.#name(this.#dkimDomain.read(domain)),
        selector: this.#name(values[at.DKIM_SELECTOR]!),
        result: result === 'pass' || result === 'fail' ? result : this.#word(result, dkimResults, 'DKIM result'),
        human_result: this.#text(values[at.DKIM_HUMAN_RESULT]!),
      })
    } else this.warn('results_dropped', `more than ${MAX_DKIM_RESULTS} DKIM results`)
    this.#clear(at.DKIM_DOMAIN, at.SPF_DOMAIN)
  }

  /** Ends an `spf` element of auth_results. */
  endSpf(): void {
    const { values } = this
    if (this.#spf.length < MAX_SPF_RESULTS) {
      const text = values[at.SPF_DOMAIN]!
      const result = values[at.SPF_RESULT]!
      const domain = text === null ? null : this.#name(this.#spfDomain.read(text))
      if (domain === null) this.warn('spf_domain_missing', 'an SPF result without domain')
      this.#spf.push({
        domain,
        scope: this.#word(values[at.SPF_SCOPE]!, spfScopes, 'SPF scope'),
        result: result === 'pass' || result === 'fail' ? result : this.#word(result, spfResults, 'SPF result'),
      })
    } else this.warn('results_dropped', `more than ${MAX_SPF_RESULTS} SPF results`)
    this.#clear(at.SPF_DOMAIN, at.VALUES)
  }

  /** Ends a `reason` element. */
  endReason(): void {
    const type = this.values[at.REASON_TYPE]!
    const comment = this.values[at.REASON_COMMENT]!
    this.values[at.REASON_TYPE] = null
    this.values[at.REASON_COMMENT] = null
    this.#addReason(type, comment)
  }

  /** Takes a reason that is a text instead of elements (rspamd wrote them). */
  addPlainReason(text: string): void {
    if (text !== '') this.warn('comment_as_reason', 'reason', text)
    this.#addReason(text === '' ? null : text, null)
  }

  #addReason(type: string | null, comment: string | null): void {
    if (type === null && comment === null) {
      this.warn('reason_empty', 'a reason without type and comment')
      return
    }
    if (this.#reasons.length >= MAX_REASONS) {
      this.warn('results_dropped', `more than ${MAX_REASONS} reasons`)
      return
    }
    if (type === null) this.warn('reason_type_missing', 'a reason without type')
    this.#reasons.push({ type: type === null ? null : this.#overrideType(type), comment: this.#text(comment) })
  }

  #overrideType(type: string): string | null {
    const { word, known } = readWord(type, overrideTypes)
    if (!known) this.warn('override_unknown', 'reason type', word)
    return this.#name(word)
  }

  /** Ends the record. Null when it has no source address: then it is left out, with a warning. */
  build(): DmarcRecord | null {
    const { values } = this
    const ip = values[at.SOURCE_IP]!
    if (ip === null) {
      this.warn('record_incomplete', 'no source_ip')
      return null
    }
    if (!this.hasAuthResults) this.warn('auth_results_missing', 'no auth_results')
    const from = values[at.HEADER_FROM]!
    const envelopeFrom = values[at.ENVELOPE_FROM]!
    const envelopeTo = values[at.ENVELOPE_TO]!
    return {
      source_ip: this.#address(ip),
      count: this.#count(values[at.COUNT]!),
      disposition: this.#disposition(values[at.DISPOSITION]!),
      dkim: this.#aligned(values[at.EVALUATED_DKIM]!, 'dkim'),
      spf: this.#aligned(values[at.EVALUATED_SPF]!, 'spf'),
      reasons: this.#reasons,
      header_from: from === null ? null : this.#name(this.#headerFrom.read(from)),
      envelope_from: envelopeFrom === null ? null : this.#name(this.#envelopeFrom.read(envelopeFrom)),
      envelope_to: envelopeTo === null ? null : this.#name(this.#envelopeTo.read(envelopeTo)),
      dkim_results: this.#dkim,
      spf_results: this.#spf,
    }
  }

  #address(text: string): string {
    const { address, valid } = normaliseAddress(text)
    if (valid) return address
    this.warn('address_invalid', 'source_ip', text)
    return this.#name(address)!
  }

  #count(text: string | null): number | null {
    if (text !== null && isShortCount(text)) {
      const count = Number(text)
      if (count > 0) return count
    }
    const { count, fraction } = readCount(text)
    if (fraction) this.warn('count_fraction', 'count', text!)
    if (plausibleCount(count) === 0) this.warn('count_implausible', text === null ? 'no count' : 'count', text ?? '')
    return count
  }

  #disposition(text: string | null): string | null {
    if (text === 'none') return text
    if (text === null) this.warn('disposition_missing', 'no disposition')
    return this.#word(text, dispositions, 'disposition')
  }

  #aligned(text: string | null, what: string): string | null {
    if (text === 'pass' || text === 'fail') return text
    if (text === null) this.warn('alignment_missing', `no ${what} in policy_evaluated`)
    return this.#word(text, alignedResults, `policy_evaluated ${what}`)
  }

  #word(text: string | null, vocabulary: Vocabulary, what: string): string | null {
    if (text === null || vocabulary.known.has(text)) return text
    const { word, known } = readWord(text, vocabulary)
    if (!known) this.warn('result_unknown', what, text)
    return this.#name(word)
  }

  #name(text: string | null): string | null {
    return text === null || text.length <= MAX_NAME ? text : this.#cut(text, MAX_NAME)
  }

  #text(text: string | null): string | null {
    return text === null || text.length <= MAX_TEXT ? text : this.#cut(text, MAX_TEXT)
  }

  #cut(text: string, most: number): string {
    this.warn('value_truncated', most === MAX_NAME ? 'a name was cut:' : 'a text was cut:', text)
    return detach(cutText(text, most))
  }

  #clear(from: number, to: number): void {
    for (let place = from; place < to; place++) this.values[place] = null
  }
}
