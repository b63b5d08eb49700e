/** Runs a command's work against a running mailtrail, or opens the data folder for the time that it takes. */
import { canShare } from '../ports.ts'
import type { Arguments, Context } from './command.ts'
import { findServer, type ServerClient, serverClient } from './server-client.ts'

export async function withServer<T>(
  args: Arguments,
  context: Context,
  work: (server: ServerClient) => Promise<T>,
): Promise<T> {
  const data = args.text('data')
  const config = context.config({
    MAILTRAIL_LISTEN: '127.0.0.1:0',
    ...(data === undefined ? {} : { MAILTRAIL_DATA: data }),
  })
  const server = await findServer(args.text('server'), config)
  if (server !== null) return work(server)
  // Where others do the work, this process only asks.
  const isShared = canShare(config)
  const mailtrail = await context.open(config, {
    signal: context.signal,
    ...(isShared ? { roles: ['ingest', 'api'] } : {}),
  })
  try {
    if (!isShared) await mailtrail.settled()
    return await work(serverClient(mailtrail.url!, config.MAILTRAIL_API_KEY))
  } finally {
    await mailtrail.close()
  }
}
