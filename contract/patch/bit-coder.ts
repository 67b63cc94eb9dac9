/** Probabilities are of a one, in units of 2^-16, and stay this far from 0 and 1: the range coder needs room for either bit. */
const P_BITS = 16
export const P_MIN = 24
export const P_MAX = 65_536 - P_MIN

/** An adaptive bit moves towards what it sees by 1/(n + 1.5) at its n-th sight, and never slower than 1/LIMIT: fast at first, since the
 *  files are small, and nearly exact in the end. Units of 2^-14, so that step × error stays inside 31 bits. */
export const SEEN_LIMIT = 250
export const RATES = Uint16Array.from({ length: SEEN_LIMIT + 1 }, (_, n) => Math.round(16_384 / (n + 1.5)))

/** Lengths of numbers, in bits, whose two second highest bits are adaptive. */
const SHORT = 5

/** Direct bits that are coded in one go: the range has 24 bits at least, so that no more than 2^-12 of it is lost. */
export const DIRECT_BITS = 12

/** Codes bits under probabilities: reads them, writes them, or adds up what they would take. What is coded under which probability is
 *  written once, for all three, in patch-bytes.ts, patch-integers.ts, patch-floats.ts and patch-numbers.ts: so decoder and encoder cannot disagree.
 *
 *  Holds the adaptive bits, `bits` of them, addressed by index.
 *  @see G. N. N. Martin, "Range encoding", 1979; Marpe, Schwarz, Wiegand, "CABAC", 2003; Wiedemann et al., "DeepCABAC", 2020
 */
export abstract class BitCoder {
  probability = new Uint16Array(0)
  seen = new Uint8Array(0)

  constructor(bits: number) {
    this.reserve(bits)
  }

  /** Makes room for so many adaptive bits, of which nothing is known. */
  reserve(bits: number): void {
    this.probability = new Uint16Array(bits).fill(1 << (P_BITS - 1))
    this.seen = new Uint8Array(bits)
  }

  /** Codes a bit.
   *  @param one probability of a one, 2^-16
   *  @param bit to be written; a reader takes no notice
   *  @returns the bit */
  abstract code(one: number, bit: number): number

  /** Codes `count` bits (at most 32) that nothing is known of, the highest first.
   *  @returns them, unsigned */
  abstract direct(count: number, value: number): number

  /** Codes an adaptive bit. */
  bit(index: number, bit: number): number {
    const one = this.probability[index]!
    const coded = this.code(one, bit)
    this.adapt(index, one, coded)
    return coded
  }

  protected adapt(index: number, one: number, bit: number): void {
    const n = this.seen[index]!
    const rate = RATES[n]!
    if (bit) {
      const next = one + (((65_536 - one) * rate) >> 14)
      this.probability[index] = next > P_MAX ? P_MAX : next
    } else {
      const next = one - ((one * rate) >> 14)
      this.probability[index] = next < P_MIN ? P_MIN : next
    }
    if (n < SEEN_LIMIT) this.seen[index] = n + 1
  }

  /** Brings adaptive bits that came from outside within what coding relies on. */
  bound(): void {
    const { probability, seen } = this
    for (let i = 0; i < probability.length; i++) {
      const one = probability[i]!
      probability[i] = one < P_MIN ? P_MIN : one > P_MAX ? P_MAX : one
      if (seen[i]! > SEEN_LIMIT) seen[i] = SEEN_LIMIT
    }
  }

  /** Codes a number of `count` bits under a tree of adaptive bits, 2^count of them from `base` (the first is not used). */
  tree(base: number, count: number, value: number): number {
    let node = 1
    for (let i = count - 1; i >= 0; i--) node = node * 2 + this.bit(base + node, (value >>> i) & 1)
    return node - (1 << count)
  }

  /** Codes a number of up to 32 bits: its length under a tree, the two bits below the highest one adaptive if it is short, the rest
   *  direct. Takes UINT_BITS adaptive bits from `base`.
   *  @returns -1 when the bits are no such number */
  uint(base: number, value: number): number {
    const length = this.tree(base, 6, value === 0 ? 0 : 32 - Math.clz32(value))
    if (length < 2) return length
    // A tree of six bits has more lengths than numbers have.
    if (length > 32) return -1
    const top = length > SHORT ? 0 : length === 2 ? 1 : 2
    const below = length - 1 - top
    const head = this.tree(base + 64 + length * 4, top, (value >>> below) & ((1 << top) - 1))
    const rest = below === 0 ? 0 : this.direct(below, (value & ((1 << below) - 1)) >>> 0)
    return ((((1 << top) | head) << below) | rest) >>> 0
  }

  /** Codes a number of `length` bits (1 to 32), its highest known to be one: the two below it adaptive, by length, the rest direct. Takes
   *  MANTISSA_BITS adaptive bits from `heads`. */
  mantissa(heads: number, length: number, wanted: number): number {
    const top = length < 3 ? length - 1 : 2
    const low = length - 1 - top
    const head = this.tree(heads + length * 4, top, (wanted >>> low) & ((1 << top) - 1))
    const rest = low === 0 ? 0 : this.direct(low, (wanted & ((1 << low) - 1)) >>> 0)
    return ((((1 << top) | head) << low) | rest) >>> 0
  }

  /** Codes a signed number as `uint` does, zero and small ones of either sign first. Within ± 2^31. */
  int(base: number, value: number): number {
    const coded = this.uint(base, zigzag(value))
    if (coded < 0) return Number.NaN
    return coded % 2 === 1 ? -(coded + 1) / 2 : coded / 2
  }
}

/** Signed numbers in the order 0, -1, 1, -2, 2, … */
export const zigzag = (value: number): number => (value < 0 ? -value * 2 - 1 : value * 2)

/** Adaptive bits that `uint` and `int` take. */
export const UINT_BITS = 64 + (SHORT + 1) * 4
/** Adaptive bits that `mantissa` takes. */
export const MANTISSA_BITS = 33 * 4
