import { type BitCoder, MANTISSA_BITS } from './bit-coder.ts'
import type { NumberRun } from './number-run.ts'

// Adaptive bits. int8, with and without a source: a bin of first bits for each local size, then mantissas.
const BINS = 13
const FIRST = 9
const INT8 = BINS * FIRST + 128
const MODE = 2 * INT8
const GAIN = MODE + 4
const WIDE = GAIN + 64
const WIDE_LENGTHS = 6
const WIDE_HEAD = WIDE + WIDE_LENGTHS * 64
const WIDE_SIGN = WIDE_HEAD + MANTISSA_BITS
/** Adaptive bits that integers take. */
export const INTEGER_BITS = WIDE_SIGN + 1

/** How a channel is predicted. */
const CHANNEL_MODES = { same: 0, zero: 1, gain: 2 } as const

const GAIN_CODE_BITS = 6
/** What a channel's gain code (0 to 63) multiplies with, in 1/256: 0.75 to 1.246. */
export const channelGain = (code: number): number => 192 + 2 * code
/** @param shift the predicting number less its center, -128 to 127 */
export const scaleShift = (shift: number, gain: number): number => {
  const scaled = (shift * gain + 128) >> 8
  return scaled > 127 ? 127 : scaled < -128 ? -128 : scaled
}

/** How a channel of int8 is predicted: as it is, not at all, or scaled by a gain code. */
export type ChannelPlan = 'same' | 'zero' | number

/** How often an adaptive bit of int8 counts as seen when another tensor begins; measured on four networks: from 4 to 30 sizes differ by 0.5 %, without a bound by up to 2 %. */
const RELEARN = 30

/** Codes the integers of a run as differences from what predicts them, modulo their size. */
export class IntegerCoder {
  readonly #coder: BitCoder
  readonly #base: number
  /** int8: numbers of the channel, their sizes in 1/16, the same for the run so far; gain in 1/256 */
  #inChannel = 0
  #channelSum = 0
  #runMean = 0
  #gain = 256
  /** int16 and int32: how large the last ones were */
  #last = 0

  constructor(coder: BitCoder, base: number) {
    this.#coder = coder
    this.#base = base
  }

  start(run: NumberRun): void {
    this.#inChannel = 0
    this.#channelSum = 0
    this.#runMean = run.source === 'none' ? 400 : 64
    this.#gain = run.source === 'none' ? 0 : 256
    this.#last = 0
    if (run.kind !== 'int8') return
    // Another tensor is another distribution: what was learnt of the last one is a beginning, and no more.
    const { seen } = this.#coder
    const from = this.#base + (run.source === 'none' ? 0 : INT8)
    for (let i = from; i < from + INT8; i++) if (seen[i]! > RELEARN) seen[i] = RELEARN
  }

  /** @see NumberCoder.scalars */
  scalars(): number[] {
    return [this.#inChannel, this.#channelSum, this.#runMean, this.#gain, this.#last]
  }

  restore(next: () => number): void {
    this.#inChannel = next()
    this.#channelSum = next()
    this.#runMean = next()
    this.#gain = next() & 0x1ff
    this.#last = next() & 63
  }

  /** @param done numbers of the run up to this one, at least 1
   *  @see NumberCoder.number for the other parameters */
  int8(run: NumberRun, done: number, predicting: number, value: number, plan: ChannelPlan): number {
    const hasSource = run.source !== 'none'
    if (run.channel > 0 && (done - 1) % run.channel === 0) {
      this.#inChannel = 0
      this.#channelSum = 0
      if (hasSource) this.#gain = this.#channelMode(plan)
    } else if (run.channel === 0 && this.#inChannel === 64) {
      this.#inChannel >>= 1
      this.#channelSum >>= 1
    }
    let predicted = 0
    if (hasSource) {
      predicted = ((predicting - run.center) << 24) >> 24
      if (this.#gain !== 256) predicted = scaleShift(predicted, this.#gain)
    }
    let bin = 0
    if (run.local) {
      const expected = ((this.#channelSum + 6 * this.#runMean) / (this.#inChannel + 6)) | 0
      const length = 31 - Math.clz32(expected | 1)
      bin = length < 2 ? 1 : 2 * length - 2 + ((expected >>> (length - 1)) & 1)
      if (bin >= BINS) bin = BINS - 1
    }
    const from = this.#base + (hasSource ? INT8 : 0)
    const rest = this.#difference(
      from + bin * FIRST,
      from + BINS * FIRST,
      ((value - run.center - predicted) << 24) >> 24,
    )
    const size = (rest < 0 ? -rest : rest) << 4
    this.#channelSum += size
    this.#inChannel++
    const weight = done < 300 ? done + 3 : 300
    this.#runMean += ((size - this.#runMean) / weight) | 0
    return (predicted + rest + run.center) & 0xff
  }

  /** int16 and int32. */
  wide(predicting: number, value: number, bits: number): number {
    const coder = this.#coder
    const from = this.#base + WIDE
    const wanted = ((value - predicting) << (32 - bits)) >> (32 - bits)
    // -2^31 has no size within 31 bits; it is said as a length of 32.
    const wantedLength = wanted === 0 ? 0 : 32 - Math.clz32(Math.abs(wanted))
    const near = this.#last === 0 ? 0 : this.#last > 20 ? 5 : 1 + (this.#last >> 2)
    const length = coder.tree(from + (near > 5 ? 5 : near) * 64, 6, wantedLength)
    this.#last = (this.#last + length + 1) >> 1
    if (length === 0) return predicting
    const negative = coder.bit(this.#base + WIDE_SIGN, wanted < 0 ? 1 : 0)
    const size = coder.mantissa(this.#base + WIDE_HEAD, length > 32 ? 32 : length, Math.abs(wanted))
    const sum = predicting + (negative ? -size : size)
    return bits === 32 ? sum >>> 0 : sum & 0xffff
  }

  #channelMode(plan: ChannelPlan): number {
    const coder = this.#coder
    const wanted = typeof plan === 'number' ? CHANNEL_MODES.gain : CHANNEL_MODES[plan]
    const mode = coder.tree(this.#base + MODE, 2, wanted)
    if (mode === CHANNEL_MODES.zero) return 0
    if (mode !== CHANNEL_MODES.gain) return 256
    return channelGain(coder.tree(this.#base + GAIN, GAIN_CODE_BITS, typeof plan === 'number' ? plan : 0))
  }

  /** A difference of -128 to 127: zero, sign, the power of two below it in unary, the rest as a tree. */
  #difference(first: number, mantissas: number, wanted: number): number {
    const coder = this.#coder
    if (coder.bit(first, wanted === 0 ? 1 : 0)) return 0
    const negative = coder.bit(first + 1, wanted < 0 ? 1 : 0)
    const size = (wanted < 0 ? -wanted : wanted) - 1
    const wantedPower = 31 - Math.clz32(size + 1)
    let power = 0
    while (power < 7 && coder.bit(first + 2 + power, power < wantedPower ? 1 : 0)) power++
    let rest = 0
    if (power > 0 && power < 7) {
      let node = 1
      const tree = mantissas + (1 << power) - 2 - 1
      for (let i = power - 1; i >= 0; i--) node = node * 2 + coder.bit(tree + node, ((size + 1) >>> i) & 1)
      rest = node - (1 << power)
    }
    const magnitude = (1 << power) + rest
    return negative ? -magnitude : magnitude
  }
}
