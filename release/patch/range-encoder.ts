import { BitCoder, DIRECT_BITS } from '../../contract/patch/bit-coder.ts'

const TOP = 2 ** 24

/** Writes bits; the other side of RangeDecoder. */
export class RangeEncoder extends BitCoder {
  #out = new Uint8Array(64 * 1024)
  #length = 0
  /** a carry may still reach `#held` and the 0xff bytes behind it */
  #low = 0
  #range = 0xffff_ffff
  #held = -1
  #full = 0

  override code(one: number, bit: number): number {
    const bound = (this.#range >>> 15) * (one >>> 1)
    if (bit) this.#range = bound
    else {
      this.#low += bound
      this.#range -= bound
    }
    while (this.#range < TOP) this.#shift()
    return bit
  }

  override direct(count: number, value: number): number {
    for (let left = count; left > 0; ) {
      const part = left < DIRECT_BITS ? left : DIRECT_BITS
      left -= part
      this.#range >>>= part
      this.#low += ((value >>> left) & ((1 << part) - 1)) * this.#range
      while (this.#range < TOP) this.#shift()
    }
    return value
  }

  /** @returns the bytes, without the zeros at their end that the reader makes up */
  finish(): Uint8Array {
    // The number within the range that ends in the most zero bytes.
    for (const unit of [2 ** 24, 2 ** 16, 2 ** 8, 1]) {
      const rounded = Math.ceil(this.#low / unit) * unit
      if (rounded >= this.#low + this.#range) continue
      this.#low = rounded
      break
    }
    for (let i = 0; i < 5; i++) this.#shift()
    let end = this.#length
    while (end > 0 && this.#length - end < 4 && this.#out[end - 1] === 0) end--
    return this.#out.subarray(0, end)
  }

  #shift(): void {
    if (this.#low < 0xff00_0000 || this.#low >= 2 ** 32) {
      const carry = this.#low >= 2 ** 32 ? 1 : 0
      if (this.#held >= 0) this.#push(this.#held + carry)
      for (; this.#full > 0; this.#full--) this.#push(0xff + carry)
      this.#held = Math.floor(this.#low / TOP) % 256
    } else this.#full++
    this.#low = (this.#low % TOP) * 256
    this.#range = (this.#range << 8) >>> 0
  }

  #push(byte: number): void {
    if (this.#length === this.#out.length) {
      const larger = new Uint8Array(2 * this.#length)
      larger.set(this.#out)
      this.#out = larger
    }
    this.#out[this.#length++] = byte
  }
}

/** Bits that a one takes, by its probability in 1/4096. */
const COST = Float64Array.from({ length: 4097 }, (_, p) => -Math.log2(Math.max(p, 0.5) / 4096))

/** Adds up what bits would take. */
export class BitCounter extends BitCoder {
  bits = 0

  override code(one: number, bit: number): number {
    this.bits += COST[(bit ? one : 65_536 - one) >>> 4]!
    return bit
  }

  override direct(count: number, value: number): number {
    this.bits += count
    return value
  }

  /** A copy of the adaptive bits, for `restore`. */
  save(): { readonly probability: Uint16Array; readonly seen: Uint8Array } {
    return { probability: this.probability.slice(), seen: this.seen.slice() }
  }

  restore(saved: { readonly probability: Uint16Array; readonly seen: Uint8Array }): void {
    this.probability.set(saved.probability)
    this.seen.set(saved.seen)
  }
}
