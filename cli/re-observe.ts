import { setTimeout as sleep } from 'node:timers/promises'
import { formatOption, serverOption, wantsJson, writeJson, writeLine } from './asking.ts'
import { type Command, CommandError, exitCode, UsageError } from './command.ts'
import { openProgress } from './progress.ts'
import { withServer } from './with-server.ts'

interface Epoch {
  readonly epoch: number
  readonly state: 'observing' | 'begun' | 'failed'
  readonly done: number
  readonly total: number
  readonly reason: string | null
}

const LOOK_MILLISECONDS = 250

export const reObserve: Command = {
  name: 're-observe',
  usage: 're-observe',
  about:
    'Asks DNS and the address data anew about every address that was ever observed, under a new observation epoch. What\n' +
    'was observed before stays as it is; a generation that is then started from ingest with the new epoch has the new\n' +
    'answers. Ctrl-C leaves a running mailtrail at it; asked again, it goes on where it was.',
  options: { server: serverOption, format: formatOption },
  example: 'mailtrail re-observe && mailtrail replay start --from ingest --epoch 2',

  async run(args, context) {
    if (args.positionals.length > 0) throw new UsageError('re-observe takes no names.')
    const json = wantsJson(args)
    const answer = await withServer(args, context, async (server) => {
      let epoch = await server.json<Epoch>('POST', '/observation-epochs', {})
      const progress = openProgress(context.stderr, 'events')
      while (epoch.state === 'observing') {
        progress.update(epoch.done, epoch.total, `observing for epoch ${epoch.epoch}`)
        await sleep(LOOK_MILLISECONDS, undefined, { signal: context.signal }).catch(() => {
          throw new CommandError(`Stopped waiting at ${epoch.done} of ${epoch.total} events for epoch ${epoch.epoch}.`)
        })
        epoch = await server.json<Epoch>('GET', `/observation-epochs/${epoch.epoch}`)
      }
      progress.end()
      return epoch
    })
    if (answer.state === 'failed')
      throw new CommandError(`Epoch ${answer.epoch} could not be observed: ${answer.reason} Try again; it goes on.`)
    if (json) writeJson(context, answer)
    else
      writeLine(context, `Epoch ${answer.epoch} begins: mailtrail replay start --from ingest --epoch ${answer.epoch}`)
    return exitCode.fine
  },
}
