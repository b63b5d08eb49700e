import dgram from 'node:dgram'
import dns from 'node:dns'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'

const NO_NETWORK = /Tests have no network|A test asked DNS/

test('a connection to another machine throws', async () => {
  expect(() => connect(80, '192.0.2.1')).toThrow(NO_NETWORK)
  expect(() => connect({ port: 80, host: '2001:db8::1' })).toThrow(NO_NETWORK)
  expect(() => connect(80, 'mail.example')).toThrow(NO_NETWORK)
  const failure = await fetch('http://192.0.2.1/').then(
    () => new Error('it answered'),
    (error: Error) => error,
  )
  expect(String(failure.cause)).toMatch(NO_NETWORK)
})

test('a datagram to another machine throws', () => {
  const socket = dgram.createSocket('udp4')
  onTestFinished(() => void socket.close())
  expect(() => socket.send('hello', 53, '192.0.2.1')).toThrow(NO_NETWORK)
})

test('a question to the DNS of the world throws', async () => {
  const resolver = new dns.promises.Resolver()
  resolver.setServers(['192.0.2.53:53', '[2001:db8::53]:53'])
  expect(() => resolver.resolve4('mail.example')).toThrow(NO_NETWORK)
  expect(() => dns.promises.lookup('mail.example')).toThrow(NO_NETWORK)
  resolver.setServers(['[::1]:53', '127.0.0.1:5353', '127.0.0.1'])
  const answer = resolver.resolve4('mail.example').catch((error: Error) => error.message)
  resolver.cancel()
  expect(await answer).not.toMatch(NO_NETWORK)
})

test('this machine can be reached by address and by name', async () => {
  const server = createServer((socket) => socket.end('hello'))
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  onTestFinished(() => void server.close())
  const { port, address } = server.address() as AddressInfo
  for (const host of [address, 'localhost']) {
    const socket = connect(port, host)
    expect(String(await new Promise((resolve, reject) => socket.once('data', resolve).once('error', reject)))).toBe(
      'hello',
    )
    socket.destroy()
  }
})

test('fetch reaches this machine', async () => {
  const server = createHttpServer((_, response) => response.end('hello'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const response = await fetch(`http://127.0.0.1:${port}/`)
  expect(await response.text()).toBe('hello')
})
