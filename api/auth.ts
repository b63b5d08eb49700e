/** Who may call what: keys from the configuration, compared by hash in constant time. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { ApiError } from './errors.ts'

export const scopes = ['ingest', 'read', 'admin'] as const
export type Scope = (typeof scopes)[number]

export interface ApiKey {
  readonly name: string
  /** SHA-256 of the key, 64 hex digits: the key itself is nowhere. */
  readonly sha256: string
  readonly scopes: readonly Scope[]
}

/**
 * Lets the call pass or throws `authentication_missing`, `authentication_invalid` or `scope_missing`. Without keys
 * every call passes; `admin` includes the other scopes. All keys are compared, so time does not tell which was near.
 */
export function authorize(keys: readonly ApiKey[], authorization: string | undefined, scope: Scope): void {
  if (keys.length === 0) return
  const key = /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
  if (key === undefined) throw new ApiError('authentication_missing')
  const presented = createHash('sha256').update(key).digest()
  let known: ApiKey | undefined
  for (const candidate of keys) {
    const expected = Buffer.from(candidate.sha256, 'hex')
    if (expected.length === presented.length && timingSafeEqual(expected, presented)) known = candidate
  }
  if (known === undefined) throw new ApiError('authentication_invalid')
  if (!known.scopes.includes(scope) && !known.scopes.includes('admin')) {
    throw new ApiError('scope_missing', { message: `The key ${known.name} does not have the scope ${scope}.` })
  }
}
