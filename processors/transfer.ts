/** Answers of worker threads whose bytes are handed over instead of copied. */
import Piscina, { move } from 'piscina'

/**
 * Marks buffers of an answer for transfer. On the other side the answer arrives as it was given: that is piscina's
 * contract for `valueSymbol`, which its types do not express.
 */
export function transferring<Answer>(answer: Answer, ...buffers: readonly Uint8Array[]): Answer {
  const marked = {
    get [Piscina.transferableSymbol]() {
      return buffers.map(({ buffer }) => buffer)
    },
    get [Piscina.valueSymbol]() {
      return answer
    },
  }
  return move(marked as unknown as Parameters<typeof move>[0]) as unknown as Answer
}
