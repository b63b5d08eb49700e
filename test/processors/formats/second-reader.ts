/**
 * An aggregate report read by other means, for comparison: fast-xml-parser, and a mapping written from the reference
 * without looking at ours. It reads well-formed documents only and knows nothing of warnings.
 */
import { domainToASCII } from 'node:url'
import { XMLParser } from 'fast-xml-parser'
import ipaddr from 'ipaddr.js'
import type { DmarcRecord, DmarcReport } from '../../../processors/formats/shapes.ts'

interface Node {
  [name: string]: unknown
}

const parser = new XMLParser({
  ignoreAttributes: true,
  removeNSPrefix: true,
  parseTagValue: false,
  trimValues: false,
  htmlEntities: true,
  isArray: () => true,
})

const nodes = (node: unknown, name: string): unknown[] => {
  const found = typeof node === 'object' && node !== null ? (node as Node)[name] : undefined
  return Array.isArray(found) ? found : []
}
const only = (node: unknown, name: string): unknown => nodes(node, name)[0]

function textOf(node: unknown): string | null {
  const own = typeof node === 'object' && node !== null ? (node as Node)['#text'] : node
  const text = (Array.isArray(own) ? own.join('') : String(own ?? '')).trim().replace(/\r\n?/g, '\n')
  return text === '' ? null : text
}
const text = (node: unknown, name: string): string | null =>
  nodes(node, name)
    .map(textOf)
    .find((t) => t !== null) ?? null

function domain(value: string | null): string | null {
  if (value === null || value === '<>') return null
  const name = value.toLowerCase().replace(/\.$/, '')
  return /[^ -~]/.test(name) ? domainToASCII(name) || name : name || null
}

const spellings: Record<string, Record<string, string>> = {
  dkim: { hardfail: 'fail', permfail: 'permerror', tempfail: 'temperror' },
  spf: { hardfail: 'fail', unknown: 'temperror', error: 'permerror' },
  aligned: { hardfail: 'fail' },
  disposition: { softfail: 'quarantine' },
  alignment: { relaxed: 'r', strict: 's' },
}
function word(value: string | null, kind = ''): string | null {
  const lower = value?.toLowerCase() ?? null
  return lower === null ? null : (spellings[kind]?.[lower] ?? lower)
}

function address(value: string): string {
  const bare = value.replace(/^\[(.*)\]$/, '$1')
  if (bare.includes(':') ? !ipaddr.IPv6.isValid(bare) : !ipaddr.IPv4.isValidFourPartDecimal(bare)) return value
  const parsed = ipaddr.process(bare)
  return parsed instanceof ipaddr.IPv6 ? parsed.toRFC5952String() : parsed.toString()
}

function number(value: string | null): number | null {
  return value !== null && /^-?\d+(\.\d*)?$/.test(value) ? Math.trunc(Number(value)) + 0 : null
}

function seconds(value: string | null): number {
  if (value === null) throw new Error('no date')
  return /^[\d.]+$/.test(value) ? Math.floor(Number(value)) : Date.parse(value) / 1000
}

function readRecord(record: unknown): DmarcRecord | null {
  const row = only(record, 'row')
  const ip = text(row, 'source_ip')
  if (ip === null) return null
  const evaluated = only(row, 'policy_evaluated')
  const ids = [...nodes(record, 'identifiers'), ...nodes(record, 'identities')][0]
  const auth = only(record, 'auth_results')
  return {
    source_ip: address(ip),
    count: number(text(row, 'count')),
    disposition: word(text(evaluated, 'disposition'), 'disposition'),
    dkim: word(text(evaluated, 'dkim'), 'aligned'),
    spf: word(text(evaluated, 'spf'), 'aligned'),
    reasons: nodes(evaluated, 'reason')
      .map((reason) =>
        typeof reason === 'string' || ((reason as Node).type === undefined && (reason as Node).comment === undefined)
          ? { type: word(textOf(reason)), comment: null }
          : { type: word(text(reason, 'type')), comment: text(reason, 'comment') },
      )
      .filter(({ type, comment }) => type !== null || comment !== null),
    header_from: domain(text(ids, 'header_from')),
    envelope_from: domain(text(ids, 'envelope_from')),
    envelope_to: domain(text(ids, 'envelope_to')),
    dkim_results: nodes(auth, 'dkim').map((dkim) => ({
      domain: domain(text(dkim, 'domain')),
      selector: text(dkim, 'selector'),
      result: word(text(dkim, 'result'), 'dkim'),
      human_result: text(dkim, 'human_result'),
    })),
    spf_results: nodes(auth, 'spf').map((spf) => ({
      domain: domain(text(spf, 'domain')),
      scope: word(text(spf, 'scope')),
      result: word(text(spf, 'result'), 'spf'),
    })),
  }
}

/** The same facts as ours, without warnings. */
export function readSecondly(xml: string): { report: Omit<DmarcReport, 'warnings'>; records: DmarcRecord[] } {
  const root = only(parser.parse(xml), 'feedback')
  const meta = only(root, 'report_metadata')
  const range = only(meta, 'date_range')
  const policy = only(root, 'policy_published')
  const dates = [seconds(text(range, 'begin')), seconds(text(range, 'end'))].sort((a, b) => a - b)
  const pct = text(policy, 'pct')
  const records = nodes(root, 'record')
    .map(readRecord)
    .filter((record) => record !== null)
  return {
    records,
    report: {
      org_name: text(meta, 'org_name'),
      email: text(meta, 'email'),
      extra_contact_info: text(meta, 'extra_contact_info'),
      report_id: text(meta, 'report_id')!,
      begin: dates[0]!,
      end: dates[1]!,
      version: text(root, 'version'),
      generator: text(meta, 'generator'),
      errors: nodes(meta, 'error')
        .map(textOf)
        .filter((error) => error !== null),
      policy: {
        domain: domain(text(policy, 'domain'))!,
        adkim: word(text(policy, 'adkim'), 'alignment'),
        aspf: word(text(policy, 'aspf'), 'alignment'),
        p: word(text(policy, 'p')),
        sp: word(text(policy, 'sp')),
        np: word(text(policy, 'np')),
        pct: pct !== null && number(pct) !== null && number(pct)! <= 100 ? number(pct) : null,
        fo: text(policy, 'fo')?.toLowerCase() ?? null,
        testing: word(text(policy, 'testing') ?? text(policy, 't')),
        discovery_method: word(text(policy, 'discovery_method')),
      },
      records: records.length,
    },
  }
}
