/** The first page that a person sees: what is there. */
import Type from 'typebox'
import type { Route, RouteContext } from '../route.ts'

const schema = {
  tags: ['operation'],
  summary: 'What is there, for people',
  produces: ['text/html'],
  response: { 200: Type.String({ description: 'a page of HTML' }) },
}

const places = [
  ['/docs', 'every call, to read and to try'],
  ['/api/v1/status', 'what has been read, and what still waits'],
  ['/api/v1/domains', 'who the reports speak of, biggest first'],
  ['/api/v1/dmarc/records', 'who sent mail as these domains'],
  ['/api/v1/dmarc/reports', 'DMARC aggregate reports'],
  ['/api/v1/tls/summary', 'TLS sessions that worked, and that did not'],
  ['/api/v1/failures', 'DMARC failure reports'],
  ['/api/v1/mail?kind=other', 'mail that is no report, to be looked at'],
  ['/api/v1/rejects', 'what could not be read, and why'],
  ['/health/ready', 'whether everything answers'],
  ['/metrics', 'numbers for Prometheus'],
  ['/openapi.json', 'the description of all calls, for programs'],
] as const

export const getRoot: Route = (server, context) => {
  server.get('/', { schema }, async (_request, reply) =>
    reply
      .header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'")
      .type('text/html; charset=utf-8')
      .send(page(context)),
  )
}

/** Holds nothing that came from outside. */
function page({ version }: RouteContext): string {
  const entries = places.map(([path, what]) => `<dt><a href="${path}">${path}</a></dt><dd>${what}</dd>`).join('\n')
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>mailtrail</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}
dt{font-family:ui-monospace,monospace}dd{margin:0 0 .6rem 1.5rem}pre{background:#eee;padding:.7rem;overflow:auto}</style>
<h1>mailtrail ${version}</h1>
<p>Reads DMARC and TLS report mail. Send a mail in:</p>
<pre>curl --data-binary @report.eml -H 'Content-Type: message/rfc822' http://127.0.0.1:7489/api/v1/mail</pre>
<p>Without <code>from=</code> and <code>to=</code> answers cover today and the 29 days before.</p>
<dl>
${entries}
</dl>
</html>
`
}
