import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { defaultLimits, type Limits } from '../processors/formats/limits.ts'
import { csvColumns, csvLine, MailCsv, MailOverview } from '../processors/mail-table.ts'
import { parseToJson, type SourcedMail } from '../processors/parse-to-json.ts'
import { readReportMail } from '../processors/read-mail.ts'
import { Spool } from '../processors/spool.ts'
import { findMails } from '../sources/files.ts'
import { type Command, CommandError, type Context, exitCode, printable, UsageError, untilAborted } from './command.ts'

const formats = ['ndjson', 'json', 'csv', 'table'] as const

export const parse: Command = {
  name: 'parse',
  usage: 'parse PATH… [--format ndjson|json|csv|table] [--workers N]',
  about:
    'Reads reports from mails, mailboxes, folders or bare report files and prints what they say.\n' +
    'Stores nothing and needs no network. PATH "-" is one mail on standard input.',
  options: {
    format: { type: 'string', value: 'NAME', about: 'ndjson (default), json, csv, or table (default on a terminal)' },
    workers: { type: 'string', value: 'N', about: 'threads that read (default: one a core)' },
  },
  example: 'mailtrail parse report.eml mailbox.mbox --format table',

  async run(args, context) {
    if (args.positionals.length === 0)
      throw new UsageError('Name at least one file or folder, or - for standard input.')
    const format = args.text('format') ?? (context.stdout.isTTY ? 'table' : 'ndjson')
    if (!formats.some((known) => known === format))
      throw new UsageError(`--format must be one of ${formats.join(', ')}.`)
    const workers = args.text('workers') === undefined ? availableParallelism() : Number(args.text('workers'))
    if (!Number.isInteger(workers) || workers < 1 || workers > 256) throw new UsageError('--workers must be 1 to 256.')
    const config = context.config({})
    const limits = {
      ...defaultLimits,
      mailBytes: config.MAILTRAIL_MAX_MAIL_BYTES,
      inflatedBytes: config.MAILTRAIL_MAX_INFLATED_BYTES,
    }
    let unreadable = 0
    const mails = mailsOf(args.positionals, context, limits, () => unreadable++)
    const print = writer(context.stdout)
    if (format === 'ndjson') for await (const bytes of parseToJson(mails, { limits, workers })) await print(bytes)
    else if (format === 'json') await printArray(parseToJson(mails, { limits, workers }), print)
    else if (format === 'csv') await printCsv(mails, limits, print)
    else await printTable(mails, limits, print)
    if (context.signal.aborted) throw new CommandError('Interrupted: what was printed is not all.')
    return unreadable > 0 ? exitCode.failed : exitCode.fine
  },
}

async function* mailsOf(
  paths: readonly string[],
  { stdin, stderr, signal }: Context,
  limits: Limits,
  onUnreadable: () => void,
): AsyncIterable<SourcedMail> {
  const mails = findMails(paths, {
    stdin,
    signal,
    maxMailBytes: limits.mailBytes,
    onError: (source, error) => {
      onUnreadable()
      stderr.write(`${printable(`${source}: ${error.message}`)}\n`)
    },
  })
  yield* untilAborted(mails, signal)
}

/** Resolves when the bytes are handed to the system, so that their memory may be used again. */
function writer(out: NodeJS.WriteStream): (bytes: Uint8Array | string) => Promise<void> {
  return (bytes) =>
    new Promise((resolve, reject) => {
      out.write(bytes, (error) => (error == null ? resolve() : reject(error)))
    })
}

async function printArray(
  lines: AsyncIterable<Uint8Array>,
  print: (bytes: Uint8Array | string) => Promise<void>,
): Promise<void> {
  await print('[')
  let separator = '\n'
  let atLineStart = true
  for await (const bytes of lines) {
    let from = 0
    while (from < bytes.length) {
      if (atLineStart) await print(separator)
      separator = ',\n'
      const end = bytes.indexOf(10, from)
      atLineStart = end >= 0
      await print(bytes.subarray(from, end < 0 ? bytes.length : end))
      from = end < 0 ? bytes.length : end + 1
    }
  }
  await print('\n]\n')
}

async function printCsv(
  mails: AsyncIterable<SourcedMail>,
  limits: Limits,
  print: (bytes: Uint8Array | string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mailtrail-parse-'))
  let serial = 0
  const newSpool = () => new Spool(folder, `${serial++}.spool`)
  try {
    await print(csvLine(csvColumns))
    for await (const { source, bytes } of mails) {
      const out = newSpool()
      await readReportMail(bytes, limits, new MailCsv(source, out, newSpool))
      for (const piece of out.read()) await print(piece)
      out.discard()
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Widths of the columns of the table; longer cells push the rest to the right. */
const widths = [9, 12, 28, 24, 48]

async function printTable(
  mails: AsyncIterable<SourcedMail>,
  limits: Limits,
  print: (bytes: Uint8Array | string) => Promise<void>,
): Promise<void> {
  for await (const { source, bytes } of mails) {
    const lines: string[] = []
    const overview = new MailOverview(source, (cells) =>
      lines.push(
        cells
          .map((cell, index) => printable(cell).padEnd(widths[index] ?? 0))
          .join(' ')
          .trimEnd(),
      ),
    )
    await readReportMail(bytes, limits, overview)
    await print(`${lines.join('\n')}\n`)
  }
}
