/** What a registry has said, in a file, so that a process can start while the registry is away. */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'

interface Content {
  /** Ids are local to a registry: what another one has said is worth nothing. */
  readonly registry: string
  /** Id by subject and fingerprint of the schema's text. */
  readonly ids: Record<string, number>
  /** Text of the schema by id. */
  readonly schemas: Record<string, string>
}

export class SchemaCache {
  readonly #path: string | null
  readonly #content: Content
  readonly #onProblem: (message: string) => void
  #writing: Promise<void> | undefined
  #isStale = false

  /** `path` null: only as long as the process lives. */
  constructor(path: string | null, registry: string, onProblem: (message: string) => void) {
    this.#path = path
    this.#onProblem = onProblem
    const empty: Content = { registry, ids: {}, schemas: {} }
    const found = path === null ? null : this.#read(path)
    this.#content = found?.registry === registry ? found : empty
  }

  #read(path: string): Content | null {
    mkdirSync(dirname(path), { recursive: true })
    try {
      const content = JSON.parse(readFileSync(path, 'utf8')) as Partial<Content> | null
      const { registry, ids, schemas } = content ?? {}
      const isWhole = typeof registry === 'string' && typeof ids === 'object' && typeof schemas === 'object'
      if (isWhole && Object.values(ids).every(Number.isInteger)) return { registry, ids, schemas }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      if (!(error instanceof SyntaxError)) throw error
    }
    this.#onProblem(`${path} is damaged and is made anew; what the schema registry had said is asked for again.`)
    return null
  }

  idOf(subject: string, text: string): number | undefined {
    return this.#content.ids[keyOf(subject, text)]
  }

  schemaOf(id: number): string | undefined {
    return this.#content.schemas[String(id)]
  }

  keepId(subject: string, text: string, id: number): void {
    const key = keyOf(subject, text)
    if (this.#content.ids[key] === id) return
    this.#content.ids[key] = id
    this.#write()
  }

  keepSchema(id: number, text: string): void {
    if (this.#content.schemas[id] === text) return
    this.#content.schemas[id] = text
    this.#write()
  }

  /** Soon and whole: a file beside it takes its place. What comes while it is written is written after that. */
  #write(): void {
    const path = this.#path
    if (path === null) return
    this.#isStale = true
    this.#writing ??= this.#writeWhileStale(path)
      .catch((error: Error) => this.#onProblem(`What the schema registry said cannot be kept: ${error.message}`))
      .finally(() => {
        this.#writing = undefined
      })
  }

  async #writeWhileStale(path: string): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false
      const beside = `${path}.${process.pid}`
      await writeFile(beside, `${JSON.stringify(this.#content, null, 1)}\n`)
      await rename(beside, path)
    }
  }
}

function keyOf(subject: string, text: string): string {
  return `${subject} ${createHash('sha256').update(text).digest('hex')}`
}
