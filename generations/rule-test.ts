/** Records of a domain judged under the live rules and under others, side by side. Nothing is stored. */
import type { Judgement, RuleTest, RuleTestOptions } from '../api/replays.ts'
import type { Store } from '../projections/store.ts'
import { addressText } from '../projections/views.ts'
import { winningDmarcRecords, winningDmarcReports } from '../projections/winners.ts'
import type { CompiledRules } from '../rules/compile.ts'
import type { DmarcRecordsEnriched } from '../topics/enriched.ts'
import type { Generation } from '../topics/generation.ts'
import type { DmarcRecordsEvaluated } from '../topics/verdicts.ts'

/** A sample is not larger; the newest records come first. */
const MAX_RECORDS = 200_000
const CHUNK_RECORDS = 500

type Columns = DmarcRecordsEnriched['records']
type Observations = DmarcRecordsEnriched['observations']

/** A row of facts with what its report says of the policy. '' = not said. */
interface FactRow {
  readonly policy_domain: string
  readonly day: string
  readonly key: string
  readonly variant_hex: string
  readonly record_index: number
  readonly org: string
  readonly shown_ip: string
  readonly count: number | null
  readonly disposition: string
  readonly dkim: string
  readonly spf: string
  readonly header_from: string
  readonly envelope_from: string
  readonly envelope_to: string
  readonly reason_type: readonly string[]
  readonly reason_comment: readonly string[]
  readonly dkim_domain: readonly string[]
  readonly dkim_selector: readonly string[]
  readonly dkim_result: readonly string[]
  readonly dkim_human_result: readonly string[]
  readonly spf_domain: readonly string[]
  readonly spf_scope: readonly string[]
  readonly spf_result: readonly string[]
  readonly observed: boolean | number
  readonly ptr: string
  readonly ptr_names: readonly string[]
  readonly asn: number
  readonly as_name: string
  readonly country: string
  readonly p: string
  readonly sp: string
  readonly np: string
}

const shownIp = addressText('r.source_ip', 'r.source_text')

/** The newest records of the domain, as the enriched events said them. */
async function* factsOf(
  store: Store,
  { tables }: Generation,
  { domain, from, to, signal }: RuleTestOptions,
): AsyncGenerator<readonly FactRow[]> {
  const chosen = 'policy_domain = {domain:String} AND day BETWEEN {from:Date} AND {to:Date}'
  yield* store.stream<FactRow>(
    `SELECT r.* EXCEPT (report_key, variant, source_ip, source_text), lower(hex(r.report_key)) AS key,
       lower(hex(r.variant)) AS variant_hex, ${shownIp} AS shown_ip, w.p AS p, w.sp AS sp, w.np AS np
     FROM (SELECT * FROM ${winningDmarcRecords(tables, chosen)}) AS r
     INNER JOIN (${winningDmarcReports(tables, chosen, ['report_key', 'p', 'sp', 'np'])}) AS w ON w.report_key = r.report_key
     ORDER BY r.day DESC, r.report_key, r.record_index LIMIT ${MAX_RECORDS}`,
    { parameters: { domain, from, to }, signal },
  )
}

/** Texts by number; 0 is the empty one. */
class Dictionary {
  readonly texts: string[] = ['']
  readonly #numbers = new Map<string, number>([['', 0]])

  number(text: string): number {
    let number = this.#numbers.get(text)
    if (number === undefined) {
      number = this.texts.push(text) - 1
      this.#numbers.set(text, number)
    }
    return number
  }
}

/** Rows of one report as the event that they came from. */
function chunkOf(rows: readonly FactRow[]): DmarcRecordsEnriched {
  const first = rows[0]!
  const facts = new Dictionary()
  const world = new Dictionary()
  const numbers = (texts: readonly string[]) => texts.map((text) => facts.number(text))
  const each = (name: keyof FactRow) => rows.map((row) => facts.number(row[name] as string))
  const all = (name: keyof FactRow) => rows.flatMap((row) => numbers(row[name] as readonly string[]))
  const records: Columns = {
    dict: facts.texts,
    source_ip: each('shown_ip'),
    count: rows.map(({ count }) => count),
    disposition: each('disposition'),
    dkim: each('dkim'),
    spf: each('spf'),
    header_from: each('header_from'),
    envelope_from: each('envelope_from'),
    envelope_to: each('envelope_to'),
    reasons: rows.map(({ reason_type }) => reason_type.length),
    reason_type: all('reason_type'),
    reason_comment: all('reason_comment'),
    dkim_results: rows.map(({ dkim_domain }) => dkim_domain.length),
    dkim_domain: all('dkim_domain'),
    dkim_selector: all('dkim_selector'),
    dkim_result: all('dkim_result'),
    dkim_human_result: all('dkim_human_result'),
    spf_results: rows.map(({ spf_domain }) => spf_domain.length),
    spf_domain: all('spf_domain'),
    spf_scope: all('spf_scope'),
    spf_result: all('spf_result'),
  }
  const known = new Map(rows.map((row, at) => [records.source_ip[at]!, row]))
  const sources = [...known.values()]
  const observations: Observations = {
    epoch: 1,
    dict: world.texts,
    address: [...known.keys()],
    observed: sources.map(({ observed }) => Boolean(observed)),
    ptr_names: sources.map(({ ptr_names }) => ptr_names.length),
    ptr_name: sources.flatMap(({ ptr_names }) => ptr_names.map((name) => world.number(name))),
    // Of several confirmed names the first is the one that was kept; rules know no other.
    ptr_confirmed: sources.flatMap(({ ptr_names, ptr }) => ptr_names.map((name) => name === ptr)),
    asn: sources.map(({ asn }) => asn),
    as_name: sources.map(({ as_name }) => world.number(as_name)),
    country: sources.map(({ country }) => world.number(country)),
  }
  const said = (text: string) => (text === '' ? null : text)
  return {
    id: '',
    mail_id: '',
    part: '',
    received_at: 0,
    parser_version: '',
    report_key: first.key,
    variant: first.variant_hex,
    policy_domain: first.policy_domain,
    org: first.org,
    day: first.day,
    implausible_period: false,
    p: said(first.p),
    sp: said(first.sp),
    np: said(first.np),
    chunk: 0,
    first: first.record_index,
    records,
    observations,
  }
}

/** Rows of one report at a time. */
async function* chunksOf(batches: AsyncIterable<readonly FactRow[]>): AsyncGenerator<readonly FactRow[]> {
  let rows: FactRow[] = []
  for await (const batch of batches) {
    for (const row of batch) {
      if (rows.length > 0 && (rows[0]!.key !== row.key || rows.length >= CHUNK_RECORDS)) {
        yield rows
        rows = []
      }
      rows.push(row)
    }
  }
  if (rows.length > 0) yield rows
}

function judgementOf({ dict, sender, verdict, rule }: DmarcRecordsEvaluated['records'], at: number): Judgement {
  return { sender: dict[sender[at]!] || null, verdict: dict[verdict[at]!]!, rule: dict[rule[at]!]! }
}

const isSame = (a: Judgement, b: Judgement) => a.sender === b.sender && a.verdict === b.verdict && a.rule === b.rule

/** Compares what two rule sets say of the records of a domain. */
export async function testRules(
  store: Store,
  generation: Generation,
  rules: { readonly live: CompiledRules; readonly tried: CompiledRules },
  options: RuleTestOptions,
): Promise<RuleTest> {
  type Item = RuleTest['items'][number]
  const changed: Item[] = []
  const others: Item[] = []
  const sums = new Map<string, { from_verdict: string; to_verdict: string; records: number; messages: number }>()
  let records = 0
  let messages = 0
  const keep = (list: Item[], item: Item) => {
    list.push(item)
    if (list.length < 4 * options.limit) return
    list.sort((a, b) => b.messages - a.messages)
    list.length = options.limit
  }
  for await (const rows of chunksOf(factsOf(store, generation, options))) {
    const chunk = chunkOf(rows)
    const [live, tried] = [rules.live.evaluate(chunk), rules.tried.evaluate(chunk)]
    rows.forEach((row, at) => {
      const [before, after] = [judgementOf(live, at), judgementOf(tried, at)]
      const sum = sums.get(`${before.verdict} ${after.verdict}`) ?? {
        from_verdict: before.verdict,
        to_verdict: after.verdict,
        records: 0,
        messages: 0,
      }
      sums.set(`${before.verdict} ${after.verdict}`, sum)
      const weight = tried.messages[at]!
      sum.records++
      sum.messages += weight
      records++
      messages += weight
      keep(isSame(before, after) ? others : changed, {
        record_id: `${row.key}:${row.variant_hex}:${row.record_index}`,
        day: row.day,
        source_ip: row.shown_ip,
        ptr: row.ptr || null,
        messages: weight,
        live: before,
        new: after,
      })
    })
  }
  const byMessages = <T extends { messages: number }>(list: T[]) => list.sort((a, b) => b.messages - a.messages)
  return {
    id: rules.tried.id,
    records,
    messages,
    items: [...byMessages(changed), ...byMessages(others)].slice(0, options.limit),
    transitions: byMessages([...sums.values()]),
  }
}
