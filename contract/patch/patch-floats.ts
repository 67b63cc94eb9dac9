import { type BitCoder, MANTISSA_BITS } from './bit-coder.ts'
import { GAIN_ONE, type NumberLayout, type NumberRun } from './number-run.ts'

// Adaptive bits. Floats without a source, then floats as steps.
const BELOW = 0
const SIGN = BELOW + 8 * 32
const HEAD = SIGN + 1
const SHIFT_ZERO = HEAD + 8 * 16
const SHIFT_LENGTH = SHIFT_ZERO + 8
const SHIFT_SIGN = SHIFT_LENGTH + 8 * 64
const SHIFT_HEAD = SHIFT_SIGN + 2
/** Adaptive bits that floats take. */
export const FLOAT_BITS = SHIFT_HEAD + MANTISSA_BITS

const float = new Float32Array(1)
const floatBits = new Uint32Array(float.buffer)
const asFloat = (bits: number): number => {
  floatBits[0] = bits
  return float[0]!
}
/** Bits of the product of two float32, rounded once. What is no number has one pattern here, whatever the machine makes of it. */
const product = (a: number, b: number): number => {
  float[0] = asFloat(a) * asFloat(b)
  return Number.isNaN(float[0]) ? 0x7fc0_0000 : floatBits[0]!
}

/** Floats in their order: neighbours differ by one. */
const ordered = (bits: number, signAt: number): number => {
  const magnitude = bits & ((1 << signAt) - 1)
  return bits >>> signAt ? -1 - magnitude : magnitude
}
const bitsOfOrdered = (value: number, signAt: number): number => {
  const mask = (1 << signAt) - 1
  return (value < 0 ? (~value & mask) | (1 << signAt) : value & mask) >>> 0
}

/** Codes the floats of a run: as steps from what predicts them, or exponent by exponent. */
export class FloatCoder {
  readonly #coder: BitCoder
  readonly #base: number
  /** how far below the run's exponent the last one was; with a source: which of the last three were as predicted */
  #last = 0

  constructor(coder: BitCoder, base: number) {
    this.#coder = coder
    this.#base = base
  }

  start(): void {
    this.#last = 0
  }

  /** @see NumberCoder.scalars */
  scalars(): number[] {
    return [this.#last]
  }

  restore(next: () => number): void {
    this.#last = next() & 7
  }

  /** A float without a source. */
  float(run: NumberRun, { exponent: exponentBits, mantissa }: NumberLayout, value: number): number {
    const coder = this.#coder
    const from = this.#base + BELOW
    const exponentMask = (1 << exponentBits) - 1
    const wantedExponent = (value >>> mantissa) & exponentMask
    const wantedBelow = run.exponent - wantedExponent
    let below = coder.tree(from + this.#last * 32, 5, wantedBelow < 0 || wantedBelow > 30 ? 31 : wantedBelow)
    let exponent = run.exponent - below
    if (below === 31 || exponent < 0) exponent = coder.direct(exponentBits, wantedExponent)
    if (below > 7) below = 7
    this.#last = below
    const sign = coder.bit(this.#base + SIGN, value >>> (exponentBits + mantissa))
    const low = mantissa - 4 - run.zeroBits
    const head = coder.tree(this.#base + HEAD + below * 16, 4, (value >>> (mantissa - 4)) & 15)
    const rest = coder.direct(low, (value >>> run.zeroBits) & ((1 << low) - 1))
    const magnitude = (exponent << mantissa) | (head << (mantissa - 4)) | (rest << run.zeroBits)
    return ((sign << (exponentBits + mantissa)) | magnitude) >>> 0
  }

  /** A float as a step from the one that predicts it, in the order of floats. */
  shifted(run: NumberRun, layout: NumberLayout, predicting: number, value: number): number {
    const coder = this.#coder
    const { exponent: exponentBits, mantissa } = layout
    const signAt = exponentBits + mantissa
    const predicted = run.gain === GAIN_ONE || run.gain === 0 ? predicting : product(predicting, run.gain)
    const zero = this.#base + SHIFT_ZERO + this.#last
    const isSame = coder.bit(zero, value === predicted ? 1 : 0)
    this.#last = ((this.#last << 1) & 7) | isSame
    if (isSame) return predicted
    const from = ordered(predicted, signAt)
    const wanted = (ordered(value, signAt) - from) | 0
    const below = run.exponent - ((predicted >>> mantissa) & ((1 << exponentBits) - 1))
    const near = below < 0 ? 0 : below > 7 ? 7 : below
    const wantedSize = wanted < 0 ? 2 ** 32 - (wanted >>> 0) : wanted
    const coded = coder.tree(
      this.#base + SHIFT_LENGTH + near * 64,
      6,
      wantedSize === 0 ? 0 : 32 - Math.clz32(wantedSize),
    )
    const length = coded > 32 ? 32 : coded
    const negative = coder.bit(this.#base + SHIFT_SIGN, wanted < 0 ? 1 : 0)
    if (length === 0) return predicted
    const size = coder.mantissa(this.#base + SHIFT_HEAD, length, wantedSize)
    return bitsOfOrdered((from + (negative ? -size : size)) | 0, signAt)
  }
}
