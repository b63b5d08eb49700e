/** Regular expressions in conditions: only such as cannot be made to run for long by what somebody sends. */

/** Parts that repeat without a bound: with three, 255 characters take at most some millions of steps. */
const MAX_REPEATS = 3
const MAX_PATTERN = 200

/** What is wrong with a pattern, as a sentence, or null. */
export function patternFault(pattern: string): string | null {
  if (pattern.length > MAX_PATTERN) return `A pattern has at most ${MAX_PATTERN} characters.`
  try {
    new RegExp(pattern)
  } catch (error) {
    return `${(error as Error).message}.`
  }
  if (/\(\?(?!:)/.test(pattern)) return 'Patterns have no look-ahead, look-behind and named groups.'
  if (/\\[1-9k]/.test(pattern)) return 'Patterns have no references to groups.'
  const bare = pattern.replace(/\\./g, 'x').replace(/\[\^?\]?[^\]]*\]/g, 'x')
  if (/\)[*+{]/.test(bare)) return 'A group in a pattern may not be repeated; only "?" may follow it.'
  if ((bare.match(/[*+]|\{\d+,\d*\}/g) ?? []).length > MAX_REPEATS) {
    return `A pattern repeats at most ${MAX_REPEATS} things without a bound (* and +).`
  }
  return /\{\d{3,}/.test(bare) ? 'A pattern repeats a thing at most 99 times.' : null
}
