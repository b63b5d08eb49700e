/** A process for the crash tests. Arguments: file of the log, topic, first number. */
import { argv } from 'node:process'
import { openSqliteLog } from '../../topics/sqlite-log.ts'
import { appendForEver } from './append-for-ever.ts'

const [path, topic, first] = argv.slice(2)
await appendForEver(await openSqliteLog({ path: path! }), topic!, Number(first))
