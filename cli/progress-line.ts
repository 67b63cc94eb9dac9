/** One line on a terminal's standard error that says how far long work is; nothing where nobody looks. */
export class ProgressLine {
  readonly #what: string
  #percent = -1

  constructor(what: string) {
    this.#what = what
  }

  /** @param share done, 0 to 1 */
  show(share: number): void {
    const percent = Math.floor(100 * share)
    if (!process.stderr.isTTY || percent === this.#percent) return
    this.#percent = percent
    process.stderr.write(`\r${this.#what}: ${percent} %\x1b[K`)
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#percent >= 0) process.stderr.write('\r\x1b[K')
    this.#percent = -1
  }
}
