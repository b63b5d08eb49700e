import type { RuleProblem } from '../rules/problems.ts'
import { readRules } from '../rules/read.ts'
import type { RuleSet } from '../rules/rule-set.ts'
import { printableJson } from '../topics/printable.ts'
import { formatOption, readRuleFile, serverOption, wantsJson } from './asking.ts'
import { type Command, exitCode, printable, UsageError } from './command.ts'
import { isRuleSetVerb, ruleSetCommand } from './rule-sets.ts'
import { testRules } from './rules-test.ts'

export const rules: Command = {
  name: 'rules',
  usage: 'rules check FILE|test FILE --domain DOMAIN|list|show ID|diff ID [ID]|publish FILE',
  about:
    'Rules say who sent a mail and what that means. "check" reads a rule file and lists what is wrong with it:\n' +
    'syntax, types, unknown names, rules that can never match, each with its line and column.\n' +
    'Exit code 3 when there is an error; warnings alone are fine. "test" shows the verdicts of a sample of a domain\n' +
    'under the live rules and under those in the file; "publish", "list", "show" and "diff" are about rule sets that\n' +
    'were published. ID is the beginning of an id, or a generation (g2). Publishing changes no answer.',
  options: {
    server: serverOption,
    domain: { type: 'string', value: 'DOMAIN', about: 'policy domain to take the sample of (test)' },
    from: { type: 'string', value: 'DAY', about: 'first day of the sample, YYYY-MM-DD (test)' },
    to: { type: 'string', value: 'DAY', about: 'last day of the sample (test)' },
    limit: { type: 'string', value: 'N', about: 'records shown, default 20 (test)' },
    format: formatOption,
  },
  example: 'mailtrail rules check rules.yaml',

  async run(args, context) {
    const [verb, path, ...more] = args.positionals
    if (isRuleSetVerb(verb)) return ruleSetCommand(verb, args.positionals.slice(1), args, context)
    if (verb !== 'check' && verb !== 'test')
      throw new UsageError('Say what to do: rules check FILE, or test, list, show, diff or publish.')
    if (path === undefined || more.length > 0) throw new UsageError(`Name one rule file: rules ${verb} FILE.`)
    if (verb === 'test') return testRules(path, args, context)
    const json = wantsJson(args)
    const { ruleSet, problems } = readRules(readRuleFile(path))
    context.stdout.write(json ? asJson(ruleSet, problems) : asText(path, ruleSet, problems))
    return ruleSet === null ? exitCode.changed : exitCode.fine
  },
}

function asText(path: string, ruleSet: RuleSet | null, problems: readonly RuleProblem[]): string {
  const lines = problems.map(({ line, column, severity, message }) =>
    printable(`${path}:${line}:${column}: ${severity}: ${message}`),
  )
  if (ruleSet === null) {
    const errors = problems.filter(({ severity }) => severity === 'error').length
    lines.push(`${path} has ${errors === 1 ? 'an error' : `${errors} errors`}.`)
  } else {
    const { senders, verdicts } = ruleSet.definition
    lines.push(`${path} is fine: ${senders.length} senders, ${verdicts.length} verdict rules, id ${ruleSet.id}.`)
  }
  return `${lines.join('\n')}\n`
}

function asJson(ruleSet: RuleSet | null, problems: readonly RuleProblem[]): string {
  const { senders, verdicts } = ruleSet?.definition ?? {}
  const answer = {
    valid: ruleSet !== null,
    id: ruleSet?.id ?? null,
    name: ruleSet?.name ?? null,
    senders: senders?.length ?? null,
    verdict_rules: verdicts?.length ?? null,
    problems,
  }
  return `${printableJson(JSON.stringify(answer, null, 1))}\n`
}
