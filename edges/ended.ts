/** Resolves after some time, or as soon as one of the signals aborts. Leaves no timer and no listener behind then. */
export function ended(milliseconds: number, ...signals: readonly AbortSignal[]): Promise<undefined> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      for (const signal of signals) signal.removeEventListener('abort', end)
      resolve(undefined)
    }
    const timer = setTimeout(end, milliseconds)
    for (const signal of signals) signal.addEventListener('abort', end)
    if (signals.some(({ aborted }) => aborted)) end()
  })
}
