/** What is said to the person who decides about a source: why it is listed, and what could be decided. */
import type { Verdict } from '../topics/verdicts.ts'

export interface UndecidedSource {
  readonly domain: string
  /** Id of the sender, or null. */
  readonly sender: string | null
  /** As a decision names it: id of a sender, address, or range. */
  readonly source: string
  /** Name of the machine, or the domain that the names of several are below. */
  readonly ptr: string | null
  readonly verdict: Verdict
  readonly messages: number
  readonly isNew: boolean
  readonly since: string
}

export interface Suggestion {
  readonly as: 'own' | 'sender' | 'forwarder' | 'exclude'
  readonly reason: string
}

/** One sentence. */
export function whyListed(source: UndecidedSource): string {
  const { domain, messages, sender, ptr, verdict, isNew, since } = source
  const who = sender ?? (ptr === null ? source.source : `${source.source} (${ptr})`)
  const sent = `${who} sent ${messages} ${messages === 1 ? 'message' : 'messages'} as ${domain}`
  const before = isNew ? `, and was not seen before ${since}` : ''
  switch (verdict) {
    case 'unknown':
      return `${sent} that failed DMARC, and no rule says whether it may${before}.`
    case 'misconfigured':
      return `${sent} that failed DMARC although it is the domain's own: align it before the policy is tightened${before}.`
    case 'spoofed':
      return `${sent} that failed DMARC, and nobody vouches for it${before}.`
    case 'signing_broken':
      return `${sent} that passed by SPF alone because the domain's own DKIM signature did not verify${before}.`
    default:
      return `${sent} that the rules take for ${verdict}${before}.`
  }
}

/** What could be decided, the likeliest first. */
export function suggestionsFor(source: UndecidedSource): Suggestion[] {
  const { domain, sender, ptr, verdict } = source
  const who = sender ?? source.source
  const own = { as: 'own', reason: `${who} sends for ${domain}, with your knowledge` } as const
  const named = {
    as: 'sender',
    reason: ptr === null ? `${who} belongs to a service that has a name` : `${ptr} is the name of a service`,
  } as const
  const forwarder = { as: 'forwarder', reason: `${who} passes on mail that others sent as ${domain}` } as const
  const exclude = (reason: string): Suggestion => ({ as: 'exclude', reason })
  const naming = sender === null ? [named] : []
  switch (verdict) {
    case 'misconfigured':
      return [exclude('known, and being repaired'), ...naming, forwarder]
    case 'signing_broken':
      return [exclude('known, and being repaired'), ...naming]
    case 'spoofed':
      return [exclude(`nobody sends as ${domain} from there`), own, ...naming, forwarder]
    case 'unknown':
      return [own, ...naming, forwarder, exclude('looked at, and of no concern')]
    default:
      return [own, ...naming, exclude('looked at, and of no concern')]
  }
}
