/**
 * How far the projections have got, read from the store: for processes that project nothing, or only some partitions.
 * `ProjectionState` knows the same of its own process alone, without asking.
 */
import type { Feed } from './feeds.ts'
import { type Positions, rebuildProgress, storedPositions } from './schema.ts'
import type { Progress } from './state.ts'
import { type Store, StoreUnavailable } from './store.ts'

/** Whoever asks within this time is given the same answer. */
const POSITIONS_MILLISECONDS = 200
const REBUILD_MILLISECONDS = 1000

const NOWHERE: ReadonlyMap<number, number> = new Map()

export class StoredProgress {
  readonly #store: Store
  readonly #feeds: () => readonly Feed[]
  readonly #positions: Shared<Positions>
  readonly #rebuild: Shared<Progress | null>
  #rebuilding: Progress | null = null

  /** `feeds`: all that may be asked about, now. */
  constructor(store: Store, feeds: () => readonly Feed[]) {
    this.#store = store
    this.#feeds = feeds
    this.#positions = new Shared(POSITIONS_MILLISECONDS, () => storedPositions(this.#store, this.#feeds()))
    this.#rebuild = new Shared(REBUILD_MILLISECONDS, () => this.#askRebuild())
  }

  /** By partition the offset up to which the store has everything of a physical topic. One statement for all feeds. */
  async positions(physical: string): Promise<ReadonlyMap<number, number>> {
    return (await this.#positions.get()).get(physical) ?? NOWHERE
  }

  /**
   * Offsets done of those that the log held when the store was last emptied, by whichever process; null when it is filled.
   * At once, as it was when this was asked last; the next answer is fetched meanwhile.
   */
  rebuilding(): Progress | null {
    // A store that is away says nothing new; whoever reads from it hears that it is away.
    this.#rebuild.get().catch(() => undefined)
    return this.#rebuilding
  }

  /** The same from the store itself, at most a second old. */
  rebuildingNow(): Promise<Progress | null> {
    return this.#rebuild.get()
  }

  async #askRebuild(): Promise<Progress | null> {
    this.#rebuilding = await rebuildProgress(this.#store, this.#feeds())
    return this.#rebuilding
  }
}

/** An answer that serves everyone who asks while it is fetched, and a while longer. */
class Shared<T> {
  readonly #milliseconds: number
  readonly #ask: () => Promise<T>
  #answer: Promise<T> | undefined

  constructor(milliseconds: number, ask: () => Promise<T>) {
    this.#milliseconds = milliseconds
    this.#ask = ask
  }

  get(): Promise<T> {
    if (this.#answer === undefined) {
      const answer = this.#ask()
      this.#answer = answer
      const forget = () => {
        if (this.#answer === answer) this.#answer = undefined
      }
      answer.then(
        () => setTimeout(forget, this.#milliseconds).unref(),
        (error: unknown) => {
          if (error instanceof StoreUnavailable) setTimeout(forget, this.#milliseconds).unref()
          else forget()
        },
      )
    }
    return this.#answer
  }
}
