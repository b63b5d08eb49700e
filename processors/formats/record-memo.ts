/**
 * Records of a report differ mostly in their address and count: what follows the count (`</count>…`, hundreds of
 * characters) is the same text again and again. The memo keeps what such a text was read as, so that it need not be
 * read again. The same text after the same beginning gives the same facts, so nothing about a record changes; only
 * records that were read without any warning are kept.
 *
 * A memo serves one report, and only one with many records: a miss costs half of what reading the record does, and in
 * small reports, or over reports, there are too many.
 */
import { normaliseAddress } from './addresses.ts'
import type { DmarcRecord } from './shapes.ts'
import { detach } from './text-encoding.ts'

/** All of a record but its address and count. Records that share one (by identity) differ in these two only. */
export type DmarcRecordRest = Omit<DmarcRecord, 'source_ip' | 'count'>

/** A report with fewer records has no memo. */
export const MEMO_FROM_RECORDS = 32

/** Texts kept; then the memo begins anew. A text and its record take about 2 KB. */
const MAX_ENTRIES = 2000
const MAX_TAIL = 4096
const SOURCE_IP = '<source_ip>'
const COUNT = '<count>'

/** A record's text between its tags, cut where it varies. */
interface Cut {
  /** Up to the address, `<source_ip>` included. */
  readonly head: string
  readonly address: string
  /** From the address to the count, both tags included. */
  readonly middle: string
  readonly count: string
  /** From `</count>` on. */
  readonly tail: string
}

/** Cuts `text` between `from` and `to`; null when it does not begin with row, source_ip and count, in this order. */
function cut(text: string, from: number, to: number): Cut | null {
  const address = text.indexOf(SOURCE_IP, from) + SOURCE_IP.length
  const middle = text.indexOf('<', address)
  const count = text.indexOf(COUNT, middle) + COUNT.length
  const tail = text.indexOf('<', count)
  if (address < from + SOURCE_IP.length || count < middle + COUNT.length || tail === -1 || tail >= to) return null
  const parts = {
    head: text.slice(from, address),
    address: text.slice(address, middle),
    middle: text.slice(middle, count),
    count: text.slice(count, tail),
    tail: text.slice(tail, to),
  }
  const isPlain = /^\s*<row>\s*<source_ip>$/.test(parts.head) && /^<\/source_ip>\s*<count>$/.test(parts.middle)
  // In a comment or CDATA section even `</record>` is text, so that `to` would not be the record's end.
  // What bytes above ASCII mean may be found out in the middle of a document.
  const isWhole = !parts.tail.includes('<!') && !parts.tail.includes('<?') && !/[\x80-\xff]/.test(parts.tail)
  return isPlain && isWhole && parts.tail.length <= MAX_TAIL && parts.tail.startsWith('</count>') ? parts : null
}

function isShortCount(text: string): boolean {
  if (text.length === 0 || text.length > 9) return false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c < 0x30 || c > 0x39) return false
  }
  return text !== '0'
}

export class RecordMemo {
  readonly #rests = new Map<string, DmarcRecordRest>()
  /** Beginning and middle of the records that are met, as the last one that was read in full had them. */
  #head = ''
  #middle = ''
  /** The tail of the record that is being read in full, to be kept when that went without a warning. */
  #pending: string | null = null
  /** What the record of the last hit shares with others. */
  rest: DmarcRecordRest | null = null

  /** The record whose text stands between `from` and `to`, or null when it has to be read in full. */
  find(text: string, from: number, to: number): DmarcRecord | null {
    this.#pending = null
    if (this.#head !== '' && text.startsWith(this.#head, from)) {
      const address = from + this.#head.length
      const middle = text.indexOf('<', address)
      const count = middle + this.#middle.length
      if (text.startsWith(this.#middle, middle)) {
        const tail = text.indexOf('<', count)
        const rest = tail < to ? this.#rests.get(text.slice(tail, to)) : undefined
        if (rest !== undefined) return this.#record(rest, text.slice(address, middle), text.slice(count, tail))
      }
    }
    const parts = cut(text, from, to)
    if (parts === null) return null
    this.#head = parts.head
    this.#middle = parts.middle
    this.#pending = parts.tail
    return null
  }

  #record(rest: DmarcRecordRest, address: string, count: string): DmarcRecord | null {
    if (!isShortCount(count)) return null
    const { address: source_ip, valid } = normaliseAddress(address)
    if (!valid) return null
    this.rest = rest
    return {
      source_ip,
      count: Number(count),
      disposition: rest.disposition,
      dkim: rest.dkim,
      spf: rest.spf,
      reasons: rest.reasons,
      header_from: rest.header_from,
      envelope_from: rest.envelope_from,
      envelope_to: rest.envelope_to,
      dkim_results: rest.dkim_results,
      spf_results: rest.spf_results,
    }
  }

  /** Keeps what the record that `find` did not know was read as. To be called only when it had no warning. */
  keep(record: DmarcRecord): DmarcRecordRest | null {
    const tail = this.#pending
    if (tail === null) return null
    this.#pending = null
    if (this.#rests.size >= MAX_ENTRIES) this.#rests.clear()
    const rest = restOf(record)
    this.#rests.set(detach(tail), rest)
    return rest
  }
}

/** Slices keep the whole chunk alive that they were cut from: what is kept is copied. */
const own = (text: string | null) => (text === null ? null : detach(text))

function restOf(record: DmarcRecord): DmarcRecordRest {
  return {
    disposition: own(record.disposition),
    dkim: own(record.dkim),
    spf: own(record.spf),
    reasons: record.reasons.map(({ type, comment }) => ({ type: own(type), comment: own(comment) })),
    header_from: own(record.header_from),
    envelope_from: own(record.envelope_from),
    envelope_to: own(record.envelope_to),
    dkim_results: record.dkim_results.map(({ domain, selector, result, human_result }) => ({
      domain: own(domain),
      selector: own(selector),
      result: own(result),
      human_result: own(human_result),
    })),
    spf_results: record.spf_results.map(({ domain, scope, result }) => ({
      domain: own(domain),
      scope: own(scope),
      result: own(result),
    })),
  }
}
