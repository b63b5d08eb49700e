/** The name servers that the machine itself asks. */
import { getServers } from 'node:dns'

/** As `HOST:PORT`; empty when the machine has none. */
export function systemResolvers(): readonly string[] {
  return getServers().map((server) => {
    if (/^\d+(\.\d+){3}$/.test(server)) return `${server}:53`
    return server.includes('[') || /^[\d.]+:\d+$/.test(server) ? server : `[${server}]:53`
  })
}
