/** From the start of the process to the line that says it is up: on an empty folder, and on one that holds data. */
import { join } from 'node:path'
import { entry, inTemporaryFolder, ROUNDS, report, small20k, timeCommand } from './measure.ts'
import { startServer } from './server.ts'

const empty: number[] = []
const full: number[] = []
await inTemporaryFolder(async (folder) => {
  const data = join(folder, 'full')
  await timeCommand([entry, 'import', small20k().mail, '--data', data], false, { LOG_LEVEL: 'error' })
  for (let round = 0; round < ROUNDS; round++) {
    for (const [folderOf, seconds] of [
      [join(folder, `empty-${round}`), empty],
      [data, full],
    ] as const) {
      const server = await startServer(folderOf)
      seconds.push(server.seconds)
      await server.stop()
    }
  }
})
report('start-up', 'mailtrail up', [
  { what: 'empty data folder', unit: 's', values: empty, goal: { relation: '<=', value: 3 } },
  { what: 'data folder with 20,000 mails', unit: 's', values: full, goal: { relation: '<=', value: 3 } },
])
