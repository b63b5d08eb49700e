/** A count above this, below 1 or that is no number adds nothing to any total (`count_implausible`). */
export const MAX_PLAUSIBLE_COUNT = 1_000_000_000

/** Messages that a record adds to totals: its count when plausible, else 0. */
export function plausibleCount(count: number | null): number {
  return count !== null && count >= 1 && count <= MAX_PLAUSIBLE_COUNT ? Math.trunc(count) : 0
}
