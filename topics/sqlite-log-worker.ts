/**
 * The thread that owns the log's database. Everything that is waiting when it comes to take the next question goes into
 * one transaction (group commit): a sync to disk costs 0.1 to 10 ms, whatever it syncs.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { failureOf, LogFile, type Write } from './sqlite-log-file.ts'
import type {
  Answer,
  Failure,
  Operation,
  Operations,
  Question,
  WorkerMessage,
  WorkerSettings,
} from './sqlite-log-messages.ts'

/** Limits of one transaction, so that readers get their turn; a single larger call is a transaction of its own. */
const GROUP_EVENTS = 10_000
const GROUP_BYTES = 16 * 1024 * 1024

/** Answers no question: a checkpoint failed. */
const NOBODY = 0

type WriteQuestion = Question<'append' | 'commit'>
type Other = Exclude<Operation, 'append' | 'commit' | 'close'>
type Handlers = { [K in Other]: (request: Operations[K]['request']) => Operations[K]['reply'] }

const isWrite = (question: Question): question is WriteQuestion =>
  question.kind === 'append' || question.kind === 'commit'
const isOther = (question: Question): question is Question<Other> => !isWrite(question) && question.kind !== 'close'

/** As many writes, in order, as one transaction takes; at least one. */
function firstGroup(writes: readonly WriteQuestion[]): readonly WriteQuestion[] {
  let events = 0
  let bytes = 0
  const end = writes.findIndex((write, i) => {
    if (write.kind !== 'append') return false
    events += write.request.sizes.length
    bytes += write.request.values.byteLength
    return i > 0 && (events > GROUP_EVENTS || bytes > GROUP_BYTES)
  })
  return end === -1 ? writes : writes.slice(0, end)
}

class LogWorker {
  readonly #port: MessagePort
  readonly #file: LogFile
  readonly #handlers: Handlers
  #waiting: Question[] = []
  #answers: Answer[] = []
  #broken = false
  #transfer: ArrayBuffer[] = []

  constructor(port: MessagePort, file: LogFile) {
    this.#port = port
    this.#file = file
    this.#handlers = {
      createTopic: (settings) => file.createTopic(settings),
      deleteTopic: ({ topic }) => file.deleteTopic(topic),
      size: ({ topic }) => file.topic(topic).size(),
      seek: (request) => file.seek(request),
      scan: ({ topic, ...request }) => file.topic(topic).scan(request),
      watermarks: ({ topic }) => file.topic(topic).watermarks(),
      committed: ({ topic, group }) => file.committed(topic, group),
      lag: ({ topic, positions }) => file.topic(topic).lag(positions),
      erase: (request) => file.erase(request),
      scrub: () => file.scrub(),
      retain: ({ topic, now }) => file.retain(topic, now),
      register: (request) => file.register(request),
      schema: ({ id }) => file.schema(id),
      counters: () => file.counters(),
    }
    port.on('message', (question: Question) => {
      this.#waiting.push(question)
      this.#work()
    })
  }

  /**
   * Turns until nothing is waiting: one group of writes, then everything else that waited. Closing comes last.
   * After a failure of the disk nothing more is done; the main thread then ends this one.
   */
  #work(): void {
    while (!this.#broken && this.#takeWaiting()) {
      const writes = this.#waiting.filter(isWrite)
      const group = firstGroup(writes)
      const others = this.#waiting.filter((question) => isOther(question))
      const closing = this.#waiting.find(({ kind }) => kind === 'close')
      this.#waiting = writes.slice(group.length)
      if (group.length > 0) this.#write(group)
      // What is durable is said at once, not after the questions that follow.
      this.#send()
      for (const question of others) if (!this.#broken) this.#answer(question.id, question.kind, question.request)
      this.#send()
      if (this.#broken) return
      if (closing === undefined) this.#checkpoint()
      else if (this.#waiting.length > 0) this.#waiting.push(closing)
      else this.#close(closing.id)
    }
  }

  #takeWaiting(): boolean {
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: Question } | undefined
      if (received === undefined) return this.#waiting.length > 0
      this.#waiting.push(received.message)
    }
  }

  /** A group that does not fit on the disk is tried call by call, so that a large one does not take small ones along. */
  #write(group: readonly WriteQuestion[]): void {
    try {
      const replies = this.#file.write(group as readonly Write[])
      group.forEach(({ id }, i) => {
        this.#answers.push({ id, reply: replies[i]! })
      })
    } catch (error) {
      const failure = failureOf(error)
      if (group.length > 1 && failure.code !== 'broken') for (const question of group) this.#writeAlone(question)
      else for (const { id } of group) this.#fail(id, failure)
    }
  }

  #writeAlone(question: WriteQuestion): void {
    if (!this.#broken) this.#write([question])
  }

  #answer<K extends Other>(id: number, kind: K, request: Operations[K]['request']): void {
    try {
      const reply = this.#handlers[kind](request)
      if (kind === 'scan') this.#transfer.push((reply as Operations['scan']['reply']).values)
      this.#answers.push({ id, reply })
    } catch (error) {
      this.#fail(id, failureOf(error))
    }
  }

  #close(id: number): void {
    try {
      this.#file.close()
      this.#answers.push({ id, reply: null })
    } catch (error) {
      this.#fail(id, failureOf(error))
    }
    this.#send()
  }

  #checkpoint(): void {
    try {
      this.#file.checkpointWhenDue()
    } catch (error) {
      this.#fail(NOBODY, { ...failureOf(error), code: 'broken' })
      this.#send()
    }
  }

  #fail(id: number, failure: Failure): void {
    this.#answers.push({ id, failure })
    this.#broken ||= failure.code === 'broken'
  }

  #send(): void {
    if (this.#answers.length > 0) {
      const message: WorkerMessage = { answers: this.#answers }
      this.#port.postMessage(message, this.#transfer)
    }
    this.#answers = []
    this.#transfer = []
  }
}

function start(port: MessagePort, { path, maxBytes }: WorkerSettings): void {
  let file: LogFile
  try {
    file = LogFile.open(path, maxBytes)
  } catch (error) {
    port.postMessage({ refused: failureOf(error) } satisfies WorkerMessage)
    return
  }
  new LogWorker(port, file)
  port.postMessage({ opened: file.topics() } satisfies WorkerMessage)
}

if (parentPort !== null) start(parentPort, workerData as WorkerSettings)
