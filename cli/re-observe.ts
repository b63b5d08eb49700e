import { formatOption, serverOption, wantsJson, writeJson, writeLine } from './asking.ts'
import { type Command, exitCode, UsageError } from './command.ts'
import { withServer } from './with-server.ts'

export const reObserve: Command = {
  name: 're-observe',
  usage: 're-observe',
  about:
    'Begins a new observation epoch: what was observed of addresses stays as it is, and a generation that is started\n' +
    'from ingest with the new epoch asks anew.',
  options: { server: serverOption, format: formatOption },
  example: 'mailtrail re-observe && mailtrail replay start --from ingest --epoch 2',

  async run(args, context) {
    if (args.positionals.length > 0) throw new UsageError('re-observe takes no names.')
    const json = wantsJson(args)
    const answer = await withServer(args, context, (server) =>
      server.json<{ epoch: number }>('POST', '/observation-epochs', {}),
    )
    if (json) writeJson(context, answer)
    else
      writeLine(context, `Epoch ${answer.epoch} begins: mailtrail replay start --from ingest --epoch ${answer.epoch}`)
    return exitCode.fine
  },
}
