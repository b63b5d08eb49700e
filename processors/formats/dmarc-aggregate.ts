/**
 * DMARC aggregate reports (RFC 7489 appendix C, RFC 9990, the drafts before them and the dmarc-2.0 documents between):
 * XML bytes in, records and the report's own facts out. Element names are read in any namespace and order; memory does
 * not grow with the report, because each record is handed over and forgotten.
 */
import { Rejected, type WarningCode } from './codes.ts'
import * as at from './dmarc-grammar.ts'
import { DROPPED_MARK, RecordBuilder } from './dmarc-record.ts'
import { alignments, discoveryMethods, policies, readWord, type Vocabulary, yesOrNo } from './dmarc-words.ts'
import { normaliseDomain } from './domain-names.ts'
import { type Limits, MAX_NAME, MAX_TEXT } from './limits.ts'
import { type DmarcRecordRest, MEMO_FROM_RECORDS, RecordMemo } from './record-memo.ts'
import { readSeconds } from './report-dates.ts'
import type { DmarcPolicy, DmarcRecord, DmarcReport } from './shapes.ts'
import { cutText, detach, excerpt } from './text-encoding.ts'
import { WarningList } from './warnings.ts'
import { BYTES_DROPPED, END_TAG_IMPLIED, type XmlHandler, XmlScanner } from './xml-scanner.ts'

/** `error` elements kept of one report. */
export const MAX_ERRORS = 100

export interface AggregateReaderOptions {
  readonly limits: Limits
  /** Reads XML that is not well formed as far as there is no doubt; for a second try, after a strict one has failed. */
  readonly tolerant: boolean
  /** Called once for each record, in the order of the report. Records with the same `rest` differ in address and count only. */
  readonly onRecord: (record: DmarcRecord, rest: DmarcRecordRest | null) => void
}

/**
 * Reads one report that is written to it in pieces of any size. `write` and `end` throw `Rejected`; records handed over
 * before that do not count. In strict mode `xml_malformed` means: read the same bytes again from the start with
 * `tolerant`, which finds the whole report or rejects it.
 */
export class AggregateReader {
  readonly #scanner: XmlScanner
  readonly #report: ReportHandler

  constructor(options: AggregateReaderOptions) {
    this.#report = new ReportHandler(options)
    // First, so that it is kept however many warnings follow.
    if (options.tolerant) this.#report.warnings.add('xml_repaired', 'read again, passing over what is malformed')
    this.#scanner = new XmlScanner({
      names: at.elementNames,
      root: at.FEEDBACK_NAME,
      repeated: at.RECORD_NAME,
      handler: this.#report,
      limits: options.limits,
      tolerant: options.tolerant,
    })
  }

  write(bytes: Uint8Array): void {
    this.#scanner.write(bytes)
  }

  end(): DmarcReport {
    this.#scanner.end()
    for (const { code, detail } of this.#scanner.encodingWarnings()) this.#report.warnings.add(code, detail)
    if (this.#scanner.prefixed) this.#report.warnings.add('namespace_prefix', 'element names have a prefix')
    return this.#report.finish()
  }
}

/** Values where a guess would change what is counted, or when, or for whom: a repair may not touch them. */
const isExact = (place: number): boolean =>
  place === at.COUNT || place === at.SOURCE_IP || place === at.BEGIN || place === at.END

const nameOf = (name: number): string => `<${at.elementNames[name]}>`

class ReportHandler implements XmlHandler {
  readonly warnings = new WarningList()
  readonly #builder = new RecordBuilder(this.warnings)
  readonly #values = this.#builder.values
  readonly #limits: Limits
  readonly #tolerant: boolean
  readonly #onRecord: AggregateReaderOptions['onRecord']
  /** Where we are, and where we were outside of that. */
  #context = at.OUTSIDE
  readonly #outer: number[] = []
  /** Elements that may stand once and were seen, as bits of their contexts: in the report, in the record. */
  #seenInReport = 0
  #seenInRecord = 0
  #records = 0
  readonly #memo = new RecordMemo()
  /** The record that the memo was asked for last and did not know, and the warnings that there were then. */
  #asked = { index: 0, warnings: 0 }
  #complete = false
  readonly #errors: string[] = []
  /** Tolerant mode: the element that is passed over holds names that we know. */
  #swallowed = false

  constructor(options: AggregateReaderOptions) {
    this.#limits = options.limits
    this.#tolerant = options.tolerant
    this.#onRecord = options.onRecord
  }

  leaf(name: number, text: string, doubt: number): void {
    const meaning = at.meaningOf(this.#context, name)
    if (meaning <= 0) {
      this.#leafWithoutValue(name, meaning, text, doubt)
      return
    }
    const value = doubt === 0 ? text : this.#doubtful(meaning, text, doubt)
    if (value === '') return
    if (meaning === at.ERROR) this.#addError(value)
    else if (this.#values[meaning] === null) {
      this.#values[meaning] = meaning < at.RECORD_VALUES ? detach(value) : value
    } else this.#repeated(name, isExact(meaning))
  }

  open(name: number): void {
    const meaning = at.meaningOf(this.#context, name)
    this.#outer.push(this.#context)
    if (meaning < 0) this.#enter(name, -meaning)
    else if (meaning === 0) this.#pass(name)
    else {
      if (this.#tolerant && isExact(meaning)) throw doubtful(`${nameOf(name)} holds other markup`)
      this.#warn('value_not_text', nameOf(name))
      this.#context = at.BROKEN
    }
  }

  close(_name: number, impliedEnd: boolean): void {
    const context = this.#context
    const outer = this.#outer.pop()!
    this.#context = outer
    if (impliedEnd && (context === at.RECORD || context === at.ROW || (context === at.IGNORED && this.#swallowed))) {
      throw doubtful('An element of a record has no end tag')
    }
    if (outer !== at.IGNORED) this.#swallowed = false
    if (context === at.DKIM) this.#builder.endDkim()
    else if (context === at.SPF) this.#builder.endSpf()
    else if (context === at.REASON) this.#builder.endReason()
    else if (context === at.RECORD) this.#endRecord()
    else if (context === at.FEEDBACK) this.#complete = true
  }

  stray(text: string): void {
    if (this.#context === at.IGNORED || this.#context === at.BROKEN) return
    if (this.#tolerant && this.#context === at.ROW) throw doubtful('Text stands between the values of a row')
    if (this.#context === at.OUTSIDE) this.outside(false, -1)
    else this.#warn('text_stray', excerpt(text))
  }

  outside(after: boolean, name: number): void {
    if (at.isPartOfReport(name)) throw doubtful(`${nameOf(name)} stands outside of <feedback>`)
    this.warnings.add(after ? 'text_stray' : 'root_prefixed', after ? 'after the report' : 'before the report')
  }

  /** Takes a record whose text says the same as an earlier one's. */
  repeat(text: string, from: number, to: number): boolean {
    const { begun } = this.#builder
    if (begun < MEMO_FROM_RECORDS || begun >= this.#limits.records || this.#context !== at.FEEDBACK) return false
    const record = this.#memo.find(text, from, to)
    if (record === null) {
      this.#asked = { index: begun + 1, warnings: this.warnings.count }
      return false
    }
    this.#builder.begin()
    this.#records++
    this.#onRecord(record, this.#memo.rest)
    return true
  }

  /** The report's facts. Throws `Rejected` when a mandatory part is missing. */
  finish(): DmarcReport {
    if (!this.#complete) throw new Rejected('not_a_report', 'No <feedback> element was found in the XML.')
    const report_id = this.#text(at.REPORT_ID)
    if (report_id === null) throw this.#missing('report_id_missing', 'The report has no report_id.')
    const { begin, end } = this.#period()
    const policy = this.#policy()
    const org_name = this.#text(at.ORG_NAME)
    if (org_name === null) this.warnings.add('org_name_missing', 'org_name is empty or missing')
    return {
      org_name,
      email: this.#text(at.EMAIL),
      extra_contact_info: this.#text(at.EXTRA_CONTACT_INFO),
      report_id,
      begin,
      end,
      version: this.#text(at.VERSION, MAX_NAME),
      generator: this.#text(at.GENERATOR),
      errors: this.#errors,
      policy,
      records: this.#records,
      warnings: this.warnings.list(),
    }
  }

  #warn(code: WarningCode, what: string): void {
    if (this.#context >= at.RECORD && this.#outer.includes(at.FEEDBACK)) this.#builder.warn(code, what)
    else this.warnings.add(code, what)
  }

  /** An element without children that is no value here: an empty `auth_results`, a plain `reason`, an extension. */
  #leafWithoutValue(name: number, meaning: number, text: string, doubt: number): void {
    if (this.#context === at.IGNORED || this.#context === at.BROKEN) {
      this.#pass(name)
      return
    }
    if (meaning === -at.REASON) {
      this.#builder.addPlainReason(text)
      return
    }
    this.open(name)
    if (text !== '') this.stray(text)
    this.close(name, (doubt & END_TAG_IMPLIED) !== 0)
  }

  #enter(name: number, context: number): void {
    if (this.#isRepeated(context)) {
      this.#repeated(name, true)
      this.#context = at.IGNORED
      return
    }
    this.#context = context
    if (context === at.RECORD) {
      this.#seenInRecord = 0
      this.#builder.begin()
      if (this.#builder.begun > this.#limits.records) {
        throw new Rejected('records_limit', `The report has more than ${this.#limits.records} records.`)
      }
    } else if (context === at.AUTH_RESULTS) this.#builder.hasAuthResults = true
    else if (context === at.FEEDBACK) this.#beginFeedback()
  }

  /** A second one is passed over; in a damaged document it may be the first of another record whose tags are lost. */
  #repeated(name: number, counts: boolean): void {
    if (counts && this.#tolerant) throw doubtful(`${nameOf(name)} stands twice`)
    this.#warn('field_duplicated', nameOf(name))
  }

  #beginFeedback(): void {
    if (this.#complete) throw doubtful('The document holds several reports')
    // A well-formed document round the report.
    if (this.#outer.length > 1) this.outside(false, -1)
  }

  #isRepeated(context: number): boolean {
    const bit = 1 << context
    if (context >= at.REPORT_METADATA && context <= at.POLICY_PUBLISHED) {
      if ((this.#seenInReport & bit) !== 0) return true
      this.#seenInReport |= bit
    } else if (
      context === at.ROW ||
      context === at.POLICY_EVALUATED ||
      context === at.IDENTIFIERS ||
      context === at.AUTH_RESULTS
    ) {
      if ((this.#seenInRecord & bit) !== 0) return true
      this.#seenInRecord |= bit
    }
    return false
  }

  /** Passes over an element that has no meaning where it stands. */
  #pass(name: number): void {
    if (this.#context === at.OUTSIDE) return
    if (this.#context === at.IGNORED) {
      if (name >= 0) this.#swallowed = true
      return
    }
    if (name >= 0 && this.#tolerant) throw doubtful(`${nameOf(name)} stands where it cannot`)
    if (this.#context !== at.BROKEN) this.#context = at.IGNORED
  }

  #doubtful(place: number, text: string, doubt: number): string {
    if (!isExact(place)) return text
    if ((doubt & END_TAG_IMPLIED) !== 0) throw doubtful('A count, date or address has no end tag')
    return (doubt & BYTES_DROPPED) !== 0 && place !== at.SOURCE_IP ? text + DROPPED_MARK : text
  }

  #endRecord(): void {
    const record = this.#builder.build()
    if (record === null) return
    this.#records++
    const clean = this.#asked.index === this.#builder.begun && this.#asked.warnings === this.warnings.count
    this.#onRecord(record, clean ? this.#memo.keep(record) : null)
  }

  #addError(text: string): void {
    if (this.#errors.length >= MAX_ERRORS)
      this.warnings.add('results_dropped', `more than ${MAX_ERRORS} error elements`)
    else this.#errors.push(this.#cut(detach(text), MAX_TEXT))
  }

  /** After a tolerant reading a missing part may be one that the damage hid. */
  #missing(code: 'report_id_missing' | 'period_unreadable' | 'policy_missing', detail: string): Rejected {
    return this.#tolerant ? doubtful(detail) : new Rejected(code, detail)
  }

  #period(): { begin: number; end: number } {
    const begin = this.#date(at.BEGIN, 'begin')
    const end = this.#date(at.END, 'end')
    if (begin <= end) return { begin, end }
    this.warnings.add('period_reversed', `begin ${begin}, end ${end}`)
    return { begin: end, end: begin }
  }

  #date(place: number, what: string): number {
    const text = this.#values[place]!
    if (text === null) throw this.#missing('period_unreadable', `The report has no ${what} date.`)
    const date = readSeconds(text)
    if (date === null) {
      throw new Rejected('period_unreadable', `The ${what} date cannot be read or is out of range: ${excerpt(text)}`)
    }
    if (!date.standard) this.warnings.add('date_format', `${what}: ${excerpt(text)}`)
    return date.seconds
  }

  #policy(): DmarcPolicy {
    const text = this.#values[at.DOMAIN]!
    const domain = text === null ? null : normaliseDomain(text)
    if (domain === null) throw this.#missing('policy_missing', 'The report has no policy domain.')
    const p = this.#word(at.P, policies, 'p')
    if (p === null) throw this.#missing('policy_missing', 'The report has no policy (p).')
    return {
      domain: this.#cut(domain, MAX_NAME),
      adkim: this.#word(at.ADKIM, alignments, 'adkim'),
      aspf: this.#word(at.ASPF, alignments, 'aspf'),
      p,
      sp: this.#word(at.SP, policies, 'sp'),
      np: this.#word(at.NP, policies, 'np'),
      pct: this.#percentage(),
      fo: this.#text(at.FO, MAX_NAME)?.toLowerCase() ?? null,
      testing: this.#word(at.TESTING, yesOrNo, 'testing'),
      discovery_method: this.#word(at.DISCOVERY_METHOD, discoveryMethods, 'discovery_method'),
    }
  }

  #percentage(): number | null {
    const text = this.#values[at.PCT]!
    if (text === null) return null
    const parts = /^([0-9]{1,3})(\.[0-9]*)?$/.exec(text)
    if (parts !== null && Number(parts[1]) <= 100) return Number(parts[1])
    this.warnings.add('number_invalid', `pct: ${excerpt(text)}`)
    return null
  }

  #word(place: number, vocabulary: Vocabulary, what: string): string | null {
    const text = this.#values[place]!
    if (text === null) return null
    const { word, known } = readWord(text, vocabulary)
    if (!known) this.warnings.add('result_unknown', `${what}: ${excerpt(text)}`)
    return this.#cut(word, MAX_NAME)
  }

  #text(place: number, most = MAX_TEXT): string | null {
    const text = this.#values[place]!
    return text === null ? null : this.#cut(text, most)
  }

  #cut(text: string, most: number): string {
    if (text.length <= most) return text
    this.warnings.add('value_truncated', `cut after ${most} characters: ${excerpt(text)}`)
    return cutText(text, most)
  }
}

const doubtful = (what: string): Rejected =>
  new Rejected(
    'xml_malformed',
    `${what}, so the report cannot be read without doubt. Ask the sender for a well-formed one.`,
  )
