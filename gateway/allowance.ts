import type { Clock } from '../contract/clock.ts'

export interface AllowanceLimits {
  /** requests of one device under way at a time */
  readonly concurrent: number
  /** requests of one device per second of the gateway's clock, and how many it may save up */
  readonly perSecond: number
  readonly burst: number
}

interface Allowance {
  running: number
  tokens: number
  refilledMs: number
}

/** chosen: allowances of devices remembered; one that is forgotten starts with a full burst */
const ALLOWANCES_MAX = 20_000

/** How much each device may still ask for: a token bucket and a bound on what runs at a time. */
export class Allowances {
  readonly #clock: Clock
  readonly #limits: AllowanceLimits
  readonly #byDevice = new Map<string, Allowance>()

  constructor(clock: Clock, limits: AllowanceLimits) {
    this.#clock = clock
    this.#limits = limits
  }

  /** Runs the request if the device may make one now.
   *  @returns false when it may not; nothing has run then */
  async spend(device: string, request: () => Promise<void>): Promise<boolean> {
    const allowance = this.#refilled(device)
    if (allowance.running >= this.#limits.concurrent || allowance.tokens < 1) return false
    allowance.tokens--
    allowance.running++
    try {
      await request()
    } finally {
      allowance.running--
    }
    return true
  }

  #refilled(device: string): Allowance {
    const now = this.#clock.monotonicMs()
    const { burst, perSecond } = this.#limits
    let allowance = this.#byDevice.get(device)
    if (allowance === undefined) {
      allowance = { running: 0, tokens: burst, refilledMs: now }
      this.#byDevice.set(device, allowance)
      if (this.#byDevice.size > ALLOWANCES_MAX) this.#byDevice.delete(this.#byDevice.keys().next().value!)
    }
    allowance.tokens = Math.min(burst, allowance.tokens + ((now - allowance.refilledMs) * perSecond) / 1000)
    allowance.refilledMs = now
    return allowance
  }
}
