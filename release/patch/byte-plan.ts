import { COPY_KINDS, leastLength, SHIFTS } from '../../contract/patch/patch-bytes.ts'
import type { BytePrices } from './byte-prices.ts'
import { CopyFinder } from './copy-finder.ts'
import type { Copy } from './patch-writer.ts'

/** Chosen: a copy this long is taken without looking for a better way through its bytes. */
const LONG = 384
/** Chosen: shorter ends of a copy are tried one by one up to here. */
const ENDS = 24

/** Chosen: a walk keeps 30 bytes an address, so that a long stretch is gone through in parts. A copy over the end of one goes on with the
 *  same shift in the next, for a few bits. */
const WALK_BYTES = 1 << 20

/** What each byte of the result takes as a literal, bits: where it is the byte that a copy with the last shift would give, and where it is
 *  not. Inside what is the same but for a few bytes the first is a fraction of a bit, so that going on through it literal by literal is
 *  cheaper than a copy between every two of them. */
export interface LiteralPrices {
  readonly expected: Float32Array
  readonly other: Float32Array
}

/** Part of the result that is coded as bytes. */
export interface Stretch {
  readonly from: number
  readonly end: number
}

/** What decides about later steps, carried along a stretch and from one to the next. */
interface Carried {
  shifts: [number, number, number]
  baseEnd: number
  history: number
}

/** Chooses copies for stretches of the result: the cheapest way through each, by dynamic programming over prices that stand still.
 *  Of all ways to an address only the cheapest is followed, with the shifts it leaves.
 *  @see I. Pavlov, LZMA SDK (optimal parsing with the last distances)
 */
export class BytePlanner {
  readonly #space: Uint8Array
  readonly #baseBytes: number
  /** of all plans, since nothing else of an encoder is as large */
  readonly #finder: CopyFinder

  constructor(space: Uint8Array, baseBytes: number) {
    this.#space = space
    this.#baseBytes = baseBytes
    this.#finder = new CopyFinder(space)
  }

  /** @param stretches in order; bytes between them are made by other means, and may be copied from
   *  @param literals what each byte of the result takes as a literal
   *  @param bits set to what each byte of the stretches takes
   *  @returns the copies of each stretch */
  plan(stretches: readonly Stretch[], prices: BytePrices, literals: LiteralPrices, bits?: Float32Array): Copy[][] {
    const finder = this.#finder
    finder.restart()
    const carried: Carried = { shifts: [this.#baseBytes, 0, 0], baseEnd: 0, history: 0 }
    return stretches.map(({ from, end }) => {
      const chosen: Copy[] = []
      for (let at = from; at < end; at += WALK_BYTES) {
        const part = { from: at, end: Math.min(at + WALK_BYTES, end) }
        const walk = new Walk(this.#space, this.#baseBytes, finder, prices, literals, part, carried)
        for (const copy of walk.take(bits)) chosen.push(copy)
      }
      return chosen
    })
  }
}

/** The ways through one stretch; index 0 is its first address. */
class Walk {
  readonly #bits: Float32Array
  /** how the cheapest way comes to an address: length of its last step, its shift (0 for a literal), its kind */
  readonly #length: Int32Array
  readonly #shift: Int32Array
  readonly #kind: Uint8Array
  readonly #shifts: Int32Array
  readonly #baseEnd: Int32Array
  readonly #history: Uint8Array
  readonly #space: Uint8Array
  readonly #baseBytes: number
  readonly #finder: CopyFinder
  readonly #prices: BytePrices
  readonly #literals: LiteralPrices
  readonly #from: number
  readonly #size: number
  readonly #carried: Carried

  constructor(
    space: Uint8Array,
    baseBytes: number,
    finder: CopyFinder,
    prices: BytePrices,
    literals: LiteralPrices,
    { from, end }: Stretch,
    carried: Carried,
  ) {
    this.#space = space
    this.#baseBytes = baseBytes
    this.#finder = finder
    this.#prices = prices
    this.#literals = literals
    this.#from = from
    this.#size = end - from
    this.#carried = carried
    const nodes = this.#size + 1
    this.#bits = new Float32Array(nodes).fill(Number.POSITIVE_INFINITY)
    this.#length = new Int32Array(nodes)
    this.#shift = new Int32Array(nodes)
    this.#kind = new Uint8Array(nodes)
    this.#shifts = new Int32Array(nodes * SHIFTS)
    this.#baseEnd = new Int32Array(nodes)
    this.#history = new Uint8Array(nodes)
    this.#bits[0] = 0
    this.#shifts.set(carried.shifts)
    this.#baseEnd[0] = carried.baseEnd
    this.#history[0] = carried.history
  }

  /** Walks, and leaves in `carried` what the way that was chosen leaves.
   *  @param spent bits of each byte, filled in */
  take(spent?: Float32Array): Copy[] {
    for (let i = 0; i < this.#size; ) i = this.#stepsFrom(i)
    const copies: Copy[] = []
    for (let i = this.#size; i > 0; ) {
      const length = this.#length[i]!
      const bits = (this.#bits[i]! - this.#bits[i - length]!) / length
      spent?.fill(bits, this.#from + i - length, this.#from + i)
      const shift = this.#shift[i]!
      if (shift > 0) copies.push({ at: this.#from + i - length, length, shift, from: COPY_KINDS[this.#kind[i]!]! })
      i -= length
    }
    const last = this.#size
    const shifts = this.#shifts
    this.#carried.shifts = [shifts[last * SHIFTS]!, shifts[last * SHIFTS + 1]!, shifts[last * SHIFTS + 2]!]
    this.#carried.baseEnd = this.#baseEnd[last]!
    this.#carried.history = this.#history[last]!
    return copies.reverse()
  }

  /** @returns the next address from which steps are to be looked for */
  #stepsFrom(i: number): number {
    const prices = this.#prices
    const at = this.#from + i
    const target = this.#baseBytes + at
    const most = this.#size - i
    const here = this.#bits[i]!
    const state = (this.#history[i]! & 7) | ((at & 3) << 3)
    const first = this.#shifts[i * SHIFTS]!
    const isExpected = first > 0 && first <= target && this.#space[target - first] === this.#space[target]
    const literal = isExpected ? this.#literals.expected[at]! : this.#literals.other[at]!
    this.#relax(i, 1, 0, 0, here + prices.isCopy[0][state]! + literal)

    const copy = here + prices.isCopy[1][state]!
    const before = this.#history[i]! & 3
    let longest = 0
    for (let k = 0; k < SHIFTS; k++) {
      const shift = this.#shifts[i * SHIFTS + k]!
      if (shift < 1 || shift > target) continue
      const kind = COPY_KINDS[k]!
      const length = this.#finder.lengthOf(target - shift, target, most)
      if (length === 0) continue
      const price = copy + prices.kind(before, kind)
      this.#ends(i, 1, length, shift, k, (n) => price + prices.length(kind, n))
      if (length > longest) longest = length
    }
    if (longest >= LONG) return i + longest
    let shorter = 1
    for (const { length, source } of this.#finder.find(target, most)) {
      this.#match(i, shorter + 1, length, target - source, copy, before)
      shorter = length
    }
    if (shorter >= LONG) return i + shorter
    return i + 1
  }

  #match(i: number, least: number, length: number, shift: number, copy: number, before: number): void {
    const prices = this.#prices
    const target = this.#baseBytes + this.#from + i
    const first = this.#shifts[i * SHIFTS]!
    const step = shift - first
    if (first > 0 && step !== 0 && Math.abs(step) < 65_536) {
      const price = copy + prices.kind(before, 'near') + prices.near(step > 0 ? step - 1 : step)
      this.#ends(i, least, length, shift, NEAR, (n) => price + prices.length('near', n))
    }
    if (target - shift < this.#baseBytes) {
      const price = copy + prices.kind(before, 'base') + prices.base(target - shift - this.#baseEnd[i]!)
      this.#ends(i, least, length, shift, BASE, (n) => price + prices.length('base', n))
    } else {
      const price = copy + prices.kind(before, 'result')
      this.#ends(i, least, length, shift, RESULT, (n) => price + prices.distance(n, shift) + prices.length('result', n))
    }
  }

  #ends(i: number, least: number, most: number, shift: number, kind: number, price: (length: number) => number): void {
    const shortest = Math.max(least, leastLength(COPY_KINDS[kind]!))
    for (let n = shortest; n <= most && n < shortest + ENDS; n++) this.#relax(i, n, shift, kind, price(n))
    for (let n = Math.max(shortest + ENDS, most - ENDS); n <= most; n++) this.#relax(i, n, shift, kind, price(n))
  }

  #relax(i: number, length: number, shift: number, kind: number, bits: number): void {
    const to = i + length
    if (bits >= this.#bits[to]!) return
    this.#bits[to] = bits
    this.#length[to] = length
    this.#shift[to] = shift
    this.#kind[to] = kind
    const shifts = this.#shifts
    const [a, b, c] = [shifts[i * SHIFTS]!, shifts[i * SHIFTS + 1]!, shifts[i * SHIFTS + 2]!]
    let baseEnd = this.#baseEnd[i]!
    if (shift === 0) {
      shifts[to * SHIFTS] = a
      shifts[to * SHIFTS + 1] = b
      shifts[to * SHIFTS + 2] = c
    } else {
      shifts[to * SHIFTS] = shift
      shifts[to * SHIFTS + 1] = shift === a ? b : a
      shifts[to * SHIFTS + 2] = shift === a || shift === b ? c : b
      const source = this.#baseBytes + this.#from + i - shift
      if (source < this.#baseBytes) baseEnd = Math.min(source + length, this.#baseBytes)
    }
    this.#baseEnd[to] = baseEnd
    this.#history[to] = ((this.#history[i]! << 1) | (shift > 0 ? 1 : 0)) & 7
  }
}

const NEAR = COPY_KINDS.indexOf('near')
const BASE = COPY_KINDS.indexOf('base')
const RESULT = COPY_KINDS.indexOf('result')
