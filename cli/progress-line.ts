import type { Clock } from '../contract/clock.ts'

/** Chosen: before, what is left is a guess that changes with every line. */
const LEFT_AFTER_MS = 3_000

/** How long the rest will take at the pace so far, for people.
 *  @param share done, above 0 */
export function timeLeft(share: number, elapsedMs: number): string {
  const seconds = Math.ceil((elapsedMs * (1 - share)) / share / 1_000)
  return seconds < 100 ? `${seconds} s left` : `${Math.ceil(seconds / 60)} min left`
}

/** One line on a terminal's standard error that says how far long work is; nothing where nobody looks. */
export class ProgressLine {
  readonly #what: string
  readonly #clock: Pick<Clock, 'monotonicMs'> | undefined
  readonly #fromMs: number
  #percent = -1

  /** @param clock for the time that is left; undefined: that is not said */
  constructor(what: string, clock?: Pick<Clock, 'monotonicMs'>) {
    this.#what = what
    this.#clock = clock
    this.#fromMs = clock?.monotonicMs() ?? 0
  }

  /** @param share done, 0 to 1 */
  show(share: number): void {
    const percent = Math.floor(100 * share)
    if (!process.stderr.isTTY || percent === this.#percent) return
    this.#percent = percent
    const elapsedMs = (this.#clock?.monotonicMs() ?? 0) - this.#fromMs
    const left = share > 0 && elapsedMs > LEFT_AFTER_MS ? `, ${timeLeft(share, elapsedMs)}` : ''
    process.stderr.write(`\r${this.#what}: ${percent} %${left}\x1b[K`)
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#percent >= 0) process.stderr.write('\r\x1b[K')
    this.#percent = -1
  }
}
