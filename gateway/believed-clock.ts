import type { Clock } from '../contract/clock.ts'
import { SERVICE_CLOCK_MS_MIN } from '../contract/time-floor.ts'
import type { Logger } from '../platform/logger.ts'

/** chosen: evidence is kept by the hour and looked at by the day; what is off by more puts wakes into days in which they were not heard */
const OFF_MS_MAX = 24 * 3_600_000

/** Whether this gateway knows the time. A board without a battery-backed clock begins in 1970, and one whose clock was set by hand may be years
 *  off; what it then says of the time of receipt is worse than nothing. So it says nothing (0), and the cloud takes its own. */
export class BelievedClock {
  readonly #clock: Clock
  readonly #logger: Pick<Logger, 'warn' | 'info'>
  /** what the cloud last said, less the monotonic clock then */
  #cloudOffsetMs: number | undefined
  #believed = true

  constructor(clock: Clock, logger: Pick<Logger, 'warn' | 'info'>) {
    this.#clock = clock
    this.#logger = logger
  }

  /** The cloud has told its time, just now. @param cloudMs Unix ms */
  cloudSaid(cloudMs: number): void {
    this.#cloudOffsetMs = cloudMs - this.#clock.monotonicMs()
  }

  /** Unix ms; 0 while the clock cannot be believed, which is logged when it changes */
  receiptMs(): number {
    const wallMs = this.#clock.wallMs()
    const cloudMs = this.#cloudOffsetMs === undefined ? wallMs : this.#cloudOffsetMs + this.#clock.monotonicMs()
    const believed = wallMs >= SERVICE_CLOCK_MS_MIN && Math.abs(wallMs - cloudMs) <= OFF_MS_MAX
    if (believed !== this.#believed) {
      this.#believed = believed
      const context = { wallMs: Math.round(wallMs), cloudMs: Math.round(cloudMs) }
      if (believed) this.#logger.info(context, 'the clock can be believed again')
      else
        this.#logger.warn(context, 'the clock cannot be right: times of receipt are left to the cloud; set the clock')
    }
    return believed ? wallMs : 0
  }

  get isBelieved(): boolean {
    return this.receiptMs() > 0
  }
}
