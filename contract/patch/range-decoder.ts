import { BitCoder } from './bit-coder.ts'

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

  override direct(count: number): number {
    let result = 0
    for (let left = count; left > 0; ) {
      const part = left < 8 ? left : 8
      const unit = this.range >>> part
      let bits = Math.floor(this.value / unit)
      if (bits >= 1 << part) bits = (1 << part) - 1
      this.value -= bits * unit
      this.range = unit
      while (this.range < TOP) {
        this.range = (this.range << 8) >>> 0
        this.value = ((this.value << 8) | this.#byte()) >>> 0
      }
      result = result * 2 ** part + bits
      left -= part
    }
    return result
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
