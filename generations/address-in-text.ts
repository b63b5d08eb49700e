/** Mail addresses in fields and in raw bytes. */

/** What an address may continue with on either side, so that `anna@a.example` is not found in `joanna@a.example.org`. */
const LOCAL = /[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]/
const DOMAIN = /[A-Za-z0-9-]/

/**
 * Whether the text holds the address as a whole: the local part as it is written, the domain in any case (RFC 5321,
 * section 2.4). Text may be bytes as Latin-1.
 */
export function holdsAddress(text: string, address: string): boolean {
  const at = address.lastIndexOf('@')
  const local = address.slice(0, at + 1)
  const domain = address.slice(at + 1).toLowerCase()
  for (let start = text.indexOf(local); start !== -1; start = text.indexOf(local, start + 1)) {
    const end = start + local.length + domain.length
    if (text.slice(start + local.length, end).toLowerCase() !== domain) continue
    const goesOn = DOMAIN.test(text.charAt(end)) || (text.charAt(end) === '.' && DOMAIN.test(text.charAt(end + 1)))
    if (!goesOn && !LOCAL.test(text.charAt(start - 1))) return true
  }
  return false
}

/** Whether it is one address: a local part, an @ and a domain. */
export const isAddress = (text: string) => /^[^\s@<>",;:()[\]\\]+@[^\s@<>",;:()[\]\\]+$/.test(text)
