import { LRUCache } from 'lru-cache'
import type { Clock } from '../../contract/clock.ts'
import { TokenBucket } from '../../platform/token-bucket.ts'
import { FairShares } from './fair-shares.ts'

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

interface Allowance {
  running: number
  readonly requests: TokenBucket
}

/** chosen: allowances of devices remembered; the one made first is forgotten, however often it was used, and starts with a full burst */
const ALLOWANCES_MAX = 20_000

/** What a request has cost when it is done. */
export interface Spent {
  /** in requests of usual size, at least 1 */
  readonly requests: number
  readonly bytes: number
}

/** A request that has begun and counts as one at a time until it has ended. */
export interface UnderWay {
  /** @param spent undefined: it came to nothing. Further calls change nothing */
  end(spent: Spent | undefined): void
}

/** How much each device may still ask for, and all of them together: token buckets, and bounds on what runs at a time. */
export class Allowances {
  readonly #clock: Clock
  readonly #limits: AllowanceLimits
  readonly #total: TotalLimits | undefined
  readonly #bytes: TokenBucket | undefined
  readonly #shares: FairShares | undefined
  readonly #byDevice = new LRUCache<string, Allowance>({ max: ALLOWANCES_MAX })
  #running = 0

  /** @param total without it only the devices' own limits hold */
  constructor(clock: Clock, limits: AllowanceLimits, total?: TotalLimits) {
    this.#clock = clock
    this.#limits = limits
    this.#total = total
    this.#shares = total && new FairShares(total.bytesPerSecond, clock.monotonicMs())
    this.#bytes =
      total && new TokenBucket({ perSecond: total.bytesPerSecond, burst: total.burstBytes }, clock.monotonicMs())
  }

  /** Runs the request if the device may make one now.
   *  @returns false when it may not; nothing has run then */
  async spend(device: string, request: () => Promise<Spent | undefined>): Promise<boolean> {
    const underWay = this.begin(device)
    if (underWay === undefined) return false
    let spent: Spent | undefined
    try {
      spent = await request()
    } finally {
      underWay.end(spent)
    }
    return true
  }

  /** Begins a request if the device may make one now.
   *  @returns undefined when it may not */
  begin(device: string): UnderWay | undefined {
    const nowMs = this.#clock.monotonicMs()
    const allowance = this.#allowance(device, nowMs)
    if (allowance.running >= this.#limits.concurrent || allowance.requests.left(nowMs) < 1) return undefined
    if (this.#running >= (this.#total?.concurrent ?? Number.POSITIVE_INFINITY)) return undefined
    if (!this.#hasBytes(device, nowMs)) return undefined
    allowance.requests.take(1)
    allowance.running++
    this.#running++
    let ended = false
    return {
      end: (spent) => {
        if (ended) return
        ended = true
        allowance.running--
        this.#running--
        if (spent === undefined) return
        allowance.requests.take(spent.requests - 1)
        this.#bytes?.take(spent.bytes)
        this.#shares?.took(device, spent.bytes)
      },
    }
  }

  /** Whether there is something left of what all have together and, once half of what is saved up is gone, of the device's part of it. */
  #hasBytes(device: string, nowMs: number): boolean {
    if (this.#bytes === undefined || this.#total === undefined || this.#shares === undefined) return true
    const mayTake = this.#shares.mayTake(device, nowMs)
    const left = this.#bytes.left(nowMs)
    return left >= 1 && (mayTake || left > this.#total.burstBytes / 2)
  }

  #allowance(device: string, nowMs: number): Allowance {
    let allowance = this.#byDevice.peek(device)
    if (allowance === undefined) {
      allowance = { running: 0, requests: new TokenBucket(this.#limits, nowMs) }
      this.#byDevice.set(device, allowance)
    }
    return allowance
  }
}
