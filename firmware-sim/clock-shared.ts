import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import type { Clock } from '../contract/clock.ts'

/** A clock that several processes of one machine share through a 40-byte file:
 *
 *      0  8  real time of the anchor, Unix ms (float64, little endian)
 *      8  8  virtual time at the anchor, Unix ms
 *     16  8  virtual ms per real ms
 *     24  8  virtual time that must not be passed, 0 for none
 *     32  8  sum of the four, so that a torn read is seen
 *
 *  The simulator grants time minute by minute and moves the anchor when it falls behind: time waits for it in every process alike,
 *  and nobody's clock is ever ahead of the devices. */
const FILE_BYTES = 40

/** Chosen: tearing takes two processes within a microsecond; ten times in a row is no accident. */
const READS_MAX = 10

/** Chosen: real time after which a timer whose clock stood still sees that it goes on, at most. */
const HELD_MS_MAX = 100

interface Anchor {
  readonly realMs: number
  readonly virtualMs: number
  readonly scale: number
  readonly untilMs: number
}

const extrapolated = ({ realMs, virtualMs, scale }: Anchor, nowMs: number): number =>
  virtualMs + (nowMs - realMs) * scale

const virtualAt = (anchor: Anchor, nowMs: number): number => {
  const free = extrapolated(anchor, nowMs)
  return anchor.untilMs === 0 ? free : Math.min(free, anchor.untilMs)
}

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
    let anchor: Anchor | undefined
    // The writer may be in the middle of it; a file that is torn again and again is something else.
    for (let attempt = 0; attempt < READS_MAX && anchor === undefined; attempt++) anchor = this.#read()
    if (anchor === undefined) {
      closeSync(this.#fd)
      throw new Error(`${path} is no shared clock`)
    }
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
    const dueMs = this.wallMs() + Math.max(0, delayMs)
    const at = { cancel: (): void => undefined }
    const wait = (leftMs: number, heldMs: number): void => {
      at.cancel = this.#real.after(Math.max(1, leftMs / this.#last.scale, heldMs), () => {
        const left = dueMs - this.wallMs()
        // Time was held back meanwhile: what is left is waited for, since a timer never runs early. While it stands still it is
        // looked at less and less often.
        if (left > 0) wait(left, left < leftMs ? 0 : Math.min(HELD_MS_MAX, 2 * Math.max(1, heldMs)))
        else callback()
      })
    }
    wait(dueMs - this.#latestMs, 0)
    return () => at.cancel()
  }

  close(): void {
    closeSync(this.#fd)
  }

  #read(): Anchor | undefined {
    if (readSync(this.#fd, this.#buffer, 0, FILE_BYTES, 0) !== FILE_BYTES) return undefined
    const field = (index: number) => this.#buffer.getFloat64(8 * index, true)
    const [realMs, virtualMs, scale, untilMs] = [field(0), field(1), field(2), field(3)]
    // A file of zeros has a right sum and no time.
    const whole = scale > 0 && realMs + virtualMs + scale + untilMs === field(4)
    return whole ? { realMs, virtualMs, scale, untilMs } : undefined
  }
}

/** The writing side: makes the file, and holds time back when the simulation cannot keep up. */
export class ClockMaster {
  readonly #fd: number
  readonly #real: Clock
  #anchor: Anchor

  /** @param startMs virtual time now, Unix ms
   *  @param scale virtual ms per real ms
   *  @param untilMs time granted so far; 0: time flows freely */
  constructor(path: string, real: Clock, startMs: number, scale: number, untilMs = 0) {
    this.#fd = openSync(path, 'w+')
    this.#real = real
    this.#anchor = { realMs: real.wallMs(), virtualMs: startMs, scale, untilMs }
    this.#write()
  }

  /** virtual ms per real ms */
  get scale(): number {
    return this.#anchor.scale
  }

  /** Where time would be without grants: what the simulation has to keep up with. */
  nowMs(): number {
    return extrapolated(this.#anchor, this.#real.wallMs())
  }

  /** Lets everybody's time run to `untilMs` and no further; 0 lets it flow freely. */
  grant(untilMs: number): void {
    this.#anchor = { ...this.#anchor, untilMs }
    this.#write()
  }

  /** Lets time go on from now at another speed.
   *  @param scale virtual ms per real ms */
  pace(scale: number): void {
    const realMs = this.#real.wallMs()
    this.#anchor = { ...this.#anchor, realMs, virtualMs: extrapolated(this.#anchor, realMs), scale }
    this.#write()
  }

  /** Lets time go on from `virtualMs`; a time later than now is taken for now. */
  holdAt(virtualMs: number): void {
    const realMs = this.#real.wallMs()
    this.#anchor = { ...this.#anchor, realMs, virtualMs: Math.min(virtualMs, extrapolated(this.#anchor, realMs)) }
    this.#write()
  }

  close(): void {
    closeSync(this.#fd)
  }

  #write(): void {
    const buffer = new DataView(new ArrayBuffer(FILE_BYTES))
    const { realMs, virtualMs, scale, untilMs } = this.#anchor
    ;[realMs, virtualMs, scale, untilMs, realMs + virtualMs + scale + untilMs].forEach((value, i) => {
      buffer.setFloat64(8 * i, value, true)
    })
    writeSync(this.#fd, buffer, 0, FILE_BYTES, 0)
  }
}
