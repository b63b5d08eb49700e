/** What promoting and rolling back take besides the generation: members of the body, or parameters. */
import Type from 'typebox'
import type { PromoteOptions } from './replays.ts'
import { closed } from './schemas.ts'

const DEFAULT_SECONDS = 60
const MAX_SECONDS = 3600

const timeout = Type.Optional(
  Type.Number({
    minimum: 0,
    maximum: MAX_SECONDS,
    description: `seconds to wait until it has caught up; default ${DEFAULT_SECONDS}`,
  }),
)
const accept_gap = Type.Optional(
  Type.Boolean({ description: 'promote although it covers less mail than the live generation' }),
)

export const promotionMembers = closed({ timeout, accept_gap })
export const waitingMembers = closed({ timeout })

interface Asked {
  readonly timeout?: number
  readonly accept_gap?: boolean
}

/** The body wins over the parameters. */
export function promotionOptions(query: Asked, body: Asked, signal: AbortSignal): PromoteOptions {
  const seconds = body.timeout ?? query.timeout ?? DEFAULT_SECONDS
  return { timeout: seconds * 1000, acceptGap: body.accept_gap ?? query.accept_gap ?? false, signal }
}
