/** One owner for a data folder. */
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { endAll, mailtrail, tempFolder, up } from '../fixtures.ts'

afterEach(endAll)

test('a second process on the data folder is refused, and told who has it', async () => {
  const data = join(await tempFolder('second'), 'data')
  const running = await up(data)
  const { code, stdout, stderr } = await mailtrail(['up', '--data', data, '--listen', '127.0.0.1:0'])
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).toContain(`process ${running.pid} at ${running.url}`)
  expect(stderr.trim().split('\n')).toHaveLength(1)
  expect(await running.get('/status')).toMatchObject({ idle: true })
})

test('what a killed owner left behind refuses nobody', async () => {
  const data = join(await tempFolder('killed-owner'), 'data')
  const first = await up(data)
  await first.kill()
  const second = await up(data)
  expect(second.pid).not.toBe(first.pid)
  expect(await second.stop()).toBe(0)
})
