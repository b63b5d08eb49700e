/**
 * Membership of a consumer group (the classic protocol): join, share out, heartbeats, commits, leave. Each verb is one
 * attempt; who calls it tries again.
 */
import { assignPartitions, type Subscriber } from './kafka-log-assign.ts'
import type { KafkaClient } from './kafka-log-client.ts'
import {
  type AssignerProtocol,
  type BrokerVerbs,
  errorType,
  type GroupMember,
  type TopicOffsets,
} from './kafka-log-kafkajs.ts'

export interface GroupOptions {
  readonly client: KafkaClient
  readonly group: string
  readonly topic: string
  /** Without a heartbeat for so many milliseconds the coordinator gives the partitions to others. */
  readonly sessionTimeout: number
  /** So long members may take to finish what they have before partitions change hands. */
  readonly rebalanceTimeout: number
}

const PROTOCOL = 'mailtrail-sticky'
const SUBSCRIPTION_VERSION = 0

/** The group goes on without what this member had, or under another generation. */
const LOST: ReadonlySet<string | undefined> = new Set(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'FENCED_INSTANCE_ID'])
const COORDINATOR_MOVED: ReadonlySet<string | undefined> = new Set([
  'NOT_COORDINATOR_FOR_GROUP',
  'GROUP_COORDINATOR_NOT_AVAILABLE',
])

export const isRebalance = (error: unknown) => errorType(error) === 'REBALANCE_IN_PROGRESS'
export const isMembershipLost = (error: unknown) => LOST.has(errorType(error))

/** What a member says of itself when it joins. */
interface Claim {
  readonly topic: string
  readonly generation: number
  readonly partitions: readonly number[]
}

/** A member that says nothing, or is not one of ours, claims nothing. */
function readClaim(userData: Buffer | null): Pick<Subscriber, 'owned' | 'generation'> {
  const text = userData?.toString('utf8') ?? ''
  if (!text.startsWith('{')) return { owned: new Map(), generation: -1 }
  const { topic, generation, partitions } = JSON.parse(text) as Claim
  return { owned: new Map([[topic, partitions]]), generation }
}

export class KafkaGroup {
  readonly #options: GroupOptions
  readonly #assigner: AssignerProtocol
  #coordinator: string | undefined
  #memberId = ''
  #generation = -1

  constructor(options: GroupOptions) {
    this.#options = options
    this.#assigner = options.client.assigner
  }

  get isMember(): boolean {
    return this.#memberId !== ''
  }

  get generation(): number {
    return this.#generation
  }

  /** The coordinator does not know this member any more: it joins as a new one. */
  forget(): void {
    this.#memberId = ''
    this.#generation = -1
  }

  async #call<K extends keyof BrokerVerbs>(verb: K, request: Parameters<BrokerVerbs[K]>[0]) {
    const { client, group } = this.#options
    this.#coordinator ??= await client.coordinator(group)
    try {
      return await client.callAt(this.#coordinator, verb, request)
    } catch (error) {
      const type = errorType(error)
      if (type === undefined || COORDINATOR_MOVED.has(type)) this.#coordinator = undefined
      throw error
    }
  }

  /**
   * Joins with a claim on what was read until now, and answers this member's partitions of the topic. Waits until all
   * members have joined again or were given up.
   */
  async join(claim: Claim): Promise<readonly number[]> {
    const { group, topic, sessionTimeout, rebalanceTimeout } = this.#options
    const { MemberMetadata, MemberAssignment } = this.#assigner
    const userData = Buffer.from(JSON.stringify(claim))
    const metadata = MemberMetadata.encode({ version: SUBSCRIPTION_VERSION, topics: [topic], userData })
    const { memberId, generationId, leaderId, members } = await this.#call('joinGroup', {
      groupId: group,
      sessionTimeout,
      rebalanceTimeout,
      memberId: this.#memberId,
      groupProtocols: [{ name: PROTOCOL, metadata }],
    })
    this.#memberId = memberId
    this.#generation = generationId
    const groupAssignment = memberId === leaderId ? await this.#share(members) : []
    const { memberAssignment } = await this.#call('syncGroup', {
      groupId: group,
      generationId,
      memberId,
      groupAssignment,
    })
    return MemberAssignment.decode(memberAssignment)?.assignment[topic] ?? []
  }

  /** What the leader decides for all. */
  async #share(members: readonly GroupMember[]): Promise<{ memberId: string; memberAssignment: Buffer }[]> {
    const { MemberMetadata, MemberAssignment } = this.#assigner
    const subscribers = members.map(({ memberId, memberMetadata }): Subscriber => {
      const { topics, userData } = MemberMetadata.decode(memberMetadata)
      return { id: memberId, topics, ...readClaim(userData) }
    })
    const counts = new Map<string, number>()
    for (const topic of new Set(subscribers.flatMap(({ topics }) => topics)))
      counts.set(topic, (await this.#options.client.topic(topic))?.leaders.length ?? 0)
    return [...assignPartitions(subscribers, counts)].map(([memberId, partitions]) => ({
      memberId,
      memberAssignment: MemberAssignment.encode({ version: 0, assignment: Object.fromEntries(partitions) }),
    }))
  }

  async heartbeat(): Promise<void> {
    const { group: groupId } = this.#options
    await this.#call('heartbeat', { groupId, groupGenerationId: this.#generation, memberId: this.#memberId })
  }

  /** Offset to be read next, by partition. */
  async commit(offsets: ReadonlyMap<number, number>): Promise<void> {
    const { group: groupId, topic } = this.#options
    const partitions = [...offsets].map(([partition, offset]) => ({ partition, offset: String(offset) }))
    const member = { groupGenerationId: this.#generation, memberId: this.#memberId }
    await this.#call('offsetCommit', { groupId, ...member, topics: [{ topic, partitions }] })
  }

  /** What the group has committed of the topic; partitions without are absent. */
  async committed(partitions: readonly number[]): Promise<Map<number, number>> {
    const { group: groupId, topic } = this.#options
    const topics = [{ topic, partitions: partitions.map((partition) => ({ partition })) }]
    return committedOffsets((await this.#call('offsetFetch', { groupId, topics })).responses)
  }

  async leave(): Promise<void> {
    const { group: groupId } = this.#options
    const memberId = this.#memberId
    if (memberId === '') return
    this.forget()
    await this.#call('leaveGroup', { groupId, memberId })
  }
}

/** Kafka answers -1 where nothing was committed. */
export function committedOffsets(responses: readonly TopicOffsets[]): Map<number, number> {
  const all = responses.flatMap(({ partitions }) => partitions)
  return new Map(
    all.map(({ partition, offset }) => [partition, Number(offset)] as const).filter(([, offset]) => offset >= 0),
  )
}
