import { describe, expect, test } from 'vitest'
import { defaultLimits } from '../../processors/formats/limits.ts'
import type { TlsReport } from '../../processors/formats/shapes.ts'
import { readTlsReport } from '../../processors/formats/tls-report.ts'
import { codesOf, rejectOf } from '../processors/formats/reading.ts'
import { bounded } from './bounded.ts'

const policy = (rest = '', success = '1'): string =>
  `{"policy":{"policy-type":"sts","policy-domain":"example.com"},"summary":{"total-successful-session-count":${success},"total-failure-session-count":0}${rest}}`
const report = (policies: string, rest = ''): string =>
  `{"organization-name":"x","date-range":{"start-datetime":"2024-01-09T00:00:00Z","end-datetime":"2024-01-09T23:59:59Z"},"report-id":"r","policies":[${policies}]${rest}}`
const read = (json: string): TlsReport => readTlsReport(Buffer.from(json), { reportDomain: null }, defaultLimits)

describe('nesting', () => {
  test.each(['[', '{"a":', '{"a":[', '[{"a":'])('of 100,000 %j', async (piece) => {
    const json = report(policy(), `,"x":${piece.repeat(100_000)}`)
    expect(await bounded(() => rejectOf(() => read(json)))).toBe('json_limit')
  })

  test('brackets inside of strings do not nest', () => {
    expect(read(report(policy(), `,"x":"${'[{\\"'.repeat(1000)}"`)).policies).toHaveLength(1)
  })
})

describe('size', () => {
  test('more bytes than may be held', async () => {
    const json = report(policy(), `,"x":"${'a'.repeat(defaultLimits.heldBytes)}"`)
    expect(await bounded(() => rejectOf(() => read(json)))).toBe('json_limit')
  })

  test('millions of empty lists', async () => {
    const json = report(policy(), `,"x":[${'[],'.repeat(6_000_000)}[]]`)
    expect(await bounded(() => rejectOf(() => read(json)))).toBe('records_limit')
  })

  test('more policies and details than are read', async () => {
    const detail = '{"result-type":"certificate-expired","failed-session-count":1}'
    const many = (n: number) => report(policy(`,"failure-details":[${new Array(n).fill(detail).join()}]`))
    expect((await bounded(() => read(many(100_000)))).policies[0]!.details).toHaveLength(100_000)
    expect(await bounded(() => rejectOf(() => read(many(defaultLimits.tlsDetails + 1))))).toBe('records_limit')
    const policies = report(new Array(defaultLimits.tlsPolicies + 1).fill('{}').join())
    expect(await bounded(() => rejectOf(() => read(policies)))).toBe('records_limit')
  })

  test('a million strings in a policy', async () => {
    const strings = new Array(1_000_000).fill('"mx: a.example"').join()
    const json = report(policy().replace('"policy-domain"', `"policy-string":[${strings}],"policy-domain"`))
    const { policies, warnings } = await bounded(() => read(json))
    expect([policies[0]!.policy_string.length, codesOf(warnings)]).toEqual([100, ['results_dropped']])
  })

  test('long values are cut', () => {
    const { org_name, warnings } = read(report(policy()).replace('"x"', `"${'x'.repeat(100_000)}"`))
    expect([org_name!.length, codesOf(warnings)]).toEqual([1024, ['value_truncated']])
  })

  test.each([' ', '\\\\', '\\"', '\\u0022', ' \0'])(
    'a string of 4 MB of %j takes time in proportion',
    async (piece) => {
      const json = report(policy(), `,"x":"${piece.repeat(4_000_000 / piece.length)}"`)
      await bounded(() => {
        if (piece.includes('\0')) expect(rejectOf(() => read(json))).toBe('json_malformed')
        else expect(read(json).policies).toHaveLength(1)
      })
    },
  )

  test('4 MB of padding', async () => {
    for (const padding of [' ', '\0', ' \0']) {
      const json = report(policy()) + padding.repeat(4_000_000 / padding.length)
      expect((await bounded(() => read(json))).report_id).toBe('r')
    }
  })
})

describe('values', () => {
  test.each(['1e400', '-1e400', '9e15', '123456789012345678901234567890', '-5'])(
    'the count %s adds nothing',
    (count) => {
      const { policies, warnings } = read(report(policy('', count)))
      expect([policies[0]!.successful, codesOf(warnings)]).toEqual([0, ['count_implausible']])
    },
  )

  test('a member that stands twice is the last one, with a warning', () => {
    const { org_name, warnings } = read(report(policy()).replace('{', '{"organization-name":"first",'))
    expect([org_name, warnings]).toEqual(['x', [{ code: 'json_duplicate_member', detail: 'organization-name' }]])
  })

  test('the same member in different objects is no duplicate', () => {
    expect(read(report(`${policy()},${policy()}`)).warnings).toEqual([])
  })

  test('__proto__ and constructor are members like any other', () => {
    const json = report(
      policy(),
      ',"__proto__":{"contact-info":"evil","polluted":true},"constructor":{"prototype":{"polluted":true}}',
    )
    expect(read(json).contact).toBeNull()
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false)
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  test('a report that is only a prototype is none', () => {
    expect(rejectOf(() => read(`{"__proto__":${report(policy())}}`))).toBe('not_a_report')
  })

  test.each(['[1]', '{"a":[]}', 'true', '5', 'null', '""'])(
    '%s in the place of anything is passed over or rejected',
    (value) => {
      const json = report(policy(',"failure-details":[{"failed-session-count":1}]'))
      const places = [...json.matchAll(/"[a-z-]+":/g)].map(({ index, 0: name }) => index + name.length)
      expect(places.length).toBeGreaterThan(12)
      for (const place of places) {
        // The value that was there moves into a member that nobody reads.
        const changed = `${json.slice(0, place)}${value},"other":${json.slice(place)}`
        try {
          expect(read(changed).report_id).toBeTypeOf('string')
        } catch (error) {
          expect(error).toMatchObject({
            code: expect.stringMatching(/^(tls_report_incomplete|not_a_report|period_unreadable)$/),
          })
        }
      }
    },
  )
})
