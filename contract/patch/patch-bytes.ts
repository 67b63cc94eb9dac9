import { type BitCoder, UINT_BITS } from './bit-coder.ts'

/** Sources of a copy: a shift used before, one near the last shift, the base at an address, the result at a distance. */
export const COPY_KINDS = ['shift-0', 'shift-1', 'shift-2', 'near', 'base', 'result'] as const
export type CopyKind = (typeof COPY_KINDS)[number]
export const SHIFTS = 3

// Adaptive bits, from the base on.
const IS_COPY = 0
const COPY_KIND = IS_COPY + 64
const LENGTH = COPY_KIND + 4 * 8
const NEAR = LENGTH + 3 * UINT_BITS
const BASE_AT = NEAR + UINT_BITS
const DISTANCE = BASE_AT + UINT_BITS
const DISTANCES = 3
const DISTANCE_LOW = DISTANCE + DISTANCES * UINT_BITS
/** Where the adaptive bits of a kind begin, for who estimates what steps take. */
export const BYTE_LAYOUT = { IS_COPY, COPY_KIND, LENGTH, NEAR, BASE_AT, DISTANCE, UINT: UINT_BITS } as const
/** Adaptive bits that bytes take. */
export const BYTE_BITS = DISTANCE_LOW + 8

/** Bytes of a patch that one step takes at most. */
export const BYTE_STEP_BYTES = 48

/** Literals: predictions from six contexts, each a hashed table of probabilities, mixed in the logistic domain.
 *  @see M. Mahoney, "Adaptive weighing of context models for lossless data compression", 2005 (logistic mixing) */
const INPUTS = 6
const SETS = 12
/** Where the parts of the table end, in 1/4096 of what is left of 256 slots for the context without a byte. Measured on labels and on what
 *  is no tensor in TFLite files: parts keep the many contexts of three bytes from spoiling the few of one. */
const ENDS = [0, 1_400, 2_600, 3_050, 3_500, 4_096]
const STRETCH = Int16Array.from({ length: 1_024 }, (_, i) => {
  const p = (i + 0.5) / 1_024
  return Math.round(Math.log(p / (1 - p)) * 256)
})
/** 2^-16 × probability by the logistic value × 32 */
const SQUASH = Uint16Array.from({ length: 513 }, (_, i) => Math.round(65_536 / (1 + Math.exp((256 - i) / 32))))
const squash = (value: number): number => {
  const x = value > 2_047 ? 2_047 : value < -2_047 ? -2_047 : value
  return SQUASH[(x + 2_052) >> 3]!
}
/** How far a slot's word is believed by how often it was seen, in 1/16. */
const TRUST = Uint8Array.from({ length: 16 }, (_, n) => Math.round((16 * (n + 0.4)) / (n + 1.4)))
const SLOT_RATES = Uint16Array.from({ length: 16 }, (_, n) => Math.round(65_536 / (n + 1.6)))
const LEARN_SHIFT = 14

/** Codes bytes that are no numbers, a step at a time: a literal, or a copy. Addresses are in one space, base before result; a copy's shift
 *  is how far its source lies below its target there, so that two images that move along together keep one shift. */
export class ByteCoder {
  readonly #coder: BitCoder
  readonly #base: number
  /** 12 bits of probability, 4 of how often it was seen */
  readonly slots: Uint16Array
  /** 16.16 */
  readonly weights = new Int32Array(SETS * INPUTS).fill(Math.round(65_536 * 0.36))
  readonly shifts = new Float64Array(SHIFTS)
  /** the last three steps, a bit each: copy or literal */
  history = 0
  /** first slot of each context's own part of the table, and the end of the last */
  readonly #from: Int32Array
  readonly #hashes = new Int32Array(INPUTS)
  readonly #at = new Int32Array(INPUTS)
  readonly #inputs = new Int32Array(INPUTS)
  /** end of the last copy from the base */
  baseEnd = 0

  constructor(coder: BitCoder, base: number, slots: number) {
    this.#coder = coder
    this.#base = base
    this.slots = new Uint16Array(slots).fill(2_048 << 4)
    const shared = slots - 256
    this.#from = Int32Array.from([0, ...ENDS].map((end, i) => (i === 0 ? 0 : 256 + Math.floor((end * shared) / 4_096))))
  }

  /** Codes whether the next step is a copy. */
  isCopy(at: number, wanted: boolean): boolean {
    const state = (this.history & 7) | ((at & 3) << 3)
    const coded = this.#coder.bit(this.#base + IS_COPY + state, wanted ? 1 : 0) === 1
    this.history = ((this.history << 1) | (coded ? 1 : 0)) & 7
    return coded
  }

  /** Codes the byte of a literal.
   *  @param at its address in the result
   *  @param recent the four bytes before it, the nearest lowest; 0 where there are none
   *  @param expected the byte that a copy with the last shift would give; -1 for none */
  literal(at: number, recent: number, expected: number, byte: number): number {
    const hashes = this.#hashes
    const a = recent & 0xff
    const b = (recent >>> 8) & 0xff
    const c = (recent >>> 16) & 0xff
    const d = recent >>> 24
    const follows = this.history & 2
    hashes[1] = a + 0x100
    hashes[2] = (a | (b << 8)) + 0x2_0000
    hashes[3] = expected < 0 ? 0x300_0000 | (at & 3) : (expected | (follows << 8)) + 0x300_0400
    hashes[4] = (d | ((at & 3) << 8)) + 0x400_0000
    hashes[5] = Math.imul(a | (b << 8) | (c << 16), 0x2c9277b5) + 5
    for (let i = 1; i < INPUTS; i++) hashes[i] = Math.imul(hashes[i]!, 0x9e3779b1)
    const set = ((at & 3) + (expected < 0 ? 0 : follows ? 4 : 8)) * INPUTS
    let node = 1
    for (let i = 7; i >= 0; i--) node = node * 2 + this.#literalBit(node, set, (byte >> i) & 1)
    return node & 0xff
  }

  #literalBit(node: number, set: number, wanted: number): number {
    const { slots, weights } = this
    const from = this.#from
    const hashes = this.#hashes
    const at = this.#at
    const inputs = this.#inputs
    const salt = Math.imul(node, 0x3d4d51cb)
    let sum = 0
    for (let i = 0; i < INPUTS; i++) {
      const h = Math.imul(hashes[i]! ^ salt, 0x85ebca6b)
      const slot = i === 0 ? node : from[i]! + ((((h ^ (h >>> 15)) >>> 16) * (from[i + 1]! - from[i]!)) >>> 16)
      at[i] = slot
      const held = slots[slot]!
      const input = (STRETCH[held >>> 6]! * TRUST[held & 15]!) >> 4
      inputs[i] = input
      sum += weights[set + i]! * input
    }
    // 16.16 × 1/256 to 1/256
    let one = squash(Math.round(sum / 65_536))
    if (one < 32) one = 32
    else if (one > 65_504) one = 65_504
    const bit = this.#coder.code(one, wanted)
    const error = (bit << 16) - one
    for (let i = 0; i < INPUTS; i++) {
      weights[set + i] = weights[set + i]! + ((inputs[i]! * error) >> LEARN_SHIFT)
      const held = slots[at[i]!]!
      const n = held & 15
      const p = held >>> 4
      const moved = bit ? p + (((4_095 - p) * SLOT_RATES[n]!) >> 16) : p - ((p * SLOT_RATES[n]!) >> 16)
      slots[at[i]!] = (moved << 4) | (n < SLOT_LIMIT ? n + 1 : n)
    }
    return bit
  }

  /** Codes a copy. The caller checks that its source lies before its target and its length within what is left.
   *  @param target address of its first byte in the common space
   *  @param baseBytes bytes of the base
   *  @returns length and shift; undefined when the bits cannot be a copy */
  copy(
    target: number,
    baseBytes: number,
    wanted?: { readonly length: number; readonly from: CopyKind; readonly shift: number },
  ): { readonly length: number; readonly shift: number } | undefined {
    const coder = this.#coder
    const before = (this.history >> 1) & 3
    const index = coder.tree(this.#base + COPY_KIND + before * 8, 3, wanted ? COPY_KINDS.indexOf(wanted.from) : 0)
    const from = COPY_KINDS[index]
    if (from === undefined) return undefined
    const lengths = this.#base + LENGTH + lengthTable(from) * UINT_BITS
    const least = leastLength(from)
    const length = coder.uint(lengths, (wanted?.length ?? least) - least) + least
    const { shifts } = this
    let shift: number
    if (index < SHIFTS) shift = shifts[index]!
    else if (from === 'near')
      shift = shifts[0]! + nonZero(coder.int(this.#base + NEAR, wanted ? fromNonZero(wanted.shift - shifts[0]!) : 0))
    else if (from === 'base') {
      const at = coder.int(this.#base + BASE_AT, wanted ? target - wanted.shift - this.baseEnd : 0) + this.baseEnd
      shift = target - at
    } else {
      const distance = wanted ? wanted.shift - 1 : 0
      // Tables of numbers repeat at multiples of four: the two low bits are worth a tree of their own.
      const high = coder.uint(this.#base + DISTANCE + distanceTable(length) * UINT_BITS, Math.floor(distance / 4))
      shift = high * 4 + coder.tree(this.#base + DISTANCE_LOW, 2, distance % 4) + 1
      if (high < 0) return undefined
    }
    if (length < least || !Number.isSafeInteger(shift) || shift < 1 || shift > target) return undefined
    this.#remember(shift)
    const source = target - shift
    if (source < baseBytes) this.baseEnd = Math.min(source + length, baseBytes)
    return { length, shift }
  }

  #remember(shift: number): void {
    const { shifts } = this
    let i = 0
    while (i < SHIFTS - 1 && shifts[i] !== shift) i++
    for (; i > 0; i--) shifts[i] = shifts[i - 1]!
    shifts[0] = shift
  }
}

const SLOT_LIMIT = 15
/** Shortest copy that is worth its description. */
export const leastLength = (from: CopyKind): number => (from === 'base' || from === 'result' || from === 'near' ? 2 : 1)
/** Copies whose lengths are alike share the adaptive bits of them: those with a former shift, with one near it, from anywhere. */
export const lengthTable = (from: CopyKind): number =>
  from === 'near' ? 1 : from === 'base' || from === 'result' ? 2 : 0
/** Short copies come from near: distances have adaptive bits by length. */
export const distanceTable = (length: number): number => (length < 3 ? 0 : length < 6 ? 1 : 2)
const nonZero = (coded: number): number => (coded >= 0 ? coded + 1 : coded)
const fromNonZero = (step: number): number => (step > 0 ? step - 1 : step)
