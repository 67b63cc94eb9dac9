import { type BitCoder, UINT_BITS } from './bit-coder.ts'
import type { PatchVersion } from './patch-header.ts'
import { GUESS_BITS, LiteralCoder } from './patch-literals.ts'

/** Sources of a copy: a shift used before, one near the last shift, the base at an address, the result at a distance. */
export const COPY_KINDS = ['shift-0', 'shift-1', 'shift-2', 'near', 'base', 'result'] as const
export type CopyKind = (typeof COPY_KINDS)[number]
export const SHIFTS = 3

// Adaptive bits, from the base on.
const IS_COPY = 0
const GUESS = IS_COPY + 32
const COPY_KIND = GUESS + GUESS_BITS
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

/** Codes bytes that are no numbers, a step at a time: a literal, or a copy. Addresses are in one space, base before result; a copy's shift
 *  is how far its source lies below its target there, so that two images that move along together keep one shift. */
export class ByteCoder {
  readonly #coder: BitCoder
  readonly #base: number
  readonly #version: PatchVersion
  readonly literals: LiteralCoder
  readonly shifts = new Float64Array(SHIFTS)
  /** the last three steps, a bit each: copy or literal */
  history = 0
  /** end of the last copy from the base */
  baseEnd = 0

  constructor(coder: BitCoder, base: number, version: PatchVersion, slots: number) {
    this.#coder = coder
    this.#base = base
    this.#version = version
    this.literals = new LiteralCoder(coder, base + GUESS, version, slots)
  }

  /** Codes whether the next step is a copy. */
  isCopy(at: number, wanted: boolean): boolean {
    const state = (this.history & 7) | ((at & 3) << 3)
    const coded = this.#coder.bit(this.#base + IS_COPY + state, wanted ? 1 : 0) === 1
    this.history = ((this.history << 1) | (coded ? 1 : 0)) & 7
    return coded
  }

  /** Codes the byte of a literal. What foretells it is the byte that a copy with the last shift would give; in version 2 those before it
   *  in its word of four as well.
   *  @param at its address in the result
   *  @param target the same in the common space
   *  @param recent the four bytes before it, the nearest lowest; 0 where there are none
   *  @param byteAt byte of base or result at an address of the common space
   *  @param byte a reader takes no notice
   *  @returns the byte */
  literal(at: number, target: number, recent: number, byteAt: (address: number) => number, byte: number): number {
    const source = target - this.shifts[0]!
    let word = -1
    if (source >= 0 && source < target) {
      const place = at & 3
      word = 0
      for (let i = this.#version === 1 ? 0 : Math.min(place, source); i >= 0; i--) {
        word |= byteAt(source - i) << (8 * (place - i))
      }
      word >>>= 0
    }
    return this.literals.byte(at, recent, word, (this.history & 2) !== 0, byte)
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

/** Shortest copy that is worth its description. */
export const leastLength = (from: CopyKind): number => (from === 'base' || from === 'result' || from === 'near' ? 2 : 1)
/** Copies whose lengths are alike share the adaptive bits of them: those with a former shift, with one near it, from anywhere. */
export const lengthTable = (from: CopyKind): number =>
  from === 'near' ? 1 : from === 'base' || from === 'result' ? 2 : 0
/** Short copies come from near: distances have adaptive bits by length. */
export const distanceTable = (length: number): number => (length < 3 ? 0 : length < 6 ? 1 : 2)
const nonZero = (coded: number): number => (coded >= 0 ? coded + 1 : coded)
const fromNonZero = (step: number): number => (step > 0 ? step - 1 : step)
