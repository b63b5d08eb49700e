import type { Config } from '../config.ts'
import { canShare } from '../ports.ts'
import { type FoundMail, findMails } from '../sources/files.ts'
import { wrapReport } from '../sources/wrap-report.ts'
import {
  type Command,
  CommandError,
  type Context,
  counted,
  type Delivered,
  exitCode,
  type IncomingMail,
  type Mailtrail,
  printable,
  UsageError,
  untilAborted,
} from './command.ts'
import type { Destination, ImportSummary } from './destination.ts'
import { importKafka, kafkaSource } from './import-kafka.ts'
import { openProgress } from './progress.ts'
import { faultOf, findServer, type ServerClient } from './server-client.ts'

export const importCommand: Command = {
  name: 'import',
  usage: 'import PATH… | --from kafka://HOST:PORT/TOPIC [--server URL] [--wait] [--format text|json]',
  about:
    'Takes mails from files, folders, mbox files, Maildirs and bare report files; "-" is one mail on standard input.\n' +
    'Sends them to a running mailtrail; with none, opens the data folder itself and works till all is done.\n' +
    'With --from, takes what a Kafka topic holds now, one mail a message; run again, it goes on from there.',
  options: {
    server: {
      type: 'string',
      value: 'URL',
      about: 'the mailtrail to send to (default: the one that owns the data folder)',
    },
    from: { type: 'string', value: 'URL', about: 'a Kafka topic instead of paths: kafka://HOST:PORT/TOPIC' },
    wait: { type: 'boolean', about: 'return when all that was brought can be queried' },
    format: { type: 'string', value: 'NAME', about: 'summary as text (default) or json' },
  },
  example: 'mailtrail import ~/Maildir reports.mbox --wait',

  async run(args, context) {
    const from = args.text('from')
    if (args.positionals.length === 0 && from === undefined)
      throw new UsageError('Name at least one file or folder, or - for standard input.')
    if (args.positionals.length > 0 && from !== undefined)
      throw new UsageError('Give either paths or --from, not both.')
    const format = args.text('format') ?? 'text'
    if (format !== 'text' && format !== 'json') throw new UsageError('--format must be text or json.')
    const data = args.text('data')
    const config = context.config(data === undefined ? {} : { MAILTRAIL_DATA: data })
    const server = await findServer(args.text('server'), config)
    const bring = (destination: Destination, wait: boolean) =>
      from === undefined
        ? importPaths(args.positionals, destination, wait, config, context)
        : importKafka(kafkaSource(from), destination, wait, config, context)
    const outcome =
      server === null ? await importHere(bring, config, context) : await bring(throughServer(server), args.flag('wait'))
    context.stdout.write(format === 'json' ? `${JSON.stringify(outcome.summary)}\n` : `${sentence(outcome.summary)}\n`)
    return outcome.failed ? exitCode.failed : exitCode.fine
  },
}

type Bring = (destination: Destination, wait: boolean) => Promise<{ summary: ImportSummary; failed: boolean }>

async function importHere(bring: Bring, config: Config, context: Context) {
  // Where others do the work, this process only brings mail, and may have to wait for servers.
  const sharing = canShare(config) ? { roles: ['ingest'] as const, signal: context.signal } : {}
  const mailtrail = await context.open(config, { serve: false, ...sharing })
  try {
    return await Promise.race([bring(through(mailtrail), true), mailtrail.broken])
  } finally {
    await mailtrail.close()
  }
}

export function through(mailtrail: Mailtrail): Destination {
  return {
    deliver: (mails) => mailtrail.deliver(mails),
    async settle(delivered) {
      await mailtrail.settled()
      return mailtrail.countRejected(delivered.map(({ id }) => id))
    },
  }
}

/** Requests under way at once. */
const CONNECTIONS = 16
const COUNT_AT_ONCE = 1000

function throughServer(server: ServerClient): Destination {
  return {
    async deliver(mails) {
      const delivered: Delivered[] = new Array(mails.length)
      let next = 0
      const send = async () => {
        for (let index = next++; index < mails.length; index = next++)
          delivered[index] = await post(server, mails[index]!)
      }
      await Promise.all(Array.from({ length: CONNECTIONS }, send))
      return delivered
    },
    async settle(delivered) {
      const ends = new Map<number, number>()
      for (const { partition, offset } of delivered) ends.set(partition, Math.max(offset, ends.get(partition) ?? 0))
      const positions = [...ends].map(([partition, offset]) => ({ partition, offset }))
      for (let settled = false; !settled; ) {
        settled = (await server.json<{ settled: boolean }>('POST', '/mail/settle', { positions })).settled
      }
      let rejected = 0
      for (let at = 0; at < delivered.length; at += COUNT_AT_ONCE) {
        const ids = delivered.slice(at, at + COUNT_AT_ONCE).map(({ id }) => id)
        rejected += (await server.json<{ rejected: number }>('POST', '/rejects/count', { ids })).rejected
      }
      return rejected
    },
  }
}

async function post(server: ServerClient, mail: IncomingMail): Promise<Delivered> {
  const headers: Record<string, string> = {
    'content-type': 'message/rfc822',
    'x-mailtrail-source': encodeURIComponent(mail.source),
    'received-from': mail.receivedFrom,
  }
  if (mail.receivedAt !== null) headers['received-at'] = mail.receivedAt
  if (mail.envelopeFrom !== undefined) headers['envelope-from'] = mail.envelopeFrom
  if (mail.envelopeTo !== undefined) headers['envelope-to'] = mail.envelopeTo
  const response = await server.request('POST', '/mail', { body: mail.bytes, headers })
  if (response.status !== 202) throw new CommandError(`${mail.source}: ${await faultOf(response)}`)
  const { id, duplicate, position } = (await response.json()) as Delivered & {
    position: { partition: number; offset: number }
  }
  return { id, duplicate, partition: position.partition, offset: position.offset }
}

const BATCH_MAILS = 500
const BATCH_BYTES = 8 * 1024 * 1024

/** Brings all mails of the paths to the destination, in batches, one under way while the next is read. */
export async function importPaths(
  paths: readonly string[],
  destination: Destination,
  wait: boolean,
  config: Config,
  { stdin, stderr, signal }: Context,
): Promise<{ summary: ImportSummary; failed: boolean }> {
  const summary: ImportSummary = { read: 0, new: 0, duplicates: 0, rejects: null }
  const progress = openProgress(stderr, 'mails')
  const delivered: Delivered[] = []
  let failed = false
  let total = 0
  const complain = (source: string, error: Error) => {
    failed = true
    progress.end()
    stderr.write(`${printable(`${source}: ${error.message}`)}\n`)
  }
  let sending: Promise<void> = Promise.resolve()
  const send = async (batch: IncomingMail[]) => {
    for (const answer of await destination.deliver(batch)) {
      delivered.push(answer)
      if (answer.duplicate) summary.duplicates++
      else summary.new++
    }
    progress.update(delivered.length, Math.max(total, summary.read), printable(batch.at(-1)!.source))
  }
  let batch: IncomingMail[] = []
  let bytes = 0
  const mails = findMails(paths, {
    stdin,
    signal,
    maxMailBytes: config.MAILTRAIL_MAX_MAIL_BYTES,
    onError: complain,
    onTotal: (files) => {
      total = files
    },
  })
  for await (const found of untilAborted(mails, signal)) {
    summary.read++
    const mail = incoming(found)
    batch.push(mail)
    bytes += mail.bytes.length
    if (batch.length < BATCH_MAILS && bytes < BATCH_BYTES) continue
    await sending
    sending = send(batch)
    sending.catch(() => undefined) // awaited before the next batch and at the end
    batch = []
    bytes = 0
  }
  await sending
  if (batch.length > 0) await send(batch)
  if (wait && !signal.aborted) summary.rejects = await destination.settle(delivered)
  progress.end()
  if (signal.aborted)
    throw new CommandError(`Interrupted: ${sentence(summary)} Run the same import again; nothing counts twice.`)
  return { summary, failed }
}

/** An empty file is imported as a mail with an empty attachment, so that it shows among the rejects. */
function incoming(found: FoundMail): IncomingMail {
  const bytes = found.bytes.length > 0 ? found.bytes : wrapReport(found.source, found.bytes)
  return { source: found.source, bytes, receivedAt: found.receivedAt, receivedFrom: found.receivedFrom }
}

export function sentence({ read, new: fresh, duplicates, rejects }: ImportSummary): string {
  const rest = rejects === null ? '' : `, ${rejects} rejected`
  return `Read ${counted(read, 'mail')}: ${fresh} new, ${counted(duplicates, 'duplicate')}${rest}.`
}
