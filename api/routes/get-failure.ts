/** One failure report. */
import { shownFailures } from '../../projections/winners.ts'
import { ApiError } from '../errors.ts'
import { type FailureRow, failureColumns, failureFacts, failureFactsOf } from '../failure-answer.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { closed, errorAnswer, idParam, readQuery, stamp } from '../schemas.ts'

const schema = {
  tags: ['failures'],
  summary: 'One failure report',
  description: 'An id names one report, whatever the range.',
  params: idParam,
  querystring: closed(readQuery),
  response: { 200: closed({ ...failureFacts, ...stamp }), '4xx': errorAnswer, 503: errorAnswer },
}

export const getFailure: Route = (server, context) => {
  server.get('/api/v1/failures/:id', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const named = 'failure_id = toFixedString(unhex({id:String}), 32)'
    const [row] = await reading.query<FailureRow>(
      `SELECT ${failureColumns} FROM (${shownFailures(reading.tables, named)})`,
      { id: request.params.id },
    )
    if (row === undefined) throw new ApiError('failure_unknown')
    return { ...failureFactsOf(row), ...reading.stamp }
  })
}
