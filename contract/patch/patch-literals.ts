import type { BitCoder } from './bit-coder.ts'
import type { PatchVersion } from './patch-header.ts'

/** Literals: predictions from contexts, each a hashed table of probabilities, mixed in the logistic domain.
 *  @see M. Mahoney, "Adaptive weighing of context models for lossless data compression", 2005 (logistic mixing)
 */

/** The context without a byte, and five of bytes. */
const BYTE_INPUTS = 6
/** Bytes that version 2 foretells: the expected one, and those of the expected word and each of two changes. In a file that was laid out
 *  anew most offsets differ from the old ones by one of few constants. */
const CHANGES = 2
const FORETOLD: Readonly<Record<PatchVersion, number>> = { 1: 0, 2: 1 + CHANGES }
const SETS = 12
/** Slots of the context without a byte. */
const NODES = 256
/** Slots of each byte that is foretold: for its first bit and the others, by whether it was right the last time, whether the step before
 *  was a copy, and whether a change makes a difference. Measured: longer histories and more places in the byte are no better. */
const TELLER_SLOTS = 16
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
/** Adaptive bits of the guess: by place in the word, which it is, and whether the two before the last were right. */
export const GUESS_BITS = 4 * 2 * 4
/** Weights at the beginning, 16.16. Measured: what is foretold is right more often than what its bytes are like. */
const WEIGHT = Math.round(65_536 * 0.36)
const TELLER_WEIGHT = Math.round(65_536 * 0.6)
/** Codes the bytes that no copy brings. */
export class LiteralCoder {
  readonly #coder: BitCoder
  /** 12 bits of probability, 4 of how often it was seen */
  readonly slots: Uint16Array
  /** 16.16 */
  readonly weights: Int32Array
  /** Version 2: by how much the last words that were not as expected, nor as expected and changed, differed from that; the newest first. */
  readonly changes = new Int32Array(CHANGES)
  /** Version 2: whether each byte that was foretold was right the last time, a bit each. */
  hits = 0
  /** Version 2: whether the guess was right the last three times, the newest lowest. */
  guesses = 0
  /** first of GUESS_BITS adaptive bits */
  readonly #guessAt: number
  readonly #foretold: number
  readonly #inputsOf: number
  /** first slot of each context's own part of the table, and the end of the last */
  readonly #from: Int32Array
  readonly #hashes = new Int32Array(BYTE_INPUTS)
  readonly #at: Int32Array
  readonly #inputs: Int32Array
  /** what is foretold of a byte, and the first slot of each; -1 for one that says nothing, or nothing more */
  readonly #told = new Int32Array(1 + CHANGES)
  readonly #tellers = new Int32Array(1 + CHANGES).fill(-1)

  constructor(coder: BitCoder, guessAt: number, version: PatchVersion, slots: number) {
    this.#coder = coder
    this.#guessAt = guessAt
    this.#foretold = FORETOLD[version]
    this.#inputsOf = BYTE_INPUTS + this.#foretold
    this.weights = new Int32Array(SETS * this.#inputsOf)
    for (let i = 0; i < this.weights.length; i++) {
      this.weights[i] = i % this.#inputsOf < BYTE_INPUTS ? WEIGHT : TELLER_WEIGHT
    }
    this.slots = new Uint16Array(slots).fill(2_048 << 4)
    const own = NODES + this.#foretold * TELLER_SLOTS
    const shared = slots - own
    this.#from = Int32Array.from([0, ...ENDS].map((end, i) => (i === 0 ? 0 : own + Math.floor((end * shared) / 4_096))))
    this.#at = new Int32Array(this.#inputsOf)
    this.#inputs = new Int32Array(this.#inputsOf)
  }

  /** Codes a byte.
   *  @param at its address in the result
   *  @param recent the four bytes before it, the nearest lowest; 0 where there are none
   *  @param word what a copy with the last shift would give from the last multiple of four of the result on up to this byte, the first
   *    lowest (in version 1 the last one alone counts); -1 for none
   *  @param follows whether the step before this was a copy
   *  @param byte a reader takes no notice
   *  @returns the byte */
  byte(at: number, recent: number, word: number, follows: boolean, byte: number): number {
    const place = at & 3
    const expected = word < 0 ? -1 : (word >>> (8 * place)) & 0xff
    if (this.#foretold === 0 || expected < 0) return this.#mixed(place, recent, expected, follows, byte)
    const told = this.#told
    const { changes } = this
    told[0] = expected
    told[1] = ((word + changes[0]!) >>> (8 * place)) & 0xff
    told[2] = ((word + changes[1]!) >>> (8 * place)) & 0xff
    const guess = this.#guess(follows)
    if (guess >= 0 && this.guesses & 1) {
      const likely = told[guess]!
      const index = this.#guessAt + place + 4 * guess + 8 * (this.guesses >> 1)
      if (this.#coder.bit(index, byte === likely ? 1 : 0) === 1) {
        this.#learn(place, recent, word, likely, guess)
        return likely
      }
      this.#foretell(follows)
      this.#tellers[guess] = -1
    } else this.#foretell(follows)
    const coded = this.#mixed(place, recent, expected, follows, byte)
    this.#tellers.fill(-1)
    this.#learn(place, recent, word, coded, guess)
    return coded
  }

  /** @returns which of what is foretold is the likeliest, if it is likely at all: the byte of the expected word and the change, where that
   *    was right the last time that it made a difference; else the expected byte, but for the one behind a copy: it would have been copied */
  #guess(follows: boolean): number {
    if (this.#told[0] !== this.#told[1] && this.hits & 2) return 1
    return follows ? -1 : 0
  }

  /** Sets where the slots of what is foretold are. What one says already the next ones do not say again. */
  #foretell(follows: boolean): void {
    const [first, second, third] = this.#told as unknown as [number, number, number]
    const tellers = this.#tellers
    const { hits } = this
    const state = NODES + (follows ? 4 : 0) + (first === second ? 0 : 8)
    tellers[0] = state + 2 * (hits & 1)
    tellers[1] = second === first ? -1 : state + TELLER_SLOTS + (hits & 2)
    tellers[2] = third === first || third === second ? -1 : state + 2 * TELLER_SLOTS + ((hits >> 1) & 2)
  }

  /** @param guess what was the likeliest; -1 for nothing */
  #learn(place: number, recent: number, word: number, coded: number, guess: number): void {
    const [first, second, third] = this.#told as unknown as [number, number, number]
    const { changes } = this
    let hits = (this.hits & 6) | (coded === first ? 1 : 0)
    if (second !== first) hits = (hits & 5) | (coded === second ? 2 : 0)
    if (third !== first && third !== second) hits = (hits & 3) | (coded === third ? 4 : 0)
    this.hits = hits
    if (guess >= 0) this.guesses = ((this.guesses << 1) | (coded === (guess === 0 ? first : second) ? 1 : 0)) & 7
    if (coded === second) return
    let before = 0
    for (let i = 1; i <= place; i++) before |= ((recent >>> (8 * (i - 1))) & 0xff) << (8 * (place - i))
    const here = (before | (coded << (8 * place))) >>> 0
    if (here === word) return
    // A word's second byte may show that its first told half of the change; that half is no change of its own.
    const last = changes[0]!
    const isHalf = place > 0 && ((word + last - before) & ((1 << (8 * place)) - 1)) === 0
    const isOther = coded === third
    changes[0] = isOther ? changes[1]! : (here - word) | 0
    if (isOther || !isHalf) changes[1] = last
  }

  /** Codes the eight bits of a byte, the highest first, each under the mix of all contexts. */
  #mixed(place: number, recent: number, expected: number, follows: boolean, byte: number): number {
    const { slots, weights } = this
    const coder = this.#coder
    const foretold = this.#foretold
    const from = this.#from
    const hashes = this.#hashes
    const at = this.#at
    const inputs = this.#inputs
    const told = this.#told
    const tellers = this.#tellers
    const a = recent & 0xff
    const b = (recent >>> 8) & 0xff
    const c = (recent >>> 16) & 0xff
    const d = recent >>> 24
    hashes[1] = Math.imul(a + 0x100, 0x9e3779b1)
    hashes[2] = Math.imul((a | (b << 8)) + 0x2_0000, 0x9e3779b1)
    hashes[3] = Math.imul(
      expected < 0 ? 0x300_0000 | place : (expected | (follows ? 2 << 8 : 0)) + 0x300_0400,
      0x9e3779b1,
    )
    hashes[4] = Math.imul((d | (place << 8)) + 0x400_0000, 0x9e3779b1)
    hashes[5] = Math.imul(Math.imul(a | (b << 8) | (c << 16), 0x2c9277b5) + 5, 0x9e3779b1)
    const set = (place + (expected < 0 ? 0 : follows ? 4 : 8)) * this.#inputsOf
    let node = 1
    for (let left = 7; left >= 0; left--) {
      const salt = Math.imul(node, 0x3d4d51cb)
      let sum = 0
      for (let i = 0; i < BYTE_INPUTS; i++) {
        const h = Math.imul(hashes[i]! ^ salt, 0x85ebca6b)
        const slot = i === 0 ? node : from[i]! + ((((h ^ (h >>> 15)) >>> 16) * (from[i + 1]! - from[i]!)) >>> 16)
        const held = slots[slot]!
        const input = (STRETCH[held >>> 6]! * TRUST[held & 15]!) >> 4
        at[i] = slot
        inputs[i] = input
        sum += weights[set + i]! * input
      }
      let count = BYTE_INPUTS
      for (let i = 0; i < foretold; i++) {
        if (tellers[i]! < 0) continue
        // Its slot has the probability that it is right.
        const slot = tellers[i]! + (left < 7 ? 1 : 0)
        const held = slots[slot]!
        const right = (STRETCH[held >>> 6]! * TRUST[held & 15]!) >> 4
        const input = (told[i]! >> left) & 1 ? right : -right
        at[BYTE_INPUTS + i] = slot
        inputs[BYTE_INPUTS + i] = input
        sum += weights[set + BYTE_INPUTS + i]! * input
        count = BYTE_INPUTS + i + 1
      }
      // 16.16 × 1/256 to 1/256
      let one = squash(Math.round(sum / 65_536))
      if (one < 32) one = 32
      else if (one > 65_504) one = 65_504
      const bit = coder.code(one, (byte >> left) & 1)
      const error = (bit << 16) - one
      for (let i = 0; i < count; i++) {
        let moves = bit
        if (i >= BYTE_INPUTS) {
          const teller = i - BYTE_INPUTS
          if (tellers[teller]! < 0) continue
          moves = ((told[teller]! >> left) & 1) === bit ? 1 : 0
          if (moves === 0) tellers[teller] = -1
        }
        weights[set + i] = weights[set + i]! + ((inputs[i]! * error) >> LEARN_SHIFT)
        const slot = at[i]!
        const held = slots[slot]!
        const n = held & 15
        const p = held >>> 4
        const moved = moves ? p + (((4_095 - p) * SLOT_RATES[n]!) >> 16) : p - ((p * SLOT_RATES[n]!) >> 16)
        slots[slot] = (moved << 4) | (n < SLOT_LIMIT ? n + 1 : n)
      }
      node = node * 2 + bit
    }
    return node & 0xff
  }
}
