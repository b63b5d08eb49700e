/** The DNS server in a thread of its own, so that a benchmark does not measure it: every address has a name. */
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { a, NXDOMAIN, ptr, type Say, startDnsServer } from './dns-server.ts'

/** `4.3.2.1.in-addr.arpa` has `host-1-2-3-4.example.net`, which has 1.2.3.4. */
export const everyAddressHasAName: Say = (name, type) => {
  if (type === 'PTR') {
    const [d, c, b, first] = name.split('.')
    return { answers: [ptr(name, `host-${first}-${b}-${c}-${d}.example.net`)] }
  }
  const match = /^host-(\d+)-(\d+)-(\d+)-(\d+)\./.exec(name)
  return match === null ? { rcode: NXDOMAIN } : { answers: [a(name, match.slice(1).join('.'))] }
}

export interface DnsServerThread {
  readonly address: string
  close(): Promise<void>
}

export async function startDnsServerThread(): Promise<DnsServerThread> {
  const worker = new Worker(new URL(import.meta.url))
  const address = await new Promise<string>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  return {
    address,
    async close() {
      await worker.terminate()
    },
  }
}

if (!isMainThread && parentPort !== null) parentPort.postMessage((await startDnsServer(everyAddressHasAName)).address)
