/** From what the store holds to what an answer says. */

/** The store holds '' for what was not said. */
export function said(text: string): string | null {
  return text === '' ? null : text
}

/** Seconds since 1970 to ISO 8601, as the reports state their period. */
export function isoSeconds(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z')
}

/** An address from an IPv6 column (IPv4 is mapped there), or the text that was sent in its place. */
export function sourceAddress(sourceIp: string, sourceText: string): string {
  if (sourceText !== '') return sourceText
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/.test(sourceIp) ? sourceIp.slice(7) : sourceIp
}

export interface Warned {
  readonly warning_code: readonly string[]
  readonly warning_detail: readonly string[]
}

export function warningsOf({ warning_code, warning_detail }: Warned): { code: string; detail: string }[] {
  return warning_code.map((code, i) => ({ code, detail: warning_detail[i] ?? '' }))
}
