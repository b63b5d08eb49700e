/** The README's table of settings, made from config.ts. `npm run docs` writes it; a test says when it is out of date. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { settings } from '../config.ts'

const README = join(import.meta.dirname, '..', 'README.md')
const BEGIN = '<!-- settings: written by "npm run docs" -->'
const END = '<!-- end of settings -->'

const code = (text: string) => (text === '' ? '–' : `\`${text}\``)
const cell = (text: string) => text.replaceAll('|', '\\|')

export function settingsTable(): string {
  const rows = Object.entries(settings).map(([name, { about, fallback, secret }]) => {
    const from = secret === true ? `; also from the file that \`${name}_FILE\` names` : ''
    return `| \`${name}\` | ${code(fallback)} | ${cell(about)}${from} |`
  })
  return ['| Setting | Default | What it is |', '|---|---|---|', ...rows].join('\n')
}

export const readReadme = (): string => readFileSync(README, 'utf8')

/** The README with the table of now. Throws when the marks between which it stands are not there. */
export function withSettingsTable(readme: string): string {
  const begin = readme.indexOf(BEGIN)
  const end = readme.indexOf(END)
  if (begin < 0 || end < begin) throw new Error(`README.md needs the lines ${BEGIN} and ${END} around its table.`)
  return `${readme.slice(0, begin + BEGIN.length)}\n${settingsTable()}\n${readme.slice(end)}`
}

if (import.meta.main) writeFileSync(README, withSettingsTable(readReadme()))
