/** What a route is, and what it is given. */
import type { Server as HttpServer, IncomingMessage, ServerResponse } from 'node:http'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { Store } from '../projections/store.ts'
import type { Blobs } from '../topics/blobs.ts'
import type { Generation } from '../topics/generation.ts'
import type { Log } from '../topics/log.ts'
import type { ApiKey, Scope } from './auth.ts'
import type { FloodGate, FloodLimits } from './flood-limits.ts'
import type { Forgetting } from './forgetting.ts'
import type { MailBodies } from './mail-body.ts'
import type { Meters, Metrics, ObservationCounts } from './metrics.ts'
import type { PostPressure } from './post-pressure.ts'
import type { NamedGeneration } from './reading.ts'
import type { Replays } from './replays.ts'
import type { StatusSource } from './stages.ts'

export interface ApiDependencies {
  readonly log: Log
  readonly store: Store
  readonly blobs: Blobs
  /** The live generation. */
  generation(): Generation
  /** By name (`g2`) or number; null when there never was one. */
  generationNamed(name: string): NamedGeneration | null
  /** Mails larger than this travel as a claim check. */
  readonly inlineBytes: number
  readonly maxMailBytes: number
  /** How much may be posted; nothing is limited without it. */
  readonly floodLimits?: FloodLimits
  /** Without keys every call is allowed. */
  readonly keys: readonly ApiKey[]
  now(): Date
  readonly version: string
  /** What reads mail now; events name their reader. */
  readonly parserVersion: string
  status(): StatusSource
  /** Resolves when all mail before `ends` (default: all of now) can be queried; rejects when the signal aborts first. */
  settle(signal: AbortSignal, ends?: ReadonlyMap<number, number>): Promise<void>
  /** How far the rebuilding of the store has got; null when it is not being rebuilt. */
  rebuilding(): { done: number; total: number } | null
  /** True when the live generation was begun by another reader than the one at work. */
  parserChanged(): boolean
  readonly replays: Replays
  /** Erases mails; without it nothing can be erased here. */
  readonly forgetting?: Forgetting
  /** How addresses were looked up since the start. */
  observations(): ObservationCounts
  /** What is counted at the log and the store; without it `/metrics` says nothing of these. */
  readonly meters?: Meters
  /** What this process answers: `ingest` takes mail, `api` answers questions. Health and metrics are answered by all. */
  readonly roles: ReadonlySet<string>
  /** Told of every post, so that other work can give way. */
  readonly posting: PostPressure
  readonly logger: FastifyBaseLogger
}

export type Server = FastifyInstance<
  HttpServer,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

/** What routes get: the dependencies and what the server keeps for itself. */
export interface RouteContext extends ApiDependencies {
  readonly metrics: Metrics
  readonly bodies: MailBodies
  readonly flood: FloodGate
}

/** One endpoint: puts its schema and its handler on the server. */
export type Route = (server: Server, context: RouteContext) => void

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Scope that a key needs; `open` = none. Default `read`. */
    scope?: Scope | 'open'
    /** Answered by every process, whatever its roles. */
    everywhere?: boolean
  }
}
