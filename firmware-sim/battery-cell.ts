import type { Battery } from '../device/ports/battery.ts'

/** A primary cell: drains by what the agent spends, and is dead at zero. */
export class BatteryCell implements Battery {
  #leftMj: number

  constructor(capacityMj: number) {
    this.#leftMj = capacityMj
  }

  remainingMj(): number {
    return this.#leftMj
  }

  spent(millijoule: number): void {
    this.#leftMj = Math.max(0, this.#leftMj - millijoule)
  }

  get dead(): boolean {
    return this.#leftMj <= 0
  }
}
