/** A place where the same bytes stood before. */
export interface Match {
  readonly length: number
  /** address in the space */
  readonly source: number
}

/** Chosen: zeros and tables repeat everywhere; the nearest places of the same four bytes are tried, newest first, and the first ones. */
const CHAIN = 160
/** Chosen: beyond this size of base and result fewer are tried, since chains grow with what is there. */
const LARGE_BYTES = 5 << 18
const CHAIN_LARGE = 24

/** Finds earlier places of the bytes at an address: base and result are one space, searched by the hash of four bytes, and of two for
 *  what lies near. */
export class CopyFinder {
  readonly #space: Uint8Array
  readonly #hashShift: number
  readonly #head: Int32Array
  readonly #chain: Int32Array
  readonly #pairs = new Int32Array(65_536).fill(-1)
  readonly #tries: number
  #filled = 0

  constructor(space: Uint8Array) {
    this.#space = space
    this.#tries = space.length > LARGE_BYTES ? CHAIN_LARGE : CHAIN
    // About one head an address: chains of equal hashes and other bytes cost time.
    const bits = Math.min(23, Math.max(10, 32 - Math.clz32(space.length)))
    this.#hashShift = 32 - bits
    this.#head = new Int32Array(1 << bits).fill(-1)
    this.#chain = new Int32Array(space.length)
  }

  /** Forgets every address. */
  restart(): void {
    this.#head.fill(-1)
    this.#pairs.fill(-1)
    this.#filled = 0
  }

  #hash(at: number): number {
    const s = this.#space
    const word = s[at]! | (s[at + 1]! << 8) | (s[at + 2]! << 16) | (s[at + 3]! << 24)
    return Math.imul(word, 0x9e3779b1) >>> this.#hashShift
  }

  /** Makes everything below an address findable. */
  fill(end: number): void {
    const space = this.#space
    for (let at = this.#filled; at < end; at++) {
      if (at + 4 <= space.length) {
        const h = this.#hash(at)
        this.#chain[at] = this.#head[h]!
        this.#head[h] = at
      }
      if (at + 2 <= space.length) this.#pairs[space[at]! | (space[at + 1]! << 8)] = at
    }
    if (end > this.#filled) this.#filled = end
  }

  /** Bytes that are equal from two addresses on. */
  lengthOf(source: number, target: number, most: number): number {
    const space = this.#space
    let length = 0
    while (length < most && space[source + length] === space[target + length]) length++
    return length
  }

  /** Places to copy from, each longer than the one before it.
   *  @param target address, up to which everything is filled in
   *  @param most bytes that may be copied */
  find(target: number, most: number): Match[] {
    this.fill(target)
    const space = this.#space
    const found: Match[] = []
    let best = 1
    if (most >= 2) {
      const source = this.#pairs[space[target]! | (space[target + 1]! << 8)]!
      if (source >= 0) {
        best = this.lengthOf(source, target, most)
        if (best >= 2) found.push({ length: best, source })
      }
    }
    if (most < 4) return found
    let source = this.#head[this.#hash(target)]!
    for (let tried = 0; source >= 0 && tried < this.#tries && best < most; tried++) {
      if (space[source + best] === space[target + best]) {
        const length = this.lengthOf(source, target, most)
        if (length > best) {
          found.push({ length, source })
          best = length
        }
      }
      source = this.#chain[source]!
    }
    return found
  }
}
