/** A progress bar on a terminal; silent elsewhere. */
export interface Progress {
  update(done: number, total: number, note: string): void
  end(): void
}

const REDRAW_MILLISECONDS = 100
const BAR = 30

export function openProgress(out: NodeJS.WriteStream, unit: string): Progress {
  if (!out.isTTY) return { update: () => undefined, end: () => undefined }
  const begun = Date.now()
  let drawn = 0
  let open = false
  return {
    update(done, total, note) {
      if (Date.now() - drawn < REDRAW_MILLISECONDS) return
      drawn = Date.now()
      open = true
      const part = total > 0 ? Math.min(1, done / total) : 0
      const bar = '█'.repeat(Math.round(part * BAR)).padEnd(BAR, '░')
      const rate = Math.round(done / Math.max(0.001, (Date.now() - begun) / 1000))
      const left = part > 0 && rate > 0 ? `, ${Math.ceil((total - done) / rate)} s left` : ''
      const line = `${bar} ${Math.round(part * 100)}%  ${rate} ${unit}/s${left}  ${note}`
      out.write(`\r\u001b[K${line.slice(0, Math.max(20, out.columns - 1))}`)
    },
    end() {
      if (open) out.write('\r\u001b[K')
    },
  }
}
