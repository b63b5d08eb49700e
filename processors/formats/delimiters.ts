/** The lines between the parts of multiparts (RFC 2046 §5.1.1): found in one pass, for all open multiparts at once. */

/** RFC 2046 §5.1.1 allows 70 characters; longer ones are met and harmless up to here. */
export const MAX_BOUNDARY = 1000
/** Lines of one text in which a lost boundary is looked for. */
const MAX_GUESSES = 1000

const LINE_OF_DASHES = Buffer.from('\n--')
const [TAB, LF, CR, SPACE, DASH] = [9, 10, 13, 32, 45]

/** Octets with the delimiters that end parts of them. `hit` is where the last part that was read ended. */
export class Region {
  readonly octets: Buffer
  /** Boundaries of the multiparts that are open, outermost first. */
  readonly boundaries: Buffer[] = []
  hit: Delimiter

  constructor(octets: Buffer) {
    this.octets = octets
    this.hit = endOf(octets)
  }

  /** Finds the first delimiter line at or after `from`, which is the beginning of a line. */
  findDelimiter(from: number): Delimiter {
    const { octets } = this
    let lineStart = from
    if (!(octets[from] === DASH && octets[from + 1] === DASH)) lineStart = this.#nextDashes(from)
    while (lineStart !== -1) {
      const found = this.delimiterAt(lineStart, from)
      if (found !== null) {
        this.hit = found
        return found
      }
      lineStart = this.#nextDashes(lineStart)
    }
    this.hit = endOf(octets)
    return this.hit
  }

  #nextDashes(from: number): number {
    if (this.boundaries.length === 0) return -1
    const found = this.octets.indexOf(LINE_OF_DASHES, from)
    return found === -1 ? -1 : found + 1
  }

  /** The delimiter that the line at `lineStart` is, or null. An exact boundary goes before one that only fits as closed. */
  delimiterAt(lineStart: number, bodyStart: number): Delimiter | null {
    const { octets, boundaries } = this
    if (octets[lineStart] !== DASH || octets[lineStart + 1] !== DASH) return null
    let closed = -1
    for (let i = boundaries.length - 1; i >= 0; i--) {
      const boundary = boundaries[i]!
      const after = lineStart + 2 + boundary.length
      if (octets.compare(boundary, 0, boundary.length, lineStart + 2, Math.min(after, octets.length)) !== 0) continue
      if (this.#isLineEnd(after)) return this.#delimiter(i, false, lineStart, after, bodyStart)
      const isClosing = octets[after] === DASH && octets[after + 1] === DASH && this.#isLineEnd(after + 2)
      if (isClosing && closed === -1) closed = i
    }
    return closed === -1
      ? null
      : this.#delimiter(closed, true, lineStart, lineStart + 4 + boundaries[closed]!.length, bodyStart)
  }

  #isLineEnd(position: number): boolean {
    const { octets } = this
    let i = position
    while (octets[i] === SPACE || octets[i] === TAB || octets[i] === CR) i++
    return i >= octets.length || octets[i] === LF
  }

  #delimiter(boundary: number, closing: boolean, lineStart: number, after: number, bodyStart: number): Delimiter {
    const newline = this.octets.indexOf(LF, after)
    let bodyEnd = lineStart
    if (bodyEnd > bodyStart && this.octets[bodyEnd - 1] === LF) bodyEnd--
    if (bodyEnd > bodyStart && this.octets[bodyEnd - 1] === CR) bodyEnd--
    return { boundary, closing, bodyEnd, lineStart, next: newline === -1 ? this.octets.length : newline + 1 }
  }
}

function endOf(octets: Buffer): Delimiter {
  const end = octets.length
  return { boundary: -1, closing: false, bodyEnd: end, lineStart: end, next: end }
}

export interface Delimiter {
  /** Index of its boundary in the open ones; -1 is the end of the octets. */
  readonly boundary: number
  readonly closing: boolean
  /** Where the body before it ends: the line break belongs to the delimiter (RFC 2046 §5.1.1). */
  readonly bodyEnd: number
  readonly lineStart: number
  readonly next: number
}

/** The first line of two dashes and more that a header field or a blank line follows: a delimiter nobody announced. */
export function guessBoundary(octets: Buffer, from: number, end: number): Buffer | null {
  let lineStart = octets[from] === DASH && octets[from + 1] === DASH ? from : octets.indexOf(LINE_OF_DASHES, from) + 1
  for (let tries = 0; lineStart > 0 && lineStart < end && tries < MAX_GUESSES; tries++) {
    const newline = octets.indexOf(LF, lineStart)
    if (newline === -1) return null
    const boundary = octets.toString('latin1', lineStart + 2, Math.min(newline, lineStart + 2 + MAX_BOUNDARY)).trimEnd()
    const after = octets.toString('latin1', newline + 1, newline + 100)
    if (/^[^\s-]|^-+\S/.test(boundary) && /^(?:content-[\w-]+[ \t]*:|\r*\n)/i.test(after))
      return Buffer.from(boundary, 'latin1')
    lineStart = octets.indexOf(LINE_OF_DASHES, lineStart) + 1
  }
  return null
}
