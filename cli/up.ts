import { roleNames } from '../config.ts'
import { type Command, counted, exitCode, printable, UsageError } from './command.ts'
import { importPaths, sentence, through } from './import.ts'

export const up: Command = {
  name: 'up',
  usage: 'up [PATH…] [--roles ingest,process,project,api] [--data DIR] [--listen HOST:PORT] [--accept-gap]',
  about: 'Runs mailtrail: takes mail, reads it, answers over HTTP. PATHs are imported first. Ctrl-C stops it in order.',
  options: {
    roles: {
      type: 'string',
      value: 'LIST',
      about: `some of ${roleNames.join(',')} (default: all; a subset needs Kafka, ClickHouse and Postgres)`,
    },
    'accept-gap': {
      type: 'boolean',
      about: 'go on although events were removed before they were read; written down on the topic control',
    },
    listen: { type: 'string', value: 'HOST:PORT', about: 'address of the HTTP interface (default 127.0.0.1:7489)' },
  },
  example: 'mailtrail up samples --data ./data',

  async run(args, context) {
    const overrides: Record<string, string> = {}
    for (const [option, name] of [
      ['data', 'MAILTRAIL_DATA'],
      ['listen', 'MAILTRAIL_LISTEN'],
      ['roles', 'MAILTRAIL_ROLES'],
    ] as const) {
      const value = args.text(option)
      if (value !== undefined) overrides[name] = value
    }
    const config = context.config(overrides)
    const { host } = config.MAILTRAIL_LISTEN
    if (config.MAILTRAIL_API_KEYS.length === 0 && !isLoopback(host)) {
      throw new UsageError(
        `Refusing to listen on ${host} without keys: anyone could read and write. Set MAILTRAIL_API_KEYS, or listen on 127.0.0.1.`,
      )
    }
    const mailtrail = await context
      .open(config, { signal: context.signal, acceptGap: args.flag('accept-gap') })
      .catch((error: unknown) => {
        if (!context.signal.aborted) throw error
        return null
      })
    // Ended while it waited for a server, at which point nothing was under way.
    if (mailtrail === null) return exitCode.fine
    try {
      context.stdout.write(`mailtrail is up: ${mailtrail.url}\n${mailtrail.description}\n`)
      const stopped = new Promise<void>((resolve) => {
        if (context.signal.aborted) resolve()
        context.signal.addEventListener('abort', () => resolve(), { once: true })
      })
      let failed = false
      if (args.positionals.length > 0) {
        const imported = importPaths(args.positionals, through(mailtrail), true, config, context)
        const outcome = await Promise.race([imported, mailtrail.broken])
        context.stdout.write(`${sentence(outcome.summary)}\n`)
        failed = outcome.failed
      }
      if (config.MAILTRAIL_ROLES.includes('api')) context.stdout.write(await whatToTry(mailtrail.url!))
      await Promise.race([stopped, mailtrail.broken])
      context.stdout.write('Stopping: finishing what is under way …\n')
      return failed ? exitCode.failed : exitCode.fine
    } finally {
      await mailtrail.close()
    }
  },
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

interface DomainItem {
  readonly domain: string
  readonly first_day: string
  readonly last_day: string
  readonly messages: number
  readonly passed: number
}

/** Three calls to try, about the domain with most messages, with the range of days that it has. */
async function whatToTry(url: string): Promise<string> {
  const everything = 'from=1970-01-02&to=2100-12-31'
  const response = await fetch(`${url}/api/v1/domains?${everything}&limit=1`)
  if (response.status === 401)
    return `\nCalls need a key: Authorization: Bearer KEY. What can be asked: ${url}/docs   (Ctrl-C stops)\n`
  const { items } = response.ok ? ((await response.json()) as { items: DomainItem[] }) : { items: [] }
  const [domain] = items
  if (domain === undefined) {
    return [
      '',
      'Nothing is in it yet. Bring mail:',
      `  curl --data-binary @report.eml -H 'Content-Type: message/rfc822' ${url}/api/v1/mail`,
      '  npx mailtrail import PATH…',
      `and look: ${url}/docs   (Ctrl-C stops)`,
      '',
    ].join('\n')
  }
  const range = `from=${domain.first_day}&to=${domain.last_day}`
  // A report names any domain that it likes, and these lines are made to be copied into a shell.
  const name = encodeURIComponent(domain.domain).replaceAll("'", '%27')
  const shown = printable(domain.domain)
  const share = domain.messages === 0 ? '' : `, ${Math.round((100 * domain.passed) / domain.messages)} % passed DMARC`
  return [
    '',
    'Try:',
    `  curl '${url}/api/v1/domains?${range}'`,
    `      every domain, biggest first: ${shown} with ${counted(domain.messages, 'message')}${share}`,
    `  curl '${url}/api/v1/domains/${name}/summary?${range}&interval=week'`,
    `      how ${shown} did week by week: passed, failed, quarantined, rejected, TLS`,
    `  curl '${url}/api/v1/domains/${name}/sources?by=ip&${range}'`,
    '      who sends in its name, most messages first',
    `All that can be asked: ${url}/docs   (Ctrl-C stops)`,
    '',
  ].join('\n')
}
