import type { Clock } from '../../contract/clock.ts'
import type { Store } from '../store/store.ts'

/** What devices run and how they are, by the newest report of each. */
export interface FleetNow {
  readonly present: ReturnType<Store['fleet']['present']>
  readonly count: ReturnType<Store['devices']['count']>
}

export const fleetNow = (store: Store, family?: string): FleetNow => ({
  present: store.fleet.present(family),
  count: store.devices.count(family),
})

/** chosen: how old what is told of a large fleet may be before it is read again, ms; it is told meanwhile */
const FRESH_MS = 5_000
/** chosen: how old it may be to be told at all */
const TOLD_MS = 60_000
/** chosen: families that are remembered */
const FAMILIES_MAX = 1_000

/** The same of a fleet that is too large to be read at every request: read beside, and told again for some seconds. */
export class FleetNowBeside {
  readonly #known = new Map<string | undefined, { readonly now: FleetNow; readonly readMs: number }>()
  readonly #asked = new Map<string | undefined, Promise<FleetNow>>()
  readonly #read: (family: string | undefined) => Promise<FleetNow>
  readonly #machine: Clock

  constructor(read: (family: string | undefined) => Promise<FleetNow>, machine: Clock) {
    this.#read = read
    this.#machine = machine
  }

  async of(family: string | undefined): Promise<FleetNow> {
    const known = this.#known.get(family)
    const ageMs = known === undefined ? Number.POSITIVE_INFINITY : this.#machine.monotonicMs() - known.readMs
    if (known !== undefined && ageMs < FRESH_MS) return known.now
    const reading = this.#asked.get(family) ?? this.#ask(family)
    if (known === undefined || ageMs > TOLD_MS) return reading
    // Whoever asks after it hears of what failed.
    reading.catch(() => undefined)
    return known.now
  }

  #ask(family: string | undefined): Promise<FleetNow> {
    const readMs = this.#machine.monotonicMs()
    const reading = this.#read(family)
      .then((now) => {
        if (this.#known.size >= FAMILIES_MAX) this.#known.clear()
        this.#known.set(family, { now, readMs })
        return now
      })
      .finally(() => this.#asked.delete(family))
    this.#asked.set(family, reading)
    return reading
  }
}
