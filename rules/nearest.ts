/** What a misspelt name was probably meant to be. */

/** Letters that must be changed, added, taken away or swapped with their neighbour to make `b` of `a`. */
function editDistance(a: string, b: string): number {
  let last: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let least = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, last[j - 2]! + 1)
      next[j] = least
    }
    last = row
    row = next
  }
  return row[b.length]!
}

/** No name is longer; what is longer is not compared. */
const MAX_COMPARED = 100

/** The known name that is nearest to the given one, or null when none is near enough to have been meant. */
function nearestName(name: string, known: Iterable<string>): string | null {
  const wanted = name.toLowerCase().slice(0, MAX_COMPARED)
  let nearest: string | null = null
  let least = Math.max(2, Math.ceil(wanted.length / 3)) + 1
  for (const candidate of known) {
    const other = candidate.toLowerCase().slice(0, MAX_COMPARED)
    if (Math.abs(other.length - wanted.length) >= least) continue
    const distance = editDistance(wanted, other)
    // A name of two letters is near to every other one: something of it must stay.
    if (distance < least && distance < Math.max(wanted.length, other.length)) {
      least = distance
      nearest = candidate
    }
  }
  return nearest
}

/** ` Did you mean "…"?`, or nothing when no known name is near. */
export function suggestion(name: string, known: Iterable<string>): string {
  const nearest = nearestName(name, known)
  return nearest === null ? '' : ` Did you mean ${JSON.stringify(nearest)}?`
}
