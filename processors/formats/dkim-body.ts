/**
 * Bodies as DKIM hashes them (RFC 6376 §3.4.3, §3.4.4). In one pass, whatever the body holds: a reader that looks back
 * at each blank takes minutes over 50 MB of blanks.
 */
export type BodyForm = 'relaxed' | 'simple'

const [TAB, LF, CR, SPACE] = [9, 10, 13, 32]

/** The canonical form of a body, with its CRLFs; bare LFs count as line ends, since mail is often kept without CRs. */
export function canonicalBody(body: Uint8Array, form: BodyForm): Uint8Array {
  const relaxed = form === 'relaxed'
  const canonical = Buffer.allocUnsafe(sizeOf(body))
  let to = 0
  /** Empty lines that count only when something follows. */
  let emptyLines = 0
  let isLineEmpty = true
  let hasBlank = false
  for (let i = 0; i < body.length; i++) {
    const octet = body[i]!
    if (octet === LF || (octet === CR && body[i + 1] === LF)) {
      if (octet === CR) i++
      hasBlank = false
      if (isLineEmpty) emptyLines++
      else {
        canonical[to++] = CR
        canonical[to++] = LF
      }
      isLineEmpty = true
      continue
    }
    if (relaxed && (octet === SPACE || octet === TAB)) {
      hasBlank = true
      continue
    }
    for (; emptyLines > 0; emptyLines--) {
      canonical[to++] = CR
      canonical[to++] = LF
    }
    if (hasBlank) canonical[to++] = SPACE
    hasBlank = false
    canonical[to++] = octet
    isLineEmpty = false
  }
  // The last line gets an end, and a body of nothing is an empty line, except when relaxed.
  if (!isLineEmpty || (to === 0 && !relaxed)) {
    canonical[to++] = CR
    canonical[to++] = LF
  }
  return canonical.subarray(0, to)
}

/** At least what the canonical form takes. */
function sizeOf(body: Uint8Array): number {
  let bare = 0
  for (let i = 0; i < body.length; i++) if (body[i] === LF && body[i - 1] !== CR) bare++
  return body.length + bare + 2
}
