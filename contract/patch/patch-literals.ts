import type { BitCoder } from './bit-coder.ts'
import type { PatchVersion } from './patch-header.ts'

/** Literals: predictions from contexts, each a hashed table of probabilities, mixed in the logistic domain.
 *  @see M. Mahoney, "Adaptive weighing of context models for lossless data compression", 2005 (logistic mixing)
 */

/** The context without a byte, and five of bytes. */
const BYTE_INPUTS = 6
/** Version 2 has two more, of the byte that is foretold. */
const INPUTS: Readonly<Record<PatchVersion, number>> = { 1: BYTE_INPUTS, 2: BYTE_INPUTS + 2 }
const SETS = 12
/** Slots of the context without a byte. */
const NODES = 256
/** Slots of each of the two foretelling contexts: four places in a byte for each of sixteen histories. */
const FORETOLD = 64
/** Where the parts of the table end, in 1/4096 of what is left of the slots with a place of their own. Measured on labels and on what
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
const SLOT_LIMIT = 15
const LEARN_SHIFT = 14
/** How well the bits of a byte are foretold depends on how many were right: by the bits that are still to come, less one. */
const PLACES = Uint8Array.from([3, 3, 3, 3, 2, 2, 1, 0])

/** Codes the bytes that no copy brings. */
export class LiteralCoder {
  readonly #coder: BitCoder
  readonly #version: PatchVersion
  /** 12 bits of probability, 4 of how often it was seen */
  readonly slots: Uint16Array
  /** 16.16 */
  readonly weights: Int32Array
  /** Version 2: what the last word that was not as expected had more than was expected. */
  change = 0
  /** Version 2: how often the byte of the expected word and the change came, and how often the expected one did, of the last times that
   *  they differed and of the last literals; four bits each, the newest lowest. */
  hits = 0
  readonly #inputsOf: number
  /** first slot of each context's own part of the table, and the end of the last */
  readonly #from: Int32Array
  readonly #hashes: Int32Array
  readonly #at: Int32Array
  readonly #inputs: Int32Array

  constructor(coder: BitCoder, version: PatchVersion, slots: number) {
    this.#coder = coder
    this.#version = version
    this.#inputsOf = INPUTS[version]
    this.weights = new Int32Array(SETS * this.#inputsOf).fill(Math.round(65_536 * 0.36))
    this.slots = new Uint16Array(slots).fill(2_048 << 4)
    const own = NODES + (version === 1 ? 0 : 2 * FORETOLD)
    const shared = slots - own
    this.#from = Int32Array.from([0, ...ENDS].map((end, i) => (i === 0 ? 0 : own + Math.floor((end * shared) / 4_096))))
    this.#hashes = new Int32Array(BYTE_INPUTS)
    this.#at = new Int32Array(this.#inputsOf)
    this.#inputs = new Int32Array(this.#inputsOf)
  }

  /** Codes a byte.
   *  @param at its address in the result
   *  @param recent the four bytes before it, the nearest lowest; 0 where there are none
   *  @param word what a copy with the last shift would give from the last multiple of four of the result on up to this byte, the first
   *    lowest; -1 for none
   *  @param follows whether the step before this was a copy
   *  @param byte a reader takes no notice
   *  @returns the byte */
  byte(at: number, recent: number, word: number, follows: boolean, byte: number): number {
    const hashes = this.#hashes
    const a = recent & 0xff
    const b = (recent >>> 8) & 0xff
    const c = (recent >>> 16) & 0xff
    const d = recent >>> 24
    const place = at & 3
    const expected = word < 0 ? -1 : (word >>> (8 * place)) & 0xff
    hashes[1] = a + 0x100
    hashes[2] = (a | (b << 8)) + 0x2_0000
    hashes[3] = expected < 0 ? 0x300_0000 | place : (expected | (follows ? 2 << 8 : 0)) + 0x300_0400
    hashes[4] = (d | (place << 8)) + 0x400_0000
    hashes[5] = Math.imul(a | (b << 8) | (c << 16), 0x2c9277b5) + 5
    for (let i = 1; i < BYTE_INPUTS; i++) hashes[i] = Math.imul(hashes[i]!, 0x9e3779b1)
    const set = (place + (expected < 0 ? 0 : follows ? 4 : 8)) * this.#inputsOf
    const isForetold = this.#version > 1 && expected >= 0
    const moved = isForetold ? ((word + this.change) >>> (8 * place)) & 0xff : -1
    const differ = moved !== expected
    let byWord = isForetold && differ ? NODES + ((this.hits & 7) | (follows ? 8 : 0)) * 4 : -1
    let byByte = isForetold
      ? NODES + FORETOLD + (((this.hits >> 4) & 3) | (follows ? 4 : 0) | (differ ? 8 : 0)) * 4
      : -1
    let node = 1
    for (let i = 7; i >= 0; i--) {
      const bit = this.#bit(node, set, i, byWord, moved, byByte, expected, (byte >> i) & 1)
      if (bit !== ((moved >> i) & 1)) byWord = -1
      if (bit !== ((expected >> i) & 1)) byByte = -1
      node = node * 2 + bit
    }
    const coded = node & 0xff
    if (isForetold) this.#learn(place, recent, word, moved, expected, coded)
    return coded
  }

  #learn(place: number, recent: number, word: number, moved: number, expected: number, coded: number): void {
    let before = 0
    for (let i = place; i > 0; i--) before |= ((recent >>> (8 * (i - 1))) & 0xff) << (8 * (place - i))
    const here = (before | (coded << (8 * place))) >>> 0
    const of = this.hits
    const words = moved === expected ? of & 15 : ((of << 1) & 15) | (coded === moved ? 1 : 0)
    const bytes = (((of >> 4) << 1) & 15) | (coded === expected ? 1 : 0)
    this.hits = words | (bytes << 4)
    if (coded !== moved && here !== word) this.change = (here - word) | 0
  }

  /** @param left bits of the byte behind this one
   *  @param byWord first slot of what foretells `moved`; -1 for none, or when a bit before this one was another
   *  @param byByte the same of `expected` */
  #bit(
    node: number,
    set: number,
    left: number,
    byWord: number,
    moved: number,
    byByte: number,
    expected: number,
    wanted: number,
  ): number {
    const { slots, weights } = this
    const from = this.#from
    const hashes = this.#hashes
    const at = this.#at
    const inputs = this.#inputs
    const salt = Math.imul(node, 0x3d4d51cb)
    let sum = 0
    for (let i = 0; i < BYTE_INPUTS; i++) {
      const h = Math.imul(hashes[i]! ^ salt, 0x85ebca6b)
      const slot = i === 0 ? node : from[i]! + ((((h ^ (h >>> 15)) >>> 16) * (from[i + 1]! - from[i]!)) >>> 16)
      at[i] = slot
      const held = slots[slot]!
      const input = (STRETCH[held >>> 6]! * TRUST[held & 15]!) >> 4
      inputs[i] = input
      sum += weights[set + i]! * input
    }
    // A slot of what foretells has the probability that it is right.
    const likeMoved = (moved >> left) & 1
    const likeExpected = (expected >> left) & 1
    if (byWord >= 0) sum += this.#foretell(BYTE_INPUTS, byWord + PLACES[left]!, set, likeMoved)
    if (byByte >= 0) sum += this.#foretell(BYTE_INPUTS + 1, byByte + PLACES[left]!, set, likeExpected)
    // 16.16 × 1/256 to 1/256
    let one = squash(Math.round(sum / 65_536))
    if (one < 32) one = 32
    else if (one > 65_504) one = 65_504
    const bit = this.#coder.code(one, wanted)
    const error = (bit << 16) - one
    for (let i = 0; i < BYTE_INPUTS; i++) this.#adapt(i, set, error, bit)
    if (byWord >= 0) this.#adapt(BYTE_INPUTS, set, error, bit === likeMoved ? 1 : 0)
    if (byByte >= 0) this.#adapt(BYTE_INPUTS + 1, set, error, bit === likeExpected ? 1 : 0)
    return bit
  }

  /** @returns weight × input */
  #foretell(i: number, slot: number, set: number, like: number): number {
    const held = this.slots[slot]!
    const right = (STRETCH[held >>> 6]! * TRUST[held & 15]!) >> 4
    const input = like ? right : -right
    this.#at[i] = slot
    this.#inputs[i] = input
    return this.weights[set + i]! * input
  }

  #adapt(i: number, set: number, error: number, bit: number): void {
    const { slots, weights } = this
    weights[set + i] = weights[set + i]! + ((this.#inputs[i]! * error) >> LEARN_SHIFT)
    const slot = this.#at[i]!
    const held = slots[slot]!
    const n = held & 15
    const p = held >>> 4
    const moved = bit ? p + (((4_095 - p) * SLOT_RATES[n]!) >> 16) : p - ((p * SLOT_RATES[n]!) >> 16)
    slots[slot] = (moved << 4) | (n < SLOT_LIMIT ? n + 1 : n)
  }
}
