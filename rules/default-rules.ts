/** The rule set that is live until somebody promotes another one. */
import { readFileSync } from 'node:fs'

/** The YAML of the shipped rule set; it lies beside this file, in the clone and in the package. */
export const DEFAULT_RULES: string = readFileSync(new URL('./default.yaml', import.meta.url), 'utf8')
