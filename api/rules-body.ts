/** Routes that take a rule file: YAML as it is, in a scope of its own. */
import Type from 'typebox'
import { ApiError } from './errors.ts'
import type { Replays } from './replays.ts'
import type { Server } from './route.ts'
import { closed, count, errorAnswer } from './schemas.ts'

export const ruleProblem = closed({
  line: count('from 1'),
  column: count('from 1'),
  severity: Type.Enum(['error', 'warning']),
  message: Type.String({ description: 'a sentence that says what to do' }),
})

/** The answer 422 `rules_invalid`. */
export const rulesErrorAnswer = closed({
  error: closed({
    code: Type.String(),
    message: Type.String(),
    field: Type.Null(),
    problems: Type.Array(ruleProblem),
  }),
})

export const rulesResponses = {
  400: errorAnswer,
  413: errorAnswer,
  415: errorAnswer,
  422: rulesErrorAnswer,
  503: errorAnswer,
}

const MEDIA_TYPES = ['text/yaml', 'application/yaml', 'application/x-yaml', 'text/x-yaml', 'text/plain'] as const
const file = { schema: Type.String({ description: 'the rule file', examples: ['version: 1\nverdicts:\n  …'] }) }
/** Schema of the body. */
export const rulesBody = { content: { 'text/yaml': file, 'application/yaml': file } }

/** Calls `register` with a scope in which bodies are YAML and come as text. */
export function withRulesBody(server: Server, register: (scope: Server) => void): void {
  server.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser([...MEDIA_TYPES], { parseAs: 'buffer' }, (_request, bytes, done) => {
      const text = utf8(bytes as Buffer)
      if (text === null) done(new ApiError('body_invalid', { message: 'The rule file is not UTF-8; save it as such.' }))
      else done(null, text)
    })
    scope.addContentTypeParser('*', (_request, _payload, done) => done(new ApiError('rules_type_unsupported')))
    register(scope as Server)
  })
}

function utf8(bytes: Buffer): string | null {
  const text = bytes.toString()
  return bytes.equals(Buffer.from(text)) ? text : null
}

/** The rule file of a request. Throws `body_invalid`. */
export function rulesOf(body: unknown): string {
  if (typeof body === 'string' && body.trim() !== '') return body
  throw new ApiError('body_invalid', { message: 'Send the rule file as the body.' })
}

/** Throws `rules_invalid` when the file has an error; warnings pass. */
export function checkedRules(replays: Replays, yaml: string) {
  const { id, name, problems } = replays.check(yaml)
  if (id === null) throw new ApiError('rules_invalid', { problems })
  return { id, name, problems }
}
