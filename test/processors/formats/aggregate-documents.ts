/** Aggregate reports as text: a plain one to change by hand, and arbitrary well-formed ones for properties. */
import fc from 'fast-check'

export const metadata =
  '<report_metadata><org_name>Reporter</org_name><email>dmarc@reporter.example</email><report_id>r-1</report_id>' +
  '<date_range><begin>1700000000</begin><end>1700086399</end></date_range></report_metadata>'
export const policyPublished =
  '<policy_published><domain>example.com</domain><adkim>r</adkim><aspf>s</aspf><p>none</p><sp>reject</sp><pct>100</pct></policy_published>'
export const rowOf = (content = '<source_ip>192.0.2.1</source_ip><count>3</count>'): string =>
  `<row>${content}<policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>`
export const identifiers = '<identifiers><header_from>example.com</header_from></identifiers>'
export const authResults =
  '<auth_results><dkim><domain>example.com</domain><selector>s1</selector><result>pass</result></dkim>' +
  '<spf><domain>bounce.example.com</domain><scope>mfrom</scope><result>fail</result></spf></auth_results>'
export const recordOf = (row = rowOf(), rest = identifiers + authResults): string => `<record>${row}${rest}</record>`

export const feedback = (content: string, attributes = ''): string => `<feedback${attributes}>${content}</feedback>`
export const plainReport = (records = recordOf()): string => feedback(metadata + policyPublished + records)

/** Choices out of one seed (mulberry32): thousands of small arbitraries would cost more than the reading. */
class Choices {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  below(most: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % most
  }

  of<T>(...list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  /** One of the words, in lower or upper case. */
  word(...words: string[]): string {
    const chosen = this.of(...words)
    return this.below(3) === 0 ? chosen.toUpperCase() : chosen
  }

  text(): string {
    return Array.from({ length: 1 + this.below(24) }, () => this.of(...characters)).join('')
  }

  domain(): string {
    return this.of('example.com', 'Example.COM', 'mail.example.org.', 'bücher.example', 'a_b.example', '')
  }

  address(): string {
    const group = () => this.of('0', '0', '1', 'ab', 'FFFF', this.below(65536).toString(16))
    const part = () => this.below(256)
    return this.of(
      `${part()}.${part()}.${part()}.${part()}`,
      Array.from({ length: 8 }, group).join(':'),
      `2001:db8::${group()}`,
      `::ffff:${part()}.0.2.7`,
      `[${group()}::]`,
      '64.x.x.x',
      '1.2.3.256',
      '2001:db8::1::2',
      '',
    )
  }

  count(): string {
    const odd = this.of('0', '-4', '12.0', '7.9', 'many', '', '1000000001', '9000000000000000', '1e3', '0012')
    return this.below(3) === 0 ? odd : String(1 + this.below(5000))
  }
}
const characters = [...'abcXYZ019 .-_@:/&<>"\'éß漢😀\u00a0']

/** Writes a document in one of the many ways in which XML may be written. */
class Writer extends Choices {
  readonly prefix = this.of('', '', '', 'd:', 'ns1:')

  gap(): string {
    return this.of(
      '',
      '',
      '',
      ' ',
      '\n  ',
      '\r\n\t',
      '<!-- a > comment & <more> -->',
      '<?note is here?>',
      '\n<!---->\n',
    )
  }

  escape(text: string): string {
    const numeric = this.of(0, 0, 1, 2)
    const escaped = [...text].map((c) => {
      const code = c.codePointAt(0)!
      if (c === '&') return '&amp;'
      if (c === '<') return '&lt;'
      if (c === '>') return '&gt;'
      if (numeric === 1 && code > 126) return `&#${code};`
      if (numeric === 2 && code > 126) return `&#x${code.toString(16)};`
      return c
    })
    return escaped.join('')
  }

  value(name: string, text: string): string {
    const attribute = this.of('', '', '', ' lang="en"', ' lang = \'de\' other="a > b"', '\n')
    const tag = this.prefix + name
    if (text === '' && this.of(true, false)) return `<${tag}${attribute}/>`
    const cdata = text !== '' && this.of(false, false, false, false, true)
    const body = cdata ? `<![CDATA[${text}]]>` : this.escape(text)
    const [before, after] = cdata ? ['', ''] : this.of(['', ''], ['', ''], [' ', '\t'], ['\n   ', '\r\n'])
    return `<${tag}${attribute}>${before}${body}${after}</${tag}${this.of('', '', ' ')}>`
  }

  element(name: string, children: readonly string[]): string {
    const tag = this.prefix + name
    return `<${tag}>${children.map((child) => this.gap() + child).join('')}${this.gap()}</${tag}>`
  }

  maybe(content: () => string): string[] {
    return this.of(true, true, true, false) ? [content()] : []
  }

  many(most: number, content: () => string): string[] {
    return Array.from({ length: this.below(most + 1) }, content)
  }

  shuffled(parts: readonly string[]): string[] {
    if (this.of(true, false)) return [...parts]
    const order = parts.map((part) => ({ part, place: this.below(1000) }))
    return order.sort((a, b) => a.place - b.place).map(({ part }) => part)
  }
}

function writeRecord(w: Writer): string {
  const text = (name: string) => w.value(name, w.text())
  const reason = () =>
    w.of(true, false)
      ? w.element('reason', [
          w.value('type', w.word('forwarded', 'mailing_list', 'local_policy', 'new_kind', '')),
          ...w.maybe(() => text('comment')),
        ])
      : w.value('reason', w.of('sampled_out', ''))
  const evaluated = w.element('policy_evaluated', [
    ...w.maybe(() => w.value('disposition', w.word('none', 'quarantine', 'reject', 'pass', 'softfail', 'odd', ''))),
    ...w.maybe(() => w.value('dkim', w.word('pass', 'fail', 'hardfail', 'none', ''))),
    ...w.maybe(() => w.value('spf', w.word('pass', 'fail', 'softfail', ''))),
    ...w.many(3, reason),
  ])
  const dkim = () =>
    w.element(
      'dkim',
      w.shuffled([
        ...w.maybe(() => w.value('domain', w.domain())),
        ...w.maybe(() => w.value('selector', w.of('s1', 'Google', ''))),
        ...w.maybe(() => w.value('result', w.word('pass', 'fail', 'none', 'hardfail', 'permfail', 'what'))),
        ...w.maybe(() => text('human_result')),
      ]),
    )
  const spf = () =>
    w.element('spf', [
      ...w.maybe(() => w.value('domain', w.domain())),
      ...w.maybe(() => w.value('scope', w.word('mfrom', 'helo', 'pra'))),
      w.value('result', w.word('pass', 'softfail', 'unknown', 'error', 'hardfail', 'neutral', '')),
    ])
  return w.element(
    'record',
    w.shuffled([
      w.element(
        'row',
        w.shuffled([w.value('source_ip', w.address()), ...w.maybe(() => w.value('count', w.count())), evaluated]),
      ),
      w.element(
        w.of('identifiers', 'identifiers', 'identities'),
        ['envelope_to', 'envelope_from', 'header_from'].flatMap((name) => w.maybe(() => w.value(name, w.domain()))),
      ),
      ...w.maybe(() => w.element('auth_results', w.shuffled([...w.many(3, dkim), ...w.many(2, spf)]))),
      ...w.maybe(() => '<x:extra xmlns:x="urn:extra"><x:count>99</x:count><source_ip>1.1.1.1</source_ip></x:extra>'),
    ]),
  )
}

function writeReport(w: Writer): string {
  const text = (name: string) => w.maybe(() => w.value(name, w.text()))
  const dates = w.of(
    ['1700000000', '1700086399'],
    ['1700086400.5', '1700000000'],
    ['2024-01-01T00:00:00Z', '1704153599'],
  )
  const report = w.element(
    'report_metadata',
    w.shuffled([
      ...w.maybe(() => w.value('org_name', w.of(w.text(), ''))),
      ...text('email'),
      ...text('extra_contact_info'),
      w.value('report_id', w.of('1709600619.487850', '<a@b>', 'x:1 & y')),
      w.element('date_range', [w.value('begin', dates[0]!), w.value('end', dates[1]!)]),
      ...w.many(2, () => w.value('error', w.text())),
      ...text('generator'),
    ]),
  )
  const policy = w.element(
    'policy_published',
    w.shuffled([
      w.value('domain', w.domain() || 'example.net'),
      ...w.maybe(() => w.value('adkim', w.word('r', 's', 'relaxed', ''))),
      ...w.maybe(() => w.value('aspf', w.word('r', 's'))),
      w.value('p', w.word('none', 'quarantine', 'reject')),
      ...w.maybe(() => w.value('sp', w.word('none', 'reject', ''))),
      ...w.maybe(() => w.value('np', w.word('none', 'reject'))),
      ...w.maybe(() => w.value('pct', w.of('100', '0', '101', 'x', '50.0', ''))),
      ...w.maybe(() => w.value('fo', w.of('1', '0:d:s', '1:D'))),
      ...w.maybe(() => w.value(w.of('testing', 't'), w.word('n', 'y'))),
      ...w.maybe(() => w.value('discovery_method', w.word('psl', 'treewalk'))),
    ]),
  )
  const parts = w.shuffled([
    ...w.maybe(() => w.value('version', w.of('1.0', '2.0', '1', ''))),
    report,
    policy,
    ...w.many(4, () => writeRecord(w)),
    ...w.maybe(() => '<extension><feedback><count>1</count></feedback>tail</extension>'),
  ])
  const root = `${w.prefix}feedback`
  const attributes = w.of(
    '',
    ' xmlns="urn:ietf:params:xml:ns:dmarc-2.0"',
    ' xmlns:xsi="http://x" xsi:schemaLocation="a b"',
  )
  const prolog = w.of(
    '',
    '<?xml version="1.0"?>',
    '<?xml version="1.0" encoding="UTF-8" ?>\r\n',
    "<?xml version='1.0' standalone='yes'?>",
  )
  const declared = w.prefix === '' ? '' : ` xmlns:${w.prefix.slice(0, -1)}="urn:ietf:params:xml:ns:dmarc-2.0"`
  return `${prolog}${w.gap()}<${root}${declared}${attributes}>${parts.map((part) => w.gap() + part).join('')}</${root}>${w.gap()}`
}

/** Well-formed reports with every mandatory part, over the whole grammar and its common deviations. */
export const arbitraryReport: fc.Arbitrary<string> = fc
  .noBias(fc.integer())
  .map((seed) => writeReport(new Writer(seed)))
