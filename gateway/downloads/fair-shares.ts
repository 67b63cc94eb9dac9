/** chosen: a share is measured by the second, as rates are */
const WINDOW_MS = 1_000

/** Who has taken how much of what is shared, a second at a time: while there is not enough for all, nobody gets more than his part of it, and
 *  what one took beyond it he owes in the next seconds. */
export class FairShares {
  readonly #perSecond: number
  #startMs: number
  /** units taken, by party; every party that asked is in it */
  #taken = new Map<string, number>()
  #partiesBefore = 0

  /** @param perSecond units that all have together
   *  @param nowMs monotonic, as of `mayTake` */
  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond
    this.#startMs = nowMs
  }

  /** Whether a party has had less than its part of this second. Asking makes it one of those who share. */
  mayTake(party: string, nowMs: number): boolean {
    if (nowMs - this.#startMs >= WINDOW_MS) this.#next(nowMs)
    const taken = this.#taken.get(party) ?? 0
    this.#taken.set(party, taken)
    return taken < this.#share
  }

  took(party: string, units: number): void {
    this.#taken.set(party, (this.#taken.get(party) ?? 0) + units)
  }

  get #share(): number {
    return this.#perSecond / Math.max(1, this.#partiesBefore, this.#taken.size)
  }

  #next(nowMs: number): void {
    const paid = (this.#share * (nowMs - this.#startMs)) / WINDOW_MS
    const owing = new Map<string, number>()
    for (const [party, taken] of this.#taken) if (taken > paid) owing.set(party, taken - paid)
    this.#partiesBefore = this.#taken.size
    this.#taken = owing
    this.#startMs = nowMs
  }
}
