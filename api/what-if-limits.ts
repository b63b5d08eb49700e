/** What the numbers of `what-if` take for granted, and what they cannot say: sentences for people. */

export interface AskedPolicy {
  readonly p: 'quarantine' | 'reject'
  /** Null: `p` holds below as well (RFC 7489 §6.3). */
  readonly sp: 'none' | 'quarantine' | 'reject' | null
}

/** `unsaid`: failing messages whose From domain no report says, where it matters. */
export function assumptions({ p, sp }: AskedPolicy, unsaid: number): string[] {
  const below = sp === null ? `p=${p} as well, as no sp was asked for` : `sp=${sp}`
  return [
    'Every message that failed DMARC, with neither DKIM nor SPF aligned, would have met the policy, at every receiver that reported it; one that passed would not.',
    `Failing messages whose From domain is the policy domain meet p=${p}; those of a domain below it meet ${below}.`,
    'The same mail would have been sent, and the records in DNS other than the policy would have been the same.',
    ...(unsaid === 0
      ? []
      : [
          `${unsaid} failing messages come from records that name no From domain; they are counted as sent as the policy domain.`,
        ]),
  ]
}

export function unknowable({ p, sp }: AskedPolicy): string[] {
  return [
    `Whether a From domain below the policy domain exists: for one that does not, np would hold instead of ${sp === null ? `p=${p}` : `sp=${sp}`}.`,
    'Sampling: a receiver that honours pct, or t=y, applies the policy to fewer messages, or not at all.',
    'Local policy: a receiver may deliver what fails all the same, above all what it takes for forwarded or for mail of a list; how often, under another policy, no report tells.',
    'Mail to receivers that send no reports is in none of these numbers.',
    'Who would have been told: a rejected message bounces to its sender, a quarantined one is seen by nobody unless its recipient looks.',
  ]
}
