import { type BitCoder, zigzag } from '../../contract/patch/bit-coder.ts'
import {
  BYTE_LAYOUT,
  COPY_KINDS,
  type CopyKind,
  distanceTable,
  leastLength,
  lengthTable,
} from '../../contract/patch/patch-bytes.ts'
import { BYTES_AT } from '../../contract/patch/patch-layout.ts'

/** What steps through bytes take, in bits, by the adaptive bits of a coder as they stand: estimates for choosing steps. */
export class BytePrices {
  readonly #coder: BitCoder
  /** [copy or literal][history and alignment] */
  readonly isCopy: readonly [Float32Array, Float32Array]
  readonly #kinds: Float32Array
  readonly #lengths: readonly Float32Array[]
  readonly #near: Float32Array
  readonly #base: Float32Array
  readonly #distances: readonly Float32Array[]

  constructor(coder: BitCoder) {
    this.#coder = coder
    const { IS_COPY, COPY_KIND, LENGTH, NEAR, BASE_AT, DISTANCE, UINT } = BYTE_LAYOUT
    this.isCopy = [new Float32Array(32), new Float32Array(32)]
    for (let state = 0; state < 32; state++) {
      this.isCopy[0][state] = this.#bit(BYTES_AT + IS_COPY + state, 0)
      this.isCopy[1][state] = this.#bit(BYTES_AT + IS_COPY + state, 1)
    }
    this.#kinds = new Float32Array(4 * COPY_KINDS.length)
    for (let before = 0; before < 4; before++) {
      for (let kind = 0; kind < COPY_KINDS.length; kind++) {
        this.#kinds[before * COPY_KINDS.length + kind] = this.#tree(BYTES_AT + COPY_KIND + before * 8, 3, kind)
      }
    }
    const uint = (at: number) => this.#uint(BYTES_AT + at)
    this.#lengths = [0, 1, 2].map((i) => uint(LENGTH + i * UINT))
    this.#near = uint(NEAR)
    this.#base = uint(BASE_AT)
    this.#distances = [0, 1, 2].map((i) => uint(DISTANCE + i * UINT))
  }

  #bit(index: number, bit: number): number {
    const one = this.#coder.probability[index]! / 65_536
    return -Math.log2(bit ? one : 1 - one)
  }

  #tree(base: number, count: number, value: number): number {
    let node = 1
    let bits = 0
    for (let i = count - 1; i >= 0; i--) {
      const bit = (value >>> i) & 1
      bits += this.#bit(base + node, bit)
      node = node * 2 + bit
    }
    return bits
  }

  /** By length in bits: price of the length and of all below the highest bit, as if nothing were known of it. */
  #uint(base: number): Float32Array {
    return Float32Array.from({ length: 33 }, (_, length) => this.#tree(base, 6, length) + Math.max(0, length - 1))
  }

  /** @param before the last two steps: copies or literals, see ByteCoder.history */
  kind(before: number, kind: CopyKind): number {
    return this.#kinds[before * COPY_KINDS.length + COPY_KINDS.indexOf(kind)]!
  }

  length(kind: CopyKind, length: number): number {
    return this.#lengths[lengthTable(kind)]![bitLength(length - leastLength(kind))]!
  }

  near(step: number): number {
    return this.#near[bitLength(zigzag(step))]!
  }

  base(step: number): number {
    return this.#base[bitLength(zigzag(step))]!
  }

  distance(length: number, shift: number): number {
    return this.#distances[distanceTable(length)]![bitLength(Math.floor((shift - 1) / 4))]! + 2
  }
}

const bitLength = (value: number): number => 32 - Math.clz32(value)
