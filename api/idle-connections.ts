/** Keeps idle connections from using up what fresh requests need. */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** Open connections before idle ones are closed, the longest idle first. Far below the usual limit of open files. */
export const MAX_CONNECTIONS = 4000

/** A connection is idle while it carries no request: just opened, or kept alive. */
export function evictIdleConnections(server: Server, maxConnections: number = MAX_CONNECTIONS): void {
  // A set remembers in which order sockets were added: the first one has been idle longest.
  const idle = new Set<Socket>()
  const open = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    open.add(socket)
    idle.add(socket)
    socket.once('close', () => {
      open.delete(socket)
      idle.delete(socket)
    })
    if (open.size <= maxConnections) return
    const [longestIdle] = idle
    if (longestIdle !== undefined && longestIdle !== socket) {
      longestIdle.destroy()
      open.delete(longestIdle)
      idle.delete(longestIdle)
    }
  })
  server.on('request', (request, response) => {
    const { socket } = request
    idle.delete(socket)
    response.once('close', () => {
      if (!socket.destroyed) idle.add(socket)
    })
  })
}
