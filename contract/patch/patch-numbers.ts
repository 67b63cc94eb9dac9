import { type BitCoder, UINT_BITS } from './bit-coder.ts'
import { GAIN_ONE, NUMBER_KINDS, NUMBER_LAYOUTS, type NumberRun, SOURCES } from './number-run.ts'
import { FLOAT_BITS, FloatCoder } from './patch-floats.ts'
import { type ChannelPlan, INTEGER_BITS, IntegerCoder } from './patch-integers.ts'

// Adaptive bits, from the base on: integers, floats, descriptions.
const FLOATS = INTEGER_BITS
const FIELDS = FLOATS + FLOAT_BITS
const FIELD_KIND = FIELDS + 4 * UINT_BITS
/** Adaptive bits that runs of numbers take. */
export const NUMBER_BITS = FIELD_KIND + 8 + 4 + 2 + 2

/** Bytes of a patch that one description or one number takes at most, whatever the probabilities: a code of 2^-16 × 24 takes 12 bits. */
export const NUMBER_STEP_BYTES = 96

/** Codes runs of numbers: a description, then one number after the other. All state of a run is a few integers here and in the coders
 *  of its numbers, and the adaptive bits. */
export class NumberCoder {
  readonly #coder: BitCoder
  readonly #base: number
  readonly #integers: IntegerCoder
  readonly #floats: FloatCoder
  run: NumberRun | undefined
  /** numbers of the run that are done */
  done = 0

  constructor(coder: BitCoder, base: number) {
    this.#coder = coder
    this.#base = base
    this.#integers = new IntegerCoder(coder, base)
    this.#floats = new FloatCoder(coder, base + FLOATS)
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
    const { exponent: exponentBits } = NUMBER_LAYOUTS[kind]
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
      if (zeroBits > NUMBER_LAYOUTS[kind].mantissa - 4 && zeroBits > 0) return undefined
    }
    if (!Number.isSafeInteger(offset) || channel < 0) return undefined
    this.#start({ kind, count, source, offset, center, channel, local, exponent, zeroBits, gain })
    return this.run
  }

  #start(run: NumberRun): void {
    this.run = run
    this.done = 0
    this.#integers.start(run)
    this.#floats.start()
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
        return this.#integers.int8(run, this.done, predicting, value, plan)
      case 'int16':
        return this.#integers.wide(predicting, value, 16)
      case 'int32':
        return this.#integers.wide(predicting, value, 32)
      case 'float16':
      case 'bfloat16':
      case 'float32':
        return run.source === 'none'
          ? this.#floats.float(run, NUMBER_LAYOUTS[run.kind], value)
          : this.#floats.shifted(run, NUMBER_LAYOUTS[run.kind], predicting, value)
    }
  }

  /** What a checkpoint needs besides the adaptive bits. */
  scalars(): number[] {
    const run = this.run
    const state = [this.done, ...this.#integers.scalars(), ...this.#floats.scalars()]
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
    this.#integers.restore(next)
    this.#floats.restore(next)
    if (first === -1) return true
    const source = SOURCES[sourceIndex]
    const zeroBits = first % 32
    if (kind === undefined || source === undefined || count < 1 || channel < 0) return false
    if (zeroBits > 0 && zeroBits > NUMBER_LAYOUTS[kind].mantissa - 4) return false
    this.run = { kind, count, source, offset, center, channel, local, exponent, zeroBits, gain }
    return true
  }
}
