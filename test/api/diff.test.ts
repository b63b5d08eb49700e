import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { diffGenerations, type GenerationDiff } from '../../api/generation-diff.ts'
import type { Server } from '../../api/route.ts'
import { Transitions } from '../../api/transitions.ts'
import { createTables } from '../../projections/schema.ts'
import { hashOf } from '../../topics/cause.ts'
import type { Generation } from '../../topics/generation.ts'
import { type ApiUnderTest, answerOf, openApi } from './api-under-test.ts'
import { begun, idOfRules, OTHER_RULES, type ReplaysUnderTest } from './replays-under-test.ts'

let api: ApiUnderTest
let replays: ReplaysUnderTest
let server: Server
/** Shares the facts of the first. */
let g2: Generation
/** Has all of its own. */
let g3: Generation
const g1 = () => replays.control.generation('g1')!.generation
beforeAll(async () => {
  api = await openApi()
  replays = await begun()
  const { id } = await replays.publish(OTHER_RULES)
  await replays.start(id, 'enriched')
  await replays.start(id, 'ingest')
  g2 = replays.control.generation('g2')!.generation
  g3 = replays.control.generation('g3')!.generation
  for (const generation of [g2, g3]) await createTables(api.store, generation)
  server = api.serve({ replays, generation: () => replays.control.live()!.generation })
})
afterAll(() => api.close())
beforeEach(async () => {
  const tables = [g1(), g2, g3].flatMap(({ tables: t }) => [t.dmarc_reports, t.record_verdicts, t.report_verdicts])
  for (const table of new Set(tables)) await api.store.command(`TRUNCATE TABLE ${table}`)
})

interface Judged {
  readonly sender: string
  readonly verdict: string
  readonly rule: string
}
interface GivenRecord {
  readonly messages: number
  readonly judged: Judged
}
/** A delivery of a report, as one generation has it. */
interface Delivery {
  readonly domain: string
  readonly day: string
  readonly name: string
  readonly variant: string
  /** Seconds after midnight; the earliest wins. */
  readonly received: number
  readonly records: readonly GivenRecord[]
  /** Judged are only so many of the records. */
  readonly judgedRecords: number
  /** Inserted twice. */
  readonly twice: boolean
}

const quoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
const hex = (digits: string) => `unhex('${digits}')`
/** Domain and day are part of a report's identity. */
const keyOf = ({ domain, day, name }: Delivery) => hashOf(domain, day, name)
const variantOf = ({ variant }: Delivery) => hashOf('variant', variant).slice(0, 32)

async function insert(table: string, columns: string, rows: readonly string[]): Promise<void> {
  if (rows.length > 0) await api.store.command(`INSERT INTO ${table} (${columns}) VALUES ${rows.join(', ')}`)
}

const insertFacts = ({ tables }: Generation, deliveries: readonly Delivery[]) =>
  insert(
    tables.dmarc_reports,
    'policy_domain, day, report_key, variant, received_at, mail_id, part, records',
    deliveries.map((one) => {
      const at = `'${one.day} 00:00:${String(one.received).padStart(2, '0')}'`
      const mail = hex(hashOf('mail', keyOf(one), one.variant, String(one.received)))
      return `(${quoted(one.domain)}, '${one.day}', ${hex(keyOf(one))}, ${hex(variantOf(one))}, ${at}, ${mail}, '1', ${one.records.length})`
    }),
  )

/** In two inserts, so that what is there twice lies in two parts. */
async function insertVerdicts({ tables }: Generation, deliveries: readonly Delivery[]): Promise<void> {
  for (const some of [deliveries, deliveries.filter(({ twice }) => twice)]) {
    const key = (one: Delivery) => `${quoted(one.domain)}, '${one.day}', ${hex(keyOf(one))}, ${hex(variantOf(one))}`
    await insert(
      tables.record_verdicts,
      'policy_domain, day, report_key, variant, record_index, source_ip, messages, sender, verdict, rule',
      some.flatMap((one) =>
        one.records
          .slice(0, one.judgedRecords)
          .map(
            ({ messages, judged: { sender, verdict, rule } }, index) =>
              `(${key(one)}, ${index}, '192.0.2.${index}', ${messages}, ${[sender, verdict, rule].map(quoted).join(', ')})`,
          ),
      ),
    )
    await insert(
      tables.report_verdicts,
      'policy_domain, day, report_key, variant, chunk, records',
      some.filter(({ judgedRecords }) => judgedRecords > 0).map((one) => `(${key(one)}, 0, ${one.judgedRecords})`),
    )
  }
}

type Counted = ReadonlyMap<string, { domain: string; messages: number; judged: Judged }>

/** Records that count, by id, worked out from what was inserted. */
function counted(deliveries: readonly Delivery[]): Counted {
  const winners = new Map<string, Delivery>()
  const order = (one: Delivery) => `${String(one.received).padStart(2, '0')} ${variantOf(one)}`
  for (const one of deliveries) {
    const key = `${one.domain} ${one.day} ${one.name}`
    const known = winners.get(key)
    if (known === undefined || order(one) < order(known)) winners.set(key, one)
  }
  const records = new Map<string, { domain: string; messages: number; judged: Judged }>()
  for (const one of winners.values()) {
    if (one.judgedRecords < one.records.length) continue
    one.records.forEach(({ messages, judged }, index) => {
      records.set(`${one.domain} ${one.day} ${keyOf(one)}:${variantOf(one)}:${index}`, {
        domain: one.domain,
        messages,
        judged,
      })
    })
  }
  return records
}

const label = (judged: Judged | null) =>
  judged === null ? '-' : [judged.sender, judged.verdict, judged.rule].join('/')

function expected(before: Counted, after: Counted) {
  const sums = { records: 0, messages: 0, changed_records: 0, changed_messages: 0 }
  const transitions = new Map<string, [records: number, messages: number]>()
  for (const id of new Set([...before.keys(), ...after.keys()])) {
    const [a, b] = [before.get(id), after.get(id)]
    const { messages, domain } = (b ?? a)!
    sums.records++
    sums.messages += messages
    const [from, to] = [label(a?.judged ?? null), label(b?.judged ?? null)]
    if (from === to) continue
    sums.changed_records++
    sums.changed_messages += messages
    const known = transitions.get(`${domain} ${from} ${to}`) ?? [0, 0]
    transitions.set(`${domain} ${from} ${to}`, [known[0] + 1, known[1] + messages])
  }
  return { ...sums, transitions: Object.fromEntries(transitions) }
}

function found({ transitions, folded: _, ...sums }: GenerationDiff) {
  const rows = transitions.map(({ domain, from, to, records, messages }) => [
    `${domain} ${label(from)} ${label(to)}`,
    [records, messages],
  ])
  return { ...sums, transitions: Object.fromEntries(rows) as Record<string, [number, number]> }
}

const diff = (from: Generation, to: Generation, more: { domain?: string; sliceRecords?: number } = {}) =>
  diffGenerations({ store: api.store, from, to, domain: null, signal: new AbortController().signal, ...more })

const judged = (verdict: string, sender = '', rule = verdict): Judged => ({ sender, verdict, rule })
const report = (name: string, records: readonly GivenRecord[], more: Partial<Delivery> = {}): Delivery => ({
  domain: 'a.example',
  day: '2026-11-10',
  name,
  variant: 'v',
  received: 1,
  records,
  judgedRecords: records.length,
  twice: false,
  ...more,
})
const rejudged = (one: Delivery, judgements: readonly Judged[]): Delivery => ({
  ...one,
  records: one.records.map((record, index) => ({ ...record, judged: judgements[index] ?? record.judged })),
})

describe('the diff of two generations', () => {
  const old = report('r', [
    { messages: 5, judged: judged('unknown') },
    { messages: 7, judged: judged('authenticated', 'letters') },
    { messages: 1, judged: judged('unknown') },
  ])

  test('sums what changed by domain and by what became of what', async () => {
    await insertFacts(g1(), [old])
    await insertVerdicts(g1(), [old])
    await insertVerdicts(g2, [
      rejudged(old, [judged('spoofed'), judged('authenticated', 'letters'), judged('spoofed')]),
    ])
    const changed = await diff(g1(), g2)
    expect(changed).toMatchObject({ records: 3, messages: 13, changed_records: 2, changed_messages: 6, folded: null })
    expect(changed.transitions).toMatchObject([
      { domain: 'a.example', from: judged('unknown'), to: judged('spoofed'), records: 2, messages: 6 },
    ])
    expect(changed.transitions[0]!.examples.map(({ index, messages }) => [index, messages])).toEqual([
      [0, 5],
      [2, 1],
    ])
  })

  test('another sender or rule is a change too', async () => {
    await insertFacts(g1(), [old])
    await insertVerdicts(g1(), [old])
    const after = rejudged(old, [judged('unknown', 'letters'), judged('authenticated', 'letters', 'other')])
    await insertVerdicts(g2, [after])
    expect(await diff(g1(), g2)).toMatchObject({ changed_records: 2 })
  })

  test('a report that is not judged to its end does not count, and shows as one-sided', async () => {
    await insertFacts(g1(), [old])
    await insertVerdicts(g1(), [old])
    await insertVerdicts(g2, [{ ...old, judgedRecords: 2 }])
    const changed = await diff(g1(), g2)
    expect(changed).toMatchObject({ records: 3, changed_records: 3, changed_messages: 13 })
    expect(changed.transitions.map(({ to }) => to)).toEqual([null, null])
  })

  test('deliveries that lose do not count', async () => {
    const loser = report('r', [{ messages: 100, judged: judged('spoofed') }], { variant: 'w', received: 9 })
    await insertFacts(g1(), [loser, old, { ...old, received: 5 }])
    await insertVerdicts(g1(), [old, loser])
    await insertVerdicts(g2, [rejudged(loser, [judged('unknown')]), old])
    expect(await diff(g1(), g2)).toMatchObject({ records: 3, messages: 13, changed_records: 0, transitions: [] })
  })

  test('generations with facts of their own are compared by report, variant and index', async () => {
    const other = { ...old, variant: 'w' }
    await insertFacts(g1(), [old])
    await insertVerdicts(g1(), [old])
    await insertFacts(g3, [other])
    await insertVerdicts(g3, [other])
    expect(found(await diff(g1(), g3))).toEqual(expected(counted([old]), counted([other])))
    expect(await diff(g1(), g3)).toMatchObject({ records: 6, changed_records: 6 })
  })

  const judgement = fc
    .tuple(fc.constantFrom('', 'letters'), fc.constantFrom('unknown', 'spoofed'))
    .map(([sender, verdict]) => judged(verdict, sender))
  const delivery = fc
    .record({
      domain: fc.constantFrom('a.example', 'b.example', 'c.example'),
      day: fc.constantFrom('2026-11-10', '2026-11-11'),
      name: fc.constantFrom('r1', 'r2', 'r3'),
      received: fc.nat(3),
      content: fc.nat(1),
      sizes: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 4 }),
    })
    // The same content has the same variant and the same records, wherever it arrives.
    .map(({ sizes, content, ...one }) => ({
      ...one,
      variant: `${content}:${sizes.join()}`,
      records: sizes.map((messages) => ({ messages, judged: judged('unknown') })),
    }))
  /** What a generation made of a delivery, by its place among the deliveries. */
  const making = fc.record({
    judgements: fc.array(judgement, { minLength: 4, maxLength: 4 }),
    lacking: fc.constantFrom(0, 0, 0, 1),
    twice: fc.constantFrom(false, false, true),
  })
  const made = (
    deliveries: readonly Omit<Delivery, 'judgedRecords' | 'twice'>[],
    makings: readonly (typeof making extends fc.Arbitrary<infer T> ? T : never)[],
  ) => {
    const byContent = new Map<string, Delivery>()
    return deliveries.map((one, index) => {
      const { judgements, lacking, twice } = makings[index]!
      const judgedRecords = one.records.length - lacking
      const fresh = rejudged({ ...one, judgedRecords, twice }, judgements)
      // Verdicts are a function of the content: a second delivery of it brings the same.
      const key = `${one.domain} ${one.day} ${one.name} ${one.variant}`
      const known = byContent.get(key) ?? fresh
      byContent.set(key, known)
      return { ...known, received: one.received }
    })
  }

  const scenario = fc.array(fc.tuple(delivery, making, making), { minLength: 1, maxLength: 6 })

  test.each([
    ['shared', 1, 6],
    ['shared', 10_000, 100],
    ['own', 7, 12],
    ['own', 10_000, 100],
  ] as const)(
    'is what an independent count says, whatever is there twice, lost, or incomplete: %s facts, slices of %i',
    async (facts, sliceRecords, count) => {
      const own = facts === 'own'
      const after = own ? g3 : g2
      // All at once, each below domains of its own: inserts cost more than what is tried.
      const scenarios = fc.array(scenario, { minLength: count, maxLength: count, size: 'max' })
      await fc.assert(
        fc.asyncProperty(scenarios, async (all) => {
          const named = all.map((one, number) =>
            one.map(([each, ...makings]) => [{ ...each, domain: `s${number}.${each.domain}` }, ...makings] as const),
          )
          const old = named.flatMap((one) =>
            made(
              one.map(([each]) => each),
              one.map(([, making]) => making),
            ),
          )
          const fresh = named.flatMap((one) =>
            made(
              one.map(([each]) => each),
              one.map(([, , making]) => making),
            ),
          )
          // A generation from ingest may have read less.
          const kept = own ? fresh.filter((_, index) => index % 3 > 0) : fresh
          await insertFacts(g1(), old)
          if (own) await insertFacts(after, kept)
          await insertVerdicts(g1(), old)
          await insertVerdicts(after, kept)
          expect(found(await diff(g1(), after, { sliceRecords }))).toEqual(expected(counted(old), counted(kept)))
        }),
        { numRuns: 1, endOnFailure: true },
      )
    },
  )
})

describe('GET /generations/{id}/diff', () => {
  interface Body {
    readonly transitions: readonly { domain: string; messages: number; examples: readonly object[] }[]
    readonly next_cursor: string | null
    readonly error: { code: string }
  }
  const get = async (url: string) => answerOf<Body>(await server.inject(`/api/v1/generations/${url}`))
  const many = Array.from({ length: 5 }, (_, index) =>
    report(`r${index}`, [{ messages: index + 1, judged: judged('unknown') }], { domain: `d${index}.example` }),
  )
  beforeEach(async () => {
    await insertFacts(g1(), many)
    await insertVerdicts(g1(), many)
    await insertVerdicts(
      g2,
      many.map((one) => rejudged(one, [judged('spoofed', 'letters')])),
    )
  })

  test('answers from the live generation to the one asked, most messages first, with examples', async () => {
    const { status, body } = await get('g2/diff?limit=1')
    expect(status).toBe(200)
    expect(body).toEqual({
      from: 'g1',
      to: 'g2',
      from_rule_set: g1().ruleSet,
      to_rule_set: idOfRules(OTHER_RULES),
      records: 5,
      messages: 15,
      changed_records: 5,
      changed_messages: 15,
      transitions: [
        {
          domain: 'd4.example',
          from_verdict: 'unknown',
          to_verdict: 'spoofed',
          sender_from: null,
          sender_to: 'letters',
          rule_from: 'unknown',
          rule_to: 'spoofed',
          records: 1,
          messages: 5,
          examples: [
            {
              record_id: `${keyOf(many[4]!)}:${variantOf(many[4]!)}:0`,
              source_ip: '192.0.2.0',
              day: '2026-11-10',
            },
          ],
        },
      ],
      folded: null,
      next_cursor: expect.any(String),
    })
  })

  test('comes in pages that fit together', async () => {
    const seen: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { body }: { body: Body } = await get(`g2/diff?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`)
      seen.push(...body.transitions.map(({ domain }) => domain))
      cursor = body.next_cursor
    }
    expect(seen).toEqual(['d4.example', 'd3.example', 'd2.example', 'd1.example', 'd0.example'])
  })

  test('sees what arrived since it was asked last', async () => {
    const next = report('late', [{ messages: 50, judged: judged('unknown') }])
    expect((await get('g2/diff')).body).toMatchObject({ records: 5 })
    await insertFacts(g1(), [next])
    await insertVerdicts(g1(), [next])
    await insertVerdicts(g2, [next])
    expect((await get('g2/diff')).body).toMatchObject({ records: 6, changed_records: 5 })
  })

  test('takes a domain, and another generation to compare with', async () => {
    expect((await get('2/diff?domain=D3.example')).body).toMatchObject({ records: 1, messages: 4 })
    expect((await get('g1/diff?against=g2')).body).toMatchObject({ from: 'g2', to: 'g1', changed_records: 5 })
    expect((await get('g2/diff?domain=nowhere.example')).body).toMatchObject({ records: 0, transitions: [] })
  })

  test('says when there is nothing to compare', async () => {
    expect(await get('g1/diff')).toMatchObject({ status: 409, body: { error: { code: 'nothing_to_compare' } } })
    expect(await get('g2/diff?against=g2')).toMatchObject({ status: 409 })
    expect(await get('g9/diff')).toMatchObject({ status: 404, body: { error: { code: 'generation_unknown' } } })
    const { id } = await replays.start(idOfRules(OTHER_RULES), 'enriched')
    await replays.cancel(id)
    expect(await get(`${id}/diff`)).toMatchObject({ status: 410, body: { error: { code: 'generation_gone' } } })
    const { next_cursor } = (await get('g2/diff?limit=1')).body
    expect(await get(`g2/diff?domain=a.example&cursor=${next_cursor}`)).toMatchObject({ status: 400 })
  })
})

describe('more transitions than are kept', () => {
  test('are summed up by their verdicts, and that is said', () => {
    const transitions = new Transitions(2)
    for (let index = 1; index <= 6; index++) {
      const [from, to] = [judged('unknown', `s${index}`), judged('spoofed')]
      transitions.add({ domain: 'a.example', from, to, records: 1, messages: index, examples: [] })
    }
    expect(transitions.all().map(({ domain, messages }) => [domain, messages])).toEqual([
      [null, 10],
      ['a.example', 6],
      ['a.example', 5],
    ])
    expect(transitions.folded()).toEqual({ transitions: 4, records: 4, messages: 10 })
  })
})
