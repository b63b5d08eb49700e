/** The first generation of a new installation, and what to say when the rule file has changed since. */
import { readRules } from '../rules/read.ts'
import { GenerationPromoted, GenerationStarted, RuleSetPublished } from '../topics/control.ts'
import type { ControlLog } from '../topics/control-log.ts'

export interface Beginning {
  /** The rules to begin with. */
  readonly yaml: string
  /** Where they come from, as people call it. */
  readonly source: string
  readonly parserVersion: string
  readonly now: () => number
}

/** The rule file has errors: the message says where. */
export class RulesInvalid extends Error {}

/**
 * Publishes the rules, starts generation 1 and makes it live when there is none. Otherwise nothing is changed: rules that
 * differ from those in use are answered with a sentence that says what to do.
 */
export async function beginGenerations(control: ControlLog, beginning: Beginning): Promise<string | null> {
  const { yaml, source, parserVersion, now } = beginning
  const live = control.state.live()
  // Reading rules takes a tenth of a second, and at nearly every start they are those in use.
  if (live !== null && control.state.ruleSet(live.generation.ruleSet!)?.yaml === yaml) return null
  const { ruleSet, problems } = readRules(yaml)
  if (ruleSet === null) {
    const { line, column, message } = problems.find(({ severity }) => severity === 'error')!
    throw new RulesInvalid(`${source}, line ${line}, column ${column}: ${message}`)
  }
  if (live !== null) {
    if (live.generation.ruleSet === ruleSet.id) return null
    const file = source.endsWith('.yaml') || source.endsWith('.yml') ? ` ${source}` : ' FILE'
    return (
      `Answers come from rule set ${live.generation.ruleSet!.slice(0, 12)}; ${source} hold${source.endsWith('trail') ? '' : 's'} others (${ruleSet.id.slice(0, 12)}). ` +
      `To see what they would change: mailtrail replay start${file}`
    )
  }
  const at = now()
  await control.append(RuleSetPublished, { at, rule_set: ruleSet.id, name: ruleSet.name, yaml })
  if (control.state.generations().length === 0) {
    const started = { at, rule_set: ruleSet.id, from: 'ingest', parent: 0, epoch: 1, parser_version: parserVersion }
    await control.append(GenerationStarted, started)
  }
  // One that was started and not made live before the process ended is made live now.
  await control.append(GenerationPromoted, { at, generation: 1, accept_gap: false })
  return null
}
