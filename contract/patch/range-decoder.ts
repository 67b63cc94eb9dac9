import { BitCoder, DIRECT_BITS, P_MAX, P_MIN, RATES, SEEN_LIMIT } from './bit-coder.ts'

const TOP = 2 ** 24
/** Bytes a range coder writes behind its last bit at most, and so the bytes a patch may lack at its end: the reader takes them for 0. */
const TAIL_BYTES = 4

/** Reads bits from a window of bytes that its owner refills. */
export class RangeDecoder extends BitCoder {
  readonly window: Uint8Array
  /** next byte of the window, and where the bytes that have come end */
  at = 0
  end = 0
  range = 0xffff_ffff
  value = 0
  /** bytes read behind the end */
  #beyond = 0

  constructor(bits: number, windowBytes: number) {
    super(bits)
    this.window = new Uint8Array(windowBytes)
  }

  /** Takes the first four bytes. */
  begin(): void {
    for (let i = 0; i < 4; i++) this.value = ((this.value << 8) | this.#byte()) >>> 0
  }

  /** Whether more was read than any writer leaves out: the patch has been cut off. */
  get isOverrun(): boolean {
    return this.#beyond > TAIL_BYTES
  }

  override code(one: number): number {
    const bound = (this.range >>> 15) * (one >>> 1)
    let bit = 0
    if (this.value < bound) {
      this.range = bound
      bit = 1
    } else {
      this.value -= bound
      this.range -= bound
    }
    while (this.range < TOP) {
      this.range = (this.range << 8) >>> 0
      this.value = ((this.value << 8) | this.#byte()) >>> 0
    }
    return bit
  }

  /** As `code` and `adapt`, in one: most of a decoder's time is here. */
  override bit(index: number): number {
    const { probability } = this
    const one = probability[index]!
    const seen = this.seen[index]!
    const rate = RATES[seen]!
    const bound = (this.range >>> 15) * (one >>> 1)
    let range: number
    let bit: number
    if (this.value < bound) {
      range = bound
      bit = 1
      const next = one + (((65_536 - one) * rate) >> 14)
      probability[index] = next > P_MAX ? P_MAX : next
    } else {
      this.value -= bound
      range = this.range - bound
      bit = 0
      const next = one - ((one * rate) >> 14)
      probability[index] = next < P_MIN ? P_MIN : next
    }
    if (seen < SEEN_LIMIT) this.seen[index] = seen + 1
    while (range < TOP) {
      range = (range << 8) >>> 0
      this.value = ((this.value << 8) | this.#byte()) >>> 0
    }
    this.range = range
    return bit
  }

  override direct(count: number): number {
    let result = 0
    for (let left = count; left > 0; ) {
      const part = left < DIRECT_BITS ? left : DIRECT_BITS
      const unit = this.range >>> part
      let bits = (this.value / unit) >>> 0
      // What the division leaves over is no code: only a damaged patch has it.
      if (bits >>> part > 0) bits = (1 << part) - 1
      this.value = (this.value - Math.imul(bits, unit)) >>> 0
      this.range = unit
      while (this.range < TOP) {
        this.range = (this.range << 8) >>> 0
        this.value = ((this.value << 8) | this.#byte()) >>> 0
      }
      result = (result << part) | bits
      left -= part
    }
    return result >>> 0
  }

  /** What a checkpoint needs besides the window and the adaptive bits. */
  scalars(): number[] {
    return [this.range, this.value, this.#beyond]
  }

  /** Takes over what `scalars` gave. */
  restore(next: () => number): void {
    this.range = Math.max(next() >>> 0, TOP)
    this.value = next() >>> 0
    this.#beyond = next()
  }

  #byte(): number {
    if (this.at < this.end) return this.window[this.at++]!
    this.#beyond++
    return 0
  }
}
