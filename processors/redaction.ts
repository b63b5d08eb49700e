/**
 * What is left out of what mails and failure reports say of people, before anything of it is stored beyond `ingest`. What
 * is left out is part of the reader's version, so that one can see which events were read with what, and a replay from
 * `ingest` reads the past anew with the setting of now.
 */
import type { FailureReport, MailFields, Warning } from './formats/shapes.ts'
import { PARSER_VERSION } from './parser-version.ts'

/**
 * `local-parts`: of addresses only `…@domain` is left, without names. No hash stands for the local part: who has a list
 * of addresses would try them all. `subjects`: none. `samples`: nothing of the fields that a failure report quotes of the
 * mail that it is about (From, Subject, Message-ID); bodies are never stored.
 */
export const redactable = ['local-parts', 'subjects', 'samples'] as const
export type Redactable = (typeof redactable)[number]
export type Redaction = readonly Redactable[]

/** The version of the reader with this redaction, as events name it: `1`, `1+local-parts`. */
export function readerVersion(redaction: Redaction): string {
  return [PARSER_VERSION, ...redactable.filter((part) => redaction.includes(part))].join('+')
}

/** The domains of the addresses in a field, each with `…` for what stood before the @; null when there is none. */
export function withoutLocalParts(field: string | null): string | null {
  const found = [...(field ?? '').matchAll(/@(\[[^\]\s]*\]|[^\s<>(),;:"@[\]\\]+)/g)].map((match) => `…@${match[1]}`)
  return found.length === 0 ? null : found.join(', ')
}

/** A sentence with each local part in it replaced. */
const withoutLocalPartsIn = (sentence: string) =>
  sentence.replace(/(?:"[^"\n]*"|[^\s<>(),;:"@[\]\\]+)@(?=[\w[])/g, '…@')

export class Redactor {
  readonly version: string
  readonly #redaction: Redaction

  constructor(redaction: Redaction) {
    this.#redaction = redaction
    this.version = readerVersion(redaction)
  }

  #hides(part: Redactable): boolean {
    return this.#redaction.includes(part)
  }

  addresses(field: string | null): string | null {
    return this.#hides('local-parts') ? withoutLocalParts(field) : field
  }

  #subject(subject: string | null): string | null {
    return this.#hides('subjects') ? null : subject
  }

  /** What is said for people, and may quote the mail. */
  detail(sentence: string): string {
    return this.#hides('local-parts') ? withoutLocalPartsIn(sentence) : sentence
  }

  warnings(warnings: readonly Warning[]): readonly Warning[] {
    return this.#hides('local-parts') ? warnings.map((one) => ({ ...one, detail: this.detail(one.detail) })) : warnings
  }

  mail(fields: MailFields): MailFields {
    const { from, to, subject } = fields
    return { ...fields, from: this.addresses(from), to: this.addresses(to), subject: this.#subject(subject) }
  }

  failure(report: FailureReport): FailureReport {
    const noSample = this.#hides('samples') ? { from: null, subject: null, message_id: null } : {}
    return {
      ...report,
      original_mail_from: this.addresses(report.original_mail_from),
      original_rcpt_to: this.addresses(report.original_rcpt_to),
      from: this.addresses(report.from),
      subject: this.#subject(report.subject),
      warnings: this.warnings(report.warnings),
      ...noSample,
    }
  }
}
