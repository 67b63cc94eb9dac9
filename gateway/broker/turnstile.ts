/** Lets a bounded number of works be under way and has the others wait: of each party in the order in which they came, and the parties by
 *  turns, so that one who has many waiting delays himself. Whoever uses it bounds how many wait. */
export class Turnstile {
  readonly #max: number
  #inside = 0
  /** by party, the one whose turn is next first */
  readonly #waiting = new Map<string, (() => void)[]>()

  constructor(max: number) {
    this.#max = max
  }

  /** Works of a party that wait. */
  waitingOf(party: string): number {
    return this.#waiting.get(party)?.length ?? 0
  }

  /** @returns what `work` returns, or throws what it throws */
  async pass<T>(party: string, work: () => Promise<T>): Promise<T> {
    if (this.#inside >= this.#max) {
      await new Promise<void>((resolve) => {
        const waiting = this.#waiting.get(party)
        if (waiting === undefined) this.#waiting.set(party, [resolve])
        else waiting.push(resolve)
      })
    } else this.#inside++
    try {
      return await work()
    } finally {
      this.#leave()
    }
  }

  /** The place goes to the next one, or is free. */
  #leave(): void {
    for (const [party, waiting] of this.#waiting) {
      const next = waiting.shift()
      // Its next turn comes after everybody else's.
      this.#waiting.delete(party)
      if (waiting.length > 0) this.#waiting.set(party, waiting)
      if (next === undefined) continue
      next()
      return
    }
    this.#inside--
  }
}
