import type { Battery } from '../ports/battery.ts'

/** Where a page's agent has its energy from. */
export type PowerSource =
  | { readonly kind: 'mains' }
  /** a simulated cell: drained by what the agent accounts for, from full when the page is opened */
  | { readonly kind: 'cell'; readonly capacityMj: number }
  /** the battery of the machine, as far as its browser tells of it: its charge stands for that of a cell of this capacity */
  | { readonly kind: 'gauge'; readonly capacityMj: number }

/** The supply of the agent in a page. A machine's battery is thousands of times that of a sensor's, so its *share* counts, as that of the cell. */
export class BatteryPage implements Battery {
  readonly #source: PowerSource
  #spentMj = 0
  /** 0 to 1; undefined: the browser does not say, and the cell is taken for full */
  #share: number | undefined

  constructor(source: PowerSource) {
    this.#source = source
  }

  /** What `navigator.getBattery` says. */
  gauge(share: number): void {
    this.#share = Math.min(1, Math.max(0, share))
  }

  /** Share that is left; undefined on mains. */
  get share(): number | undefined {
    return this.#source.kind === 'mains' ? undefined : this.remainingMj() / this.#source.capacityMj
  }

  remainingMj(): number {
    switch (this.#source.kind) {
      case 'mains':
        return Number.POSITIVE_INFINITY
      case 'cell':
        return Math.max(0, this.#source.capacityMj - this.#spentMj)
      case 'gauge':
        return this.#source.capacityMj * (this.#share ?? 1)
    }
  }

  spent(millijoule: number): void {
    this.#spentMj += millijoule
  }
}
