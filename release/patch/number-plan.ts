import { bytesOfNumber, GAIN_ONE, type NumberKind, type NumberRun } from '../../contract/patch/number-run.ts'
import { type ChannelPlan, channelGain, scaleShift } from '../../contract/patch/patch-integers.ts'
import { PATCH_MEMORY } from '../../contract/patch/patch-layout.ts'
import type { FixedElementType } from '../../model/element-type.ts'
import type { MappedTensor } from '../../model/mapped-tensor.ts'
import { PatchWriter, type PlacedRun } from './patch-writer.ts'
import { BitCounter } from './range-encoder.ts'

const KIND_OF: Partial<Record<FixedElementType, NumberKind>> = {
  int8: 'int8',
  uint8: 'int8',
  int16: 'int16',
  uint16: 'int16',
  int32: 'int32',
  uint32: 'int32',
  float16: 'float16',
  bfloat16: 'bfloat16',
  float32: 'float32',
}
/** Chosen: a run's description takes as many bytes as these numbers. */
const NUMBERS_MIN = 8
/** Chosen: about what a description takes at least, and the length of the stretch behind a run. */
const RUN_BITS = 48
const STRETCH_BITS = 16
/** Chosen: tensors of another name that may be the same one renamed. */
const RENAMED_MAX = 6
/** Exponents that a float without a source says without an escape: 0 to 30 below the run's. */
const EXPONENT_SPAN = 31
/** Chosen: longer lists are not tried as a whole in each way. */
const LONG_BYTES = 1 << 16
/** Chosen: lists of numbers of which another one may be a multiple. */
const MULTIPLES_MAX = 24

/** Chooses for tensors of the result whether and how they are coded as numbers: against which numbers of the base or the result, scaled
 *  how. Each way is tried out on a coder that counts; a tensor becomes a run where that is cheaper than its bytes.
 */
export class NumberPlanner {
  readonly #space: Uint8Array
  readonly #baseBytes: number
  readonly #baseTensors: readonly MappedTensor[]
  readonly #byName: ReadonlyMap<string, MappedTensor>
  readonly #counter = new BitCounter(PATCH_MEMORY.numbers.bits)
  readonly #writer: PatchWriter

  constructor(space: Uint8Array, baseBytes: number, baseTensors: readonly MappedTensor[]) {
    this.#space = space
    this.#baseBytes = baseBytes
    this.#baseTensors = baseTensors
    this.#byName = new Map(baseTensors.map((tensor) => [tensor.name, tensor]))
    this.#writer = new PatchWriter(this.#counter, space, baseBytes, 1, 0)
  }

  /** @param tensors of the result, in order
   *  @param bytesBits what each byte of the result takes when it is coded as bytes
   *  @returns runs, in order */
  plan(
    tensors: readonly MappedTensor[],
    bytesBits: Float32Array,
    onProgress: (bytes: number) => void = () => undefined,
  ): PlacedRun[] {
    const runs: PlacedRun[] = []
    const lists: MappedTensor[] = []
    for (const tensor of tensors) {
      const kind = KIND_OF[tensor.elementType]
      const { offset, length } = tensor.range
      onProgress(offset)
      if (kind === undefined || length < NUMBERS_MIN * bytesOfNumber(kind)) continue
      let best = 0
      for (let at = offset; at < offset + length; at++) best += bytesBits[at]!
      // What is copied whole is left alone.
      let chosen: PlacedRun | undefined
      if (best > RUN_BITS) {
        const before = this.#counter.save()
        let after = before
        for (const placed of this.#likely(this.#candidates(tensor, kind, lists), length)) {
          const bits = this.#try(placed)
          if (bits < best) {
            best = bits
            chosen = placed
            after = this.#counter.save()
          }
          this.#counter.restore(before)
        }
        if (chosen !== undefined) {
          this.#counter.restore(after)
          runs.push(chosen)
        }
      }
      if (kind === 'float32' && length >= 4 * NUMBERS_MIN) lists.push(tensor)
    }
    return runs
  }

  /** Of a long list the candidate whose beginning takes least; of a shorter one all. */
  *#likely(candidates: Generator<PlacedRun>, length: number): Generator<PlacedRun> {
    if (length <= LONG_BYTES) {
      yield* candidates
      return
    }
    const before = this.#counter.save()
    let least = Number.POSITIVE_INFINITY
    let likely: PlacedRun | undefined
    for (const placed of candidates) {
      const count = Math.floor(LONG_BYTES / bytesOfNumber(placed.run.kind))
      const bits = this.#try({ ...placed, run: { ...placed.run, count } })
      this.#counter.restore(before)
      if (bits >= least) continue
      least = bits
      likely = placed
    }
    if (likely !== undefined) yield likely
  }

  #try(placed: PlacedRun): number {
    this.#counter.bits = 0
    this.#writer.run(placed)
    return this.#counter.bits + STRETCH_BITS
  }

  *#candidates(tensor: MappedTensor, kind: NumberKind, lists: readonly MappedTensor[]): Generator<PlacedRun> {
    const { offset: at, length } = tensor.range
    const count = length / bytesOfNumber(kind)
    const plain = { kind, count, center: 0, channel: 0, local: false, exponent: 0, zeroBits: 0, gain: 0 } as const
    const sources = this.#sources(tensor)
    if (kind === 'int8') {
      const center = this.#center(tensor)
      for (const local of [false, true]) {
        yield { at, run: { ...plain, source: 'none', offset: 0, center, local }, channels: [] }
      }
      const channel = channelOf(tensor)
      for (const { range } of sources) {
        for (const local of [false, true]) {
          const run: NumberRun = { ...plain, source: 'base', offset: range.offset, center, local }
          yield { at, run, channels: [] }
          if (channel > 0) yield { at, run: { ...run, channel }, channels: this.#channels(at, { ...run, channel }) }
        }
      }
      return
    }
    if (kind === 'int16' || kind === 'int32') {
      yield { at, run: { ...plain, source: 'none', offset: 0 }, channels: [] }
      for (const { range } of sources) {
        yield { at, run: { ...plain, source: 'base', offset: range.offset }, channels: [] }
      }
      return
    }
    const result = this.#baseBytes + at
    const exponent = this.#exponent(kind, result, count)
    yield {
      at,
      run: { ...plain, source: 'none', offset: 0, exponent, zeroBits: this.#zeroBits(kind, result, count) },
      channels: [],
    }
    for (const { range } of sources) {
      const run = {
        ...plain,
        source: 'base',
        offset: range.offset,
        exponent,
        gain: kind === 'float32' ? GAIN_ONE : 0,
      } as const
      yield { at, run, channels: [] }
      if (kind === 'float32') yield* this.#multiples(at, run, range.offset)
    }
    if (kind !== 'float32' || count > 65_536) return
    const equal = lists.filter((list) => list.range.length === length).slice(-MULTIPLES_MAX)
    for (const { range } of equal) {
      const run = { ...plain, source: 'result', offset: range.offset, exponent, gain: GAIN_ONE } as const
      yield* this.#multiples(at, run, this.#baseBytes + range.offset)
    }
  }

  /** Tensors of the base that may predict one: of the same name, or failing that of the same type and size. */
  #sources(tensor: MappedTensor): MappedTensor[] {
    const fits = (other: MappedTensor | undefined): other is MappedTensor =>
      other !== undefined && other.elementType === tensor.elementType && other.range.length === tensor.range.length
    const named = this.#byName.get(tensor.name)
    if (fits(named)) return [named]
    const sampled = this.#baseTensors.filter(fits).map((other) => ({
      other,
      equal: this.#equalBytes(other.range.offset, tensor.range.offset, tensor.range.length),
    }))
    // Where nothing but chance agrees none is better than another: the first ones are tried.
    sampled.sort((a, b) => b.equal - a.equal)
    return sampled.slice(0, RENAMED_MAX).map(({ other }) => other)
  }

  #equalBytes(base: number, result: number, length: number): number {
    const space = this.#space
    const from = this.#baseBytes + result
    let equal = 0
    for (let i = 0; i < length && i < 2_048; i++) if (space[base + i] === space[from + i]) equal++
    return equal
  }

  #center({ elementType, quantization, range }: MappedTensor): number {
    const zero = quantization?.zeroPoints[0]
    if (zero !== undefined) return zero & 0xff
    if (elementType === 'int8') return 0
    const counts = new Uint32Array(256)
    const from = this.#baseBytes + range.offset
    for (const byte of this.#space.subarray(from, from + range.length)) counts[byte]!++
    return counts.indexOf(Math.max(...counts))
  }

  /** How each channel of int8 is predicted best, by the bits of differences as if all were independent. */
  #channels(at: number, run: NumberRun): ChannelPlan[] {
    const space = this.#space
    const result = this.#baseBytes + at
    const shifts = (from: number, i: number) => ((space[from + i]! - run.center) << 24) >> 24
    const plans: ChannelPlan[] = []
    for (let first = 0; first < run.count; first += run.channel) {
      const end = Math.min(run.count, first + run.channel)
      const price = (predict: (shift: number) => number): number => {
        let bits = 0
        for (let i = first; i < end; i++) {
          bits += SIZE_BITS[Math.abs(shifts(result, i) - predict(shifts(run.offset, i)))]!
        }
        return bits
      }
      let plan: ChannelPlan = 'same'
      let best = price((shift) => shift)
      const zero = price(() => 0) + 1
      if (zero < best) [plan, best] = ['zero', zero]
      for (let code = 0; code < 64; code++) {
        const gain = channelGain(code)
        const bits = price((shift) => scaleShift(shift, gain)) + 7
        if (bits < best) [plan, best] = [code, bits]
      }
      plans.push(plan)
    }
    return plans
  }

  #bits(kind: NumberKind, address: number): number {
    let value = 0
    for (let i = bytesOfNumber(kind) - 1; i >= 0; i--) value = value * 256 + this.#space[address + i]!
    return value
  }

  /** The exponent of which the most numbers are at most 2^30 times smaller, and none of those larger: the others take eight bits more. */
  #exponent(kind: NumberKind, from: number, count: number): number {
    const width = bytesOfNumber(kind)
    const mantissa = kind === 'float32' ? 23 : kind === 'bfloat16' ? 7 : 10
    const mask = kind === 'float16' ? 31 : 255
    const counts = new Uint32Array(mask + 1)
    for (let i = 0; i < count; i++) counts[(this.#bits(kind, from + i * width) >>> mantissa) & mask]!++
    let within = 0
    let most = 0
    let best = 0
    for (let exponent = 0; exponent < mask; exponent++) {
      within += counts[exponent]! - (counts[exponent - EXPONENT_SPAN] ?? 0)
      if (within > most) [most, best] = [within, exponent]
    }
    return best
  }

  #zeroBits(kind: NumberKind, from: number, count: number): number {
    const width = bytesOfNumber(kind)
    let any = 0
    for (let i = 0; i < count; i++) any |= this.#bits(kind, from + i * width)
    const zeros = any === 0 ? 31 : 31 - Math.clz32(any & -any)
    return Math.min(zeros, kind === 'float32' ? 19 : kind === 'bfloat16' ? 3 : 6)
  }

  /** The same numbers times one factor: the scale of a bias is the input's scale times the weights', a range 127 scales. */
  *#multiples(at: number, run: NumberRun, from: number): Generator<PlacedRun> {
    const view = new DataView(this.#space.buffer, this.#space.byteOffset, this.#space.byteLength)
    const result = this.#baseBytes + at
    const gains = new Map<number, number>()
    for (let i = 0; i < run.count && i < 64; i++) {
      const a = view.getFloat32(from + 4 * i, true)
      const b = view.getFloat32(result + 4 * i, true)
      const gain = Math.fround(b / a)
      if (Number.isFinite(gain) && gain !== 0 && gain !== 1) gains.set(gain, (gains.get(gain) ?? 0) + 1)
    }
    const [common] = [...gains].sort((a, b) => b[1] - a[1])
    // A factor that two numbers agree on to the last bit is none by chance.
    if (common === undefined || common[1] < 2) return
    const bits = new DataView(new ArrayBuffer(4))
    bits.setFloat32(0, common[0])
    yield { at, run: { ...run, gain: bits.getUint32(0) }, channels: [] }
  }
}

/** Bits of a difference, about: sign, and twice the length of its size. */
const SIZE_BITS = Float32Array.from({ length: 512 }, (_, size) => (size === 0 ? 1 : 2 + 1.6 * Math.log2(size)))

/** Numbers of one output channel where they lie together, 0 where they do not. */
function channelOf({ shape, outputAxis }: MappedTensor): number {
  if (outputAxis !== 0 || shape.length < 2) return 0
  const channel = shape.slice(1).reduce((product, size) => product * size, 1)
  return channel >= 4 && shape[0]! > 1 ? channel : 0
}
