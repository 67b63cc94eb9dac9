/** Counts by two labels, cheap enough for every message; metrics.ts and stats() read them. Cardinality is bounded by the
 *  code: labels are literals and error codes, never what a device sent. */
export class MessageCounters {
  readonly #counts = new Map<string, Map<string, number>>()

  add(kind: string, outcome: string, amount = 1): void {
    let outcomes = this.#counts.get(kind)
    if (outcomes === undefined) {
      outcomes = new Map()
      this.#counts.set(kind, outcomes)
    }
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + amount)
  }

  get(kind: string, outcome: string): number {
    return this.#counts.get(kind)?.get(outcome) ?? 0
  }

  /** Everything counted since the last call, for whoever keeps the totals. */
  take(): (readonly [kind: string, outcome: string, amount: number])[] {
    const taken = [...this.#counts].flatMap(([kind, outcomes]) =>
      [...outcomes].map(([outcome, amount]) => [kind, outcome, amount] as const),
    )
    this.#counts.clear()
    return taken
  }

  /** `{ report: { accepted: 12, duplicate: 1 }, … }` */
  snapshot(): Readonly<Record<string, Readonly<Record<string, number>>>> {
    return Object.fromEntries([...this.#counts].map(([kind, outcomes]) => [kind, Object.fromEntries(outcomes)]))
  }
}
