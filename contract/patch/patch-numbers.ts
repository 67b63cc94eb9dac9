import { type BitCoder, UINT_BITS } from './bit-coder.ts'

/** Kinds of numbers that a patch knows. Both signs of integers are one kind: only differences are coded, modulo their size. */
export const NUMBER_KINDS = ['int8', 'int16', 'int32', 'float16', 'bfloat16', 'float32'] as const
export type NumberKind = (typeof NUMBER_KINDS)[number]

interface Layout {
  readonly bytes: number
  /** bits of exponent and mantissa; 0 for integers */
  readonly exponent: number
  readonly mantissa: number
}

const LAYOUTS: Readonly<Record<NumberKind, Layout>> = {
  int8: { bytes: 1, exponent: 0, mantissa: 0 },
  int16: { bytes: 2, exponent: 0, mantissa: 0 },
  int32: { bytes: 4, exponent: 0, mantissa: 0 },
  float16: { bytes: 2, exponent: 5, mantissa: 10 },
  bfloat16: { bytes: 2, exponent: 8, mantissa: 7 },
  float32: { bytes: 4, exponent: 8, mantissa: 23 },
}
export const bytesOfNumber = (kind: NumberKind): number => LAYOUTS[kind].bytes

/** A run of numbers of one kind, and what each is predicted from. */
export interface NumberRun {
  readonly kind: NumberKind
  readonly count: number
  /** where the predicting numbers are: in the base, in the result made so far, or nowhere */
  readonly source: 'none' | 'base' | 'result'
  /** first byte of them */
  readonly offset: number
  /** int8: the value that means zero. Others: 0. */
  readonly center: number
  /** int8: numbers of one output channel, which lie together; 0 for none. Others: 0. */
  readonly channel: number
  /** int8: whether what is near decides how large a difference is expected */
  readonly local: boolean
  /** floats: the largest exponent, biased, of these numbers or of the predicting ones. Integers: 0. */
  readonly exponent: number
  /** floats without a source: low bits that are zero in every number. Others: 0. */
  readonly zeroBits: number
  /** float32 with a source: the bits of the float32 that each predicting number is multiplied with. Others: 0. */
  readonly gain: number
}

const SOURCES = ['none', 'base', 'result'] as const
/** bits of a float32 1 */
export const GAIN_ONE = 0x3f80_0000

// Adaptive bits, from `#base` on. int8, with and without a source: a bin of first bits for each local size, then mantissas.
const BINS = 13
const FIRST = 9
const INT8 = BINS * FIRST + 128
const MODE = 2 * INT8
const GAIN = MODE + 4
const WIDE = GAIN + 64
const WIDE_LENGTHS = 6
const FLOAT = WIDE + WIDE_LENGTHS * 64 + 33 * 4 + 1
const FLOAT_SIGN = FLOAT + 8 * 32
const FLOAT_HEAD = FLOAT_SIGN + 1
const SHIFT_ZERO = FLOAT_HEAD + 8 * 16
const SHIFT_LENGTH = SHIFT_ZERO + 8
const SHIFT_SIGN = SHIFT_LENGTH + 8 * 64
const SHIFT_HEAD = SHIFT_SIGN + 2
const FIELDS = SHIFT_HEAD + 33 * 4
const FIELD_KIND = FIELDS + 4 * UINT_BITS
/** Adaptive bits that runs of numbers take. */
export const NUMBER_BITS = FIELD_KIND + 8 + 4 + 2 + 2

/** Bytes of a patch that one description or one number takes at most, whatever the probabilities: a code of 2^-16 × 24 takes 12 bits. */
export const NUMBER_STEP_BYTES = 96

/** How a channel is predicted. */
const CHANNEL_MODES = { same: 0, zero: 1, gain: 2 } as const

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

/** Codes runs of numbers: a description, then one number after the other. All state of a run is a few integers here and the adaptive bits. */
export class NumberCoder {
  readonly #coder: BitCoder
  readonly #base: number
  run: NumberRun | undefined
  /** numbers of the run that are done */
  done = 0
  /** int8: numbers of the channel, their sizes in 1/16, the same for the run so far; gain in 1/256 */
  #inChannel = 0
  #channelSum = 0
  #runMean = 0
  #gain = 256
  /** wide integers and floats: how large the last ones were; floats with a source: which of the last three were as predicted */
  #last = 0

  constructor(coder: BitCoder, base: number) {
    this.#coder = coder
    this.#base = base
  }

  /** Codes the description of a run and begins it. Its bounds are the caller's to check.
   *  @param expected offsets in the base and in the result that would be the easiest to say
   *  @returns the run; undefined when the bits cannot be one */
  begin(expected: { readonly base: number; readonly result: number }, wanted?: NumberRun): NumberRun | undefined {
    const coder = this.#coder
    const field = (i: number) => this.#base + FIELDS + i * UINT_BITS
    const flag = this.#base + FIELD_KIND
    const kind = NUMBER_KINDS[coder.tree(flag, 3, wanted ? NUMBER_KINDS.indexOf(wanted.kind) : 0)]
    if (kind === undefined) return undefined
    const count = coder.uint(field(0), (wanted?.count ?? 1) - 1) + 1
    const source = SOURCES[coder.tree(flag + 8, 2, wanted ? SOURCES.indexOf(wanted.source) : 0)]
    if (source === undefined || count < 1) return undefined
    let offset = 0
    if (source !== 'none') {
      const at = source === 'base' ? expected.base : expected.result
      offset = at + coder.int(field(source === 'base' ? 1 : 2), (wanted?.offset ?? 0) - at)
    }
    const { exponent: exponentBits } = LAYOUTS[kind]
    let [center, channel, exponent, zeroBits, gain] = [0, 0, 0, 0, 0]
    let local = false
    if (kind === 'int8') {
      center = coder.direct(8, wanted?.center ?? 0)
      channel = coder.uint(field(3), wanted?.channel ?? 0)
      local = coder.bit(flag + 12, wanted?.local ? 1 : 0) === 1
    } else if (exponentBits > 0) {
      exponent = coder.direct(8, wanted?.exponent ?? 0)
      if (source === 'none') zeroBits = coder.direct(5, wanted?.zeroBits ?? 0)
      if (kind === 'float32' && source !== 'none') {
        const scaled = coder.bit(flag + 13, wanted !== undefined && wanted.gain !== GAIN_ONE ? 1 : 0) === 1
        gain = scaled ? coder.direct(32, wanted?.gain ?? 0) : GAIN_ONE
      }
      if (zeroBits > LAYOUTS[kind].mantissa - 4 && zeroBits > 0) return undefined
    }
    if (!Number.isSafeInteger(offset) || channel < 0) return undefined
    this.#start({ kind, count, source, offset, center, channel, local, exponent, zeroBits, gain })
    return this.run
  }

  #start(run: NumberRun): void {
    this.run = run
    this.done = 0
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

  /** Codes the next number of the run.
   *  @param predicting the bits of the number at the same place of the source, unsigned; 0 without a source
   *  @param value bits of the number, unsigned; a reader takes no notice
   *  @param plan how the channel that begins here is predicted; a reader takes no notice
   *  @returns the bits of the number, unsigned */
  number(predicting: number, value: number, plan: ChannelPlan = 'same'): number {
    const { run } = this
    if (run === undefined) throw new Error('a number of no run')
    this.done++
    switch (run.kind) {
      case 'int8':
        return this.#int8(run, predicting, value, plan)
      case 'int16':
        return this.#wide(predicting, value, 16)
      case 'int32':
        return this.#wide(predicting, value, 32)
      case 'float16':
      case 'bfloat16':
      case 'float32':
        return run.source === 'none'
          ? this.#float(run, LAYOUTS[run.kind], value)
          : this.#shifted(run, LAYOUTS[run.kind], predicting, value)
    }
  }

  /** What a checkpoint needs besides the adaptive bits. */
  scalars(): number[] {
    const run = this.run
    const state = [this.done, this.#inChannel, this.#channelSum, this.#runMean, this.#gain, this.#last]
    if (run === undefined) return [-1, ...new Array<number>(8).fill(0), ...state]
    const { kind, count, source, offset, center, channel, local, exponent, zeroBits, gain } = run
    const numbers = [count, SOURCES.indexOf(source), offset, center, channel, local ? 1 : 0]
    return [NUMBER_KINDS.indexOf(kind) * 32 + zeroBits, ...numbers, exponent, gain, ...state]
  }

  /** Takes over what `scalars` gave.
   *  @returns whether it can be such; bounds in base and result are the caller's to check */
  restore(next: () => number): boolean {
    const first = next()
    const kind = NUMBER_KINDS[Math.floor(first / 32)]
    const [count, sourceIndex, offset, center] = [next(), next(), next(), next()]
    const [channel, local, exponent, gain] = [next(), next() === 1, next(), next()]
    this.done = next()
    this.#inChannel = next()
    this.#channelSum = next()
    this.#runMean = next()
    this.#gain = next() & 0x1ff
    this.#last = next() & 63
    if (first === -1) return true
    const source = SOURCES[sourceIndex]
    const zeroBits = first % 32
    if (kind === undefined || source === undefined || count < 1 || channel < 0) return false
    if (zeroBits > 0 && zeroBits > LAYOUTS[kind].mantissa - 4) return false
    this.#last &= LAYOUTS[kind].exponent > 0 ? 7 : 63
    this.run = { kind, count, source, offset, center, channel, local, exponent, zeroBits, gain }
    return true
  }

  #int8(run: NumberRun, predicting: number, value: number, plan: ChannelPlan): number {
    const hasSource = run.source !== 'none'
    if (run.channel > 0 && (this.done - 1) % run.channel === 0) {
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
    const weight = this.done < 300 ? this.done + 3 : 300
    this.#runMean += ((size - this.#runMean) / weight) | 0
    return (predicted + rest + run.center) & 0xff
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

  #wide(predicting: number, value: number, bits: number): number {
    const coder = this.#coder
    const from = this.#base + WIDE
    const wanted = ((value - predicting) << (32 - bits)) >> (32 - bits)
    // -2^31 has no size within 31 bits; it is said as a length of 32.
    const wantedLength = wanted === 0 ? 0 : 32 - Math.clz32(Math.abs(wanted))
    const near = this.#last === 0 ? 0 : this.#last > 20 ? 5 : 1 + (this.#last >> 2)
    const length = coder.tree(from + (near > 5 ? 5 : near) * 64, 6, wantedLength)
    this.#last = (this.#last + length + 1) >> 1
    if (length === 0) return predicting
    const negative = coder.bit(from + WIDE_LENGTHS * 64 + 33 * 4, wanted < 0 ? 1 : 0)
    const size = this.#mantissa(from + WIDE_LENGTHS * 64, length > 32 ? 32 : length, Math.abs(wanted))
    const sum = predicting + (negative ? -size : size)
    return bits === 32 ? sum >>> 0 : sum & 0xffff
  }

  /** A number of `length` bits, its highest known to be one. */
  #mantissa(heads: number, length: number, wanted: number): number {
    const coder = this.#coder
    const top = length < 3 ? length - 1 : 2
    const low = length - 1 - top
    const head = coder.tree(heads + length * 4, top, (wanted >>> low) & ((1 << top) - 1))
    const rest = low === 0 ? 0 : coder.direct(low, (wanted & ((1 << low) - 1)) >>> 0)
    return ((((1 << top) | head) << low) | rest) >>> 0
  }

  #float(run: NumberRun, { exponent: exponentBits, mantissa }: Layout, value: number): number {
    const coder = this.#coder
    const from = this.#base + FLOAT
    const exponentMask = (1 << exponentBits) - 1
    const wantedExponent = (value >>> mantissa) & exponentMask
    const wantedBelow = run.exponent - wantedExponent
    let below = coder.tree(from + this.#last * 32, 5, wantedBelow < 0 || wantedBelow > 30 ? 31 : wantedBelow)
    let exponent = run.exponent - below
    if (below === 31 || exponent < 0) exponent = coder.direct(exponentBits, wantedExponent)
    if (below > 7) below = 7
    this.#last = below
    const sign = coder.bit(this.#base + FLOAT_SIGN, value >>> (exponentBits + mantissa))
    const low = mantissa - 4 - run.zeroBits
    const head = coder.tree(this.#base + FLOAT_HEAD + below * 16, 4, (value >>> (mantissa - 4)) & 15)
    const rest = coder.direct(low, (value >>> run.zeroBits) & ((1 << low) - 1))
    const magnitude = (exponent << mantissa) | (head << (mantissa - 4)) | (rest << run.zeroBits)
    return ((sign << (exponentBits + mantissa)) | magnitude) >>> 0
  }

  /** A float as a step from the one that predicts it, in the order of floats. */
  #shifted(run: NumberRun, layout: Layout, predicting: number, value: number): number {
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
    const size = this.#mantissa(this.#base + SHIFT_HEAD, length, wantedSize)
    return bitsOfOrdered((from + (negative ? -size : size)) | 0, signAt)
  }
}

/** How often an adaptive bit of int8 counts as seen when another tensor begins; measured on four networks: from 4 to 30 sizes differ by 0.5 %, without a bound by up to 2 %. */
const RELEARN = 30

/** Floats in their order: neighbours differ by one. */
const ordered = (bits: number, signAt: number): number => {
  const magnitude = bits & ((1 << signAt) - 1)
  return bits >>> signAt ? -1 - magnitude : magnitude
}
const bitsOfOrdered = (value: number, signAt: number): number => {
  const mask = (1 << signAt) - 1
  return (value < 0 ? (~value & mask) | (1 << signAt) : value & mask) >>> 0
}
