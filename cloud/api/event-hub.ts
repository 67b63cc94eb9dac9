/** One event of the live stream. */
export interface LiveEvent {
  /** rises by one; a client resumes after the last it saw */
  readonly id: number
  readonly type: 'rollout' | 'alert' | 'fleet'
  readonly data: unknown
}

/** chosen: some hours of a busy fleet; who was away longer gets `reset` and reads the state anew */
const BUFFER = 512
/** chosen: open status pages */
const LISTENERS_MAX = 128
/** chosen: events a slow reader may lag behind before it is cut off (it resumes by its last id) */
export const BACKLOG_MAX = 256

/** Distributes live events to open streams and remembers the newest for those who resume. */
export class EventHub {
  readonly #buffer: LiveEvent[] = []
  readonly #listeners = new Set<(event: LiveEvent | undefined) => void>()
  #nextId: number

  /** @param firstId must rise over restarts (wall time in ms does), so that ids of an earlier process are never reused */
  constructor(firstId: number) {
    this.#nextId = firstId
  }

  publish(type: LiveEvent['type'], data: unknown): void {
    const event: LiveEvent = { id: this.#nextId++, type, data }
    this.#buffer.push(event)
    if (this.#buffer.length > BUFFER) this.#buffer.shift()
    for (const listener of this.#listeners) listener(event)
  }

  /** Events after `lastId`, or undefined when some of them are forgotten. */
  since(lastId: number): readonly LiveEvent[] | undefined {
    const oldest = this.#buffer[0]?.id ?? this.#nextId
    if (lastId < oldest - 1 || lastId >= this.#nextId) return undefined
    return this.#buffer.filter(({ id }) => id > lastId)
  }

  get lastId(): number {
    return this.#nextId - 1
  }

  /** how many streams are open */
  get listeners(): number {
    return this.#listeners.size
  }

  /** @param listener gets every event, and undefined when the hub closes
   *  @returns how to stop, or undefined when too many listen */
  subscribe(listener: (event: LiveEvent | undefined) => void): (() => void) | undefined {
    if (this.#listeners.size >= LISTENERS_MAX) return undefined
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    for (const listener of [...this.#listeners]) listener(undefined)
    this.#listeners.clear()
  }
}
