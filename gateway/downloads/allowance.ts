import type { Clock } from '../../contract/clock.ts'

export interface AllowanceLimits {
  /** requests of one device under way at a time */
  readonly concurrent: number
  /** requests of one device per second of the gateway's clock, and how many it may save up */
  readonly perSecond: number
  readonly burst: number
}

/** What all devices of a gateway may take together. */
export interface TotalLimits {
  /** requests under way at a time */
  readonly concurrent: number
  /** per second of the gateway's clock, and how many may be saved up */
  readonly bytesPerSecond: number
  readonly burstBytes: number
}

/** A share that fills up again with time. What is taken may exceed it once: what comes after waits until that is made up for. */
class Bucket {
  readonly #perSecond: number
  readonly #most: number
  #left: number
  #filledMs: number

  constructor(perSecond: number, most: number, nowMs: number) {
    this.#perSecond = perSecond
    this.#most = most
    this.#left = most
    this.#filledMs = nowMs
  }

  has(amount: number, nowMs: number): boolean {
    this.#left = Math.min(this.#most, this.#left + ((nowMs - this.#filledMs) * this.#perSecond) / 1000)
    this.#filledMs = nowMs
    return this.#left >= amount
  }

  take(amount: number): void {
    this.#left -= amount
  }
}

interface Allowance {
  running: number
  readonly requests: Bucket
}

/** chosen: allowances of devices remembered; one that is forgotten starts with a full burst */
const ALLOWANCES_MAX = 20_000

/** What a request has cost when it is done. */
export interface Spent {
  /** in requests of usual size, at least 1 */
  readonly requests: number
  readonly bytes: number
}

/** How much each device may still ask for, and all of them together: token buckets, and bounds on what runs at a time. */
export class Allowances {
  readonly #clock: Clock
  readonly #limits: AllowanceLimits
  readonly #total: TotalLimits | undefined
  readonly #bytes: Bucket | undefined
  readonly #byDevice = new Map<string, Allowance>()
  #running = 0

  /** @param total without it only the devices' own limits hold */
  constructor(clock: Clock, limits: AllowanceLimits, total?: TotalLimits) {
    this.#clock = clock
    this.#limits = limits
    this.#total = total
    this.#bytes = total && new Bucket(total.bytesPerSecond, total.burstBytes, clock.monotonicMs())
  }

  /** Runs the request if the device may make one now.
   *  @returns false when it may not; nothing has run then */
  async spend(device: string, request: () => Promise<Spent | undefined>): Promise<boolean> {
    const nowMs = this.#clock.monotonicMs()
    const allowance = this.#allowance(device, nowMs)
    if (allowance.running >= this.#limits.concurrent || !allowance.requests.has(1, nowMs)) return false
    if (this.#running >= (this.#total?.concurrent ?? Number.POSITIVE_INFINITY)) return false
    if (this.#bytes !== undefined && !this.#bytes.has(1, nowMs)) return false
    allowance.requests.take(1)
    allowance.running++
    this.#running++
    try {
      const spent = await request()
      if (spent !== undefined) {
        allowance.requests.take(spent.requests - 1)
        this.#bytes?.take(spent.bytes)
      }
    } finally {
      allowance.running--
      this.#running--
    }
    return true
  }

  #allowance(device: string, nowMs: number): Allowance {
    const { burst, perSecond } = this.#limits
    let allowance = this.#byDevice.get(device)
    if (allowance === undefined) {
      allowance = { running: 0, requests: new Bucket(perSecond, burst, nowMs) }
      this.#byDevice.set(device, allowance)
      if (this.#byDevice.size > ALLOWANCES_MAX) this.#byDevice.delete(this.#byDevice.keys().next().value!)
    }
    return allowance
  }
}
