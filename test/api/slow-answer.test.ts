import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, test } from 'vitest'
import { answerSlowly } from '../../api/slow-answer.ts'

const QUIET = 30
let server: FastifyInstance
afterEach(() => server.close())

/** A server whose only answer comes after so many milliseconds. */
async function answering(milliseconds: number, answer: () => Promise<object>): Promise<string> {
  server = Fastify()
  server.get('/', (_request, reply) => answerSlowly(reply, sleep(milliseconds).then(answer), QUIET))
  return server.listen({ host: '127.0.0.1', port: 0 })
}

describe('an answer that takes long', () => {
  test('begins with spaces, and is JSON all the same', async () => {
    const response = await fetch(await answering(10 * QUIET, async () => ({ a: 1 })))
    const text = await response.text()
    expect(text).toMatch(/^ {2,}\{"a":1\}$/)
    expect(JSON.parse(text)).toEqual({ a: 1 })
    expect(response.headers.get('content-type')).toContain('application/json')
  })

  test('cuts the connection when it comes to nothing, so that nobody takes it for whole', async () => {
    const url = await answering(5 * QUIET, () => Promise.reject(new Error('The store is away.')))
    const response = await fetch(url)
    await expect(response.text()).rejects.toThrow()
  })
})

describe('an answer that is soon there', () => {
  test('is plain', async () => {
    const response = await fetch(await answering(0, async () => ({ a: 1 })))
    expect(await response.text()).toBe('{"a":1}')
  })

  test('has the status of its fault', async () => {
    const response = await fetch(await answering(0, () => Promise.reject(new Error('The store is away.'))))
    expect(response.status).toBe(500)
  })
})
