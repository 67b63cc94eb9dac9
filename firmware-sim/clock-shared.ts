import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import type { Clock } from '../contract/clock.ts'

/** A clock that several processes of one machine share through a 32-byte file:
 *
 *      0  8  real time of the anchor, Unix ms (float64, little endian)
 *      8  8  virtual time at the anchor, Unix ms
 *     16  8  virtual ms per real ms
 *     24  8  sum of the three, so that a torn read is seen
 *
 *  The simulator moves the anchor when it falls behind; time then waits for it in every process alike. */
const FILE_BYTES = 32

interface Anchor {
  readonly realMs: number
  readonly virtualMs: number
  readonly scale: number
}

const virtualAt = ({ realMs, virtualMs, scale }: Anchor, nowMs: number): number => virtualMs + (nowMs - realMs) * scale

/** Reads a shared clock.
 *  @param real the machine's clock; timers run on it, scaled
 */
export class SharedClock implements Clock {
  readonly #fd: number
  readonly #real: Clock
  readonly #buffer = new DataView(new ArrayBuffer(FILE_BYTES))
  #last: Anchor
  #latestMs: number
  readonly #startMs: number

  constructor(path: string, real: Clock) {
    this.#fd = openSync(path, 'r')
    this.#real = real
    const anchor = this.#read()
    if (anchor === undefined) throw new Error(`${path} is no shared clock`)
    this.#last = anchor
    this.#latestMs = virtualAt(anchor, real.wallMs())
    this.#startMs = this.#latestMs
  }

  wallMs(): number {
    this.#last = this.#read() ?? this.#last
    // Never backwards, though the anchor may be moved to hold time back.
    this.#latestMs = Math.max(this.#latestMs, virtualAt(this.#last, this.#real.wallMs()))
    return this.#latestMs
  }

  monotonicMs(): number {
    return this.wallMs() - this.#startMs
  }

  after(delayMs: number, callback: () => void): () => void {
    return this.#real.after(Math.max(1, delayMs / this.#last.scale), callback)
  }

  close(): void {
    closeSync(this.#fd)
  }

  #read(): Anchor | undefined {
    if (readSync(this.#fd, this.#buffer, 0, FILE_BYTES, 0) !== FILE_BYTES) return undefined
    const [realMs, virtualMs, scale, sum] = [0, 8, 16, 24].map((at) => this.#buffer.getFloat64(at, true)) as [
      number,
      number,
      number,
      number,
    ]
    return realMs + virtualMs + scale === sum ? { realMs, virtualMs, scale } : undefined
  }
}

/** The writing side: makes the file, and holds time back when the simulation cannot keep up. */
export class ClockMaster {
  readonly #fd: number
  readonly #real: Clock
  #anchor: Anchor

  /** @param startMs virtual time now, Unix ms
   *  @param scale virtual ms per real ms */
  constructor(path: string, real: Clock, startMs: number, scale: number) {
    this.#fd = openSync(path, 'w+')
    this.#real = real
    this.#anchor = { realMs: real.wallMs(), virtualMs: startMs, scale }
    this.#write()
  }

  /** virtual ms per real ms */
  get scale(): number {
    return this.#anchor.scale
  }

  nowMs(): number {
    return virtualAt(this.#anchor, this.#real.wallMs())
  }

  /** Lets time go on from `virtualMs`, which must not be later than now. */
  holdAt(virtualMs: number): void {
    this.#anchor = { ...this.#anchor, realMs: this.#real.wallMs(), virtualMs }
    this.#write()
  }

  close(): void {
    closeSync(this.#fd)
  }

  #write(): void {
    const buffer = new DataView(new ArrayBuffer(FILE_BYTES))
    const { realMs, virtualMs, scale } = this.#anchor
    ;[realMs, virtualMs, scale, realMs + virtualMs + scale].forEach((value, i) => {
      buffer.setFloat64(8 * i, value, true)
    })
    writeSync(this.#fd, buffer, 0, FILE_BYTES, 0)
  }
}
