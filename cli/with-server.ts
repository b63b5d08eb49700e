/** Runs a command's work against a running mailtrail, or opens the data folder for the time that it takes. */
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
  const mailtrail = await context.open(config)
  try {
    await mailtrail.settled()
    return await work(serverClient(mailtrail.url!, config.MAILTRAIL_API_KEY))
  } finally {
    await mailtrail.close()
  }
}
