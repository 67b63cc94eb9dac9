import type { Clock } from '../../contract/clock.ts'
import type { Watchdog } from '../ports/watchdog.ts'

/** A watchdog on the host's clock: ends a boot that waits forever. It cannot end a loop that never gives the processor back; that
 *  takes hardware or another process. */
export class WatchdogTimer implements Watchdog {
  readonly #clock: Clock
  #cancel: () => void = () => undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  feed(timeoutMs: number, expired: () => void): void {
    this.#cancel()
    this.#cancel = this.#clock.after(timeoutMs, expired)
  }

  stop(): void {
    this.#cancel()
  }
}
