/** A process for the crash tests. Arguments: address of a broker, topic, first number. */
import { argv } from 'node:process'
import { openKafkaLog } from '../../topics/kafka-log.ts'
import { appendForEver } from '../topics/append-for-ever.ts'

const [broker, topic, first] = argv.slice(2)
const log = await openKafkaLog({
  brokers: [broker!],
  ssl: false,
  sasl: null,
  clientId: 'appends-until-killed',
  replication: 1,
  fetchBytes: 1024 * 1024,
  onProblem: (message) => console.error(message),
})
await appendForEver(log, topic!, Number(first))
