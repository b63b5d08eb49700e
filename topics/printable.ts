/**
 * Text of strangers on its way out. What a terminal may obey (the controls of ASCII, those at U+0080 to U+009F, which
 * many terminals take as escape sequences, and marks that turn the direction of writing) never leaves as it came.
 */

/** What JSON leaves as it is and a terminal, or a reader of lines, does not. U+2028 and U+2029 end a line in some. */
const LEFT_BY_JSON = /[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g

/** The same JSON with every control character escaped: it says exactly the same. */
export function printableJson(json: string): string {
  return json.replace(LEFT_BY_JSON, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** CSV has no escapes, so that a control character becomes U+FFFD; line ends are kept. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const NOT_IN_A_CELL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]|\r(?!\n)/g

/** What a spreadsheet takes for the beginning of a formula; the last four are the wide forms of the first. */
const BEGINS_A_FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/

/**
 * A text as a cell of CSV (RFC 4180). What a spreadsheet would take for a formula gets an apostrophe in front: names and
 * addresses in reports are written by strangers.
 */
export function csvText(text: string): string {
  const shown = text.replace(NOT_IN_A_CELL, '\ufffd')
  const safe = BEGINS_A_FORMULA.test(shown) ? `'${shown}` : shown
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
