/** Whether a condition can tell results apart that differ in one member only: what it cannot, need not be compared. */
import { type Expression, partsOf } from './expression.ts'

/** These look at each entry by itself and give no entry away. */
const judging: ReadonlySet<string> = new Set(['exists', 'all', 'exists_one'])

/** False only when every use of the list counts its entries, or reads other members of them. */
export function readsMember(expression: Expression, list: string, member: string): boolean {
  const reads = (part: Expression, entries: readonly string[]): boolean => {
    switch (part.op) {
      case 'name':
        return part.name === list || entries.includes(part.name)
      case 'member':
        return part.of.op === 'name' && entries.includes(part.of.name) ? part.name === member : reads(part.of, entries)
      case 'call':
        if (part.name === 'size' && isList(part.args[0])) return false
        break
      case 'method': {
        if (!isList(part.on)) break
        if (part.name === 'size') return false
        const [entry, ...rest] = part.args
        if (!judging.has(part.name) || entry?.op !== 'name') return true
        return rest.some((one) => reads(one, [...entries, entry.name]))
      }
    }
    return partsOf(part).some((one) => reads(one, entries))
  }
  const isList = (part: Expression | undefined) => part?.op === 'name' && part.name === list
  return reads(expression, [])
}
