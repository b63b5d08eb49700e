/**
 * The name of a blob in every store, `ab/abcdef…`: its hash, in 256 folders. Throws when the hash is not 64 lower-case
 * hex digits, so that no path can be smuggled in.
 */
export function blobName(sha256: string): string {
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new Error('A blob is named by 64 lower-case hex digits.')
  return `${sha256.slice(0, 2)}/${sha256}`
}
