import { err, ok, type Result } from '../../contract/result.ts'

/** Windows of a stream of vectors, as of an accelerometer: raw, or brought to a common level. */
export type VectorWindowDefinition = {
  readonly kind: 'vector-windows'
  readonly version: 1
  /** Values of a vector; a stream holds vector after vector. */
  readonly channels: number
  /** Vectors a second. */
  readonly sampleRateHz: number
  /** Vectors of a window, and from one window to the next. */
  readonly windowVectors: number
  readonly hopVectors: number
  /** Vectors of zeros that stand before the first one that comes; absent: none. */
  readonly leadVectors?: number
  /** `none`: as they come. `mean`: less the window's mean of each channel, as for gravity. `mean-deviation`: that, over the window's standard
   *  deviation of the channel. `fixed`: less `offset`, over `scale`, of each channel, as training found them. */
  readonly normalization: 'none' | 'mean' | 'mean-deviation' | 'fixed'
  /** Deviations below it count as this, so that a still sensor stays finite; with `mean-deviation` only. */
  readonly deviationFloor?: number
  /** One each for a channel; with `fixed` only. */
  readonly offset?: readonly number[]
  readonly scale?: readonly number[]
}

export type VectorWindowError = { readonly code: 'features-unsupported'; readonly detail: string }

/** Chosen: a window of 65 536 values is 256 KiB of floats, more than the boards have. */
const VALUES_MAX = 65_536
const COUNTS: Readonly<Record<string, number>> = {
  channels: 256,
  sampleRateHz: 1_000_000,
  windowVectors: VALUES_MAX,
  hopVectors: 1_000_000_000,
}
const NORMALIZATIONS = ['none', 'mean', 'mean-deviation', 'fixed']
const KNOWN = new Set([
  'kind',
  'version',
  ...Object.keys(COUNTS),
  'leadVectors',
  'normalization',
  'deviationFloor',
  'offset',
  'scale',
])

const finiteNumbers = (value: unknown, count: number): value is readonly number[] =>
  Array.isArray(value) && value.length === count && value.every((one) => Number.isFinite(one))

/** Checks a definition of unknown origin against what this code implements.
 *  @param value parsed JSON, for example the front end of a pipeline
 *  @returns the same value, typed, or `features-unsupported` with the first field that is wrong */
export const checkVectorWindowDefinition = (value: unknown): Result<VectorWindowDefinition, VectorWindowError> => {
  const refuse = (detail: string) => err({ code: 'features-unsupported', detail } satisfies VectorWindowError)
  if (typeof value !== 'object' || value === null) return refuse('not an object')
  const record = value as Readonly<Record<string, unknown>>
  const { kind, version } = record
  if (kind !== 'vector-windows') return refuse(`kind is ${String(kind)}, vector-windows expected`)
  if (version !== 1) return refuse(`version is ${String(version)}, 1 expected`)
  for (const [name, most] of Object.entries(COUNTS)) {
    const count = record[name]
    // Sensors have rates like 6.25 Hz; the others count.
    const counts = name === 'sampleRateHz' || Number.isInteger(count)
    if (typeof count !== 'number' || !counts || !(count > 0 && count <= most)) {
      return refuse(`${name} is not from ${name === 'sampleRateHz' ? 'above 0' : '1'} to ${most}`)
    }
  }
  const { normalization, deviationFloor, offset, scale } = record
  if (!NORMALIZATIONS.includes(String(normalization))) {
    return refuse(`normalization is ${String(normalization)}, not one of ${NORMALIZATIONS.join(', ')}`)
  }
  const unknown = Object.keys(record).find((name) => !KNOWN.has(name))
  if (unknown !== undefined) return refuse(`${unknown.slice(0, 40)} is no parameter of this front end`)
  const d = value as VectorWindowDefinition
  const { leadVectors: lead = 0 } = d
  if (!(Number.isInteger(lead) && lead >= 0 && lead < d.windowVectors)) {
    return refuse('leadVectors is not a whole number from 0 to below windowVectors')
  }
  if (d.channels * d.windowVectors > VALUES_MAX) return refuse(`windows of more than ${VALUES_MAX} values`)
  if (normalization === 'mean-deviation') {
    if (!(typeof deviationFloor === 'number' && deviationFloor > 0 && Number.isFinite(deviationFloor))) {
      return refuse('mean-deviation needs a positive deviationFloor')
    }
  } else if (deviationFloor !== undefined) return refuse('deviationFloor belongs to mean-deviation')
  if (normalization === 'fixed') {
    if (!finiteNumbers(offset, d.channels)) return refuse(`offset is not ${d.channels} numbers, one a channel`)
    if (!finiteNumbers(scale, d.channels)) return refuse(`scale is not ${d.channels} numbers, one a channel`)
    if (scale.includes(0)) return refuse('scale has a zero')
  } else if (offset !== undefined || scale !== undefined) return refuse('offset and scale belong to fixed')
  return ok(d)
}

/** Windows of an endless stream of vectors. The caller pulls, as from `createMicroFrontend`. */
export type VectorWindows = {
  /** Values of a window. */
  readonly values: number
  /** Takes values until they are used up or a window is due, whichever comes first. A vector may come in pieces.
   *  @param values vector after vector; what is not finite counts as 0, since a mean would keep it
   *  @param from first value to take, default 0
   *  @returns how many were taken; 0 while a window is due and not yet taken */
  readonly push: (values: Float32Array, from?: number) => number
  /** Whether a window is due. */
  readonly windowReady: () => boolean
  /** Writes the due window, vector after vector.
   *  @throws Error when no window is due: a caller's bug */
  readonly takeWindow: (out: Float32Array) => void
  /** Forgets what came, as after a gap in the input. */
  readonly reset: () => void
}

/** @throws RangeError when the definition is not implemented (check foreign ones with `checkVectorWindowDefinition` first) */
export const createVectorWindows = (definition: VectorWindowDefinition): VectorWindows => {
  const checked = checkVectorWindowDefinition(definition)
  if (!checked.ok) throw new RangeError(checked.error.detail)
  const { channels, windowVectors, hopVectors, leadVectors = 0 } = definition
  const { normalization, deviationFloor = 1, offset, scale } = definition
  const length = channels * windowVectors
  const hop = channels * hopVectors
  const recent = new Float32Array(length)
  /** `skip`: values between two windows, where these do not overlap. */
  const at = { used: channels * leadVectors, skip: 0 }

  /** What is taken from a channel of the window, and what the rest is divided by. */
  const levelOf = (channel: number): readonly [number, number] => {
    if (normalization === 'none') return [0, 1]
    if (normalization === 'fixed') return [offset?.[channel] ?? 0, scale?.[channel] ?? 1]
    let sum = 0
    for (let i = channel; i < length; i += channels) sum += recent[i]!
    const mean = sum / windowVectors
    if (normalization === 'mean') return [mean, 1]
    let squares = 0
    for (let i = channel; i < length; i += channels) squares += (recent[i]! - mean) ** 2
    return [mean, Math.max(deviationFloor, Math.sqrt(squares / windowVectors))]
  }

  return {
    values: length,
    push: (values, from = 0) => {
      const skipped = Math.max(0, Math.min(values.length - from, at.skip))
      at.skip -= skipped
      const count = Math.max(0, Math.min(values.length - from - skipped, length - at.used))
      for (let i = 0; i < count; i += 1) {
        const value = values[from + skipped + i]!
        recent[at.used + i] = Number.isFinite(value) ? value : 0
      }
      at.used += count
      return skipped + count
    },
    windowReady: () => at.used === length,
    takeWindow: (out) => {
      if (at.used !== length) throw new Error('no window is due')
      for (let channel = 0; channel < channels; channel += 1) {
        const [level, size] = levelOf(channel)
        for (let i = channel; i < length; i += channels) out[i] = (recent[i]! - level) / size
      }
      if (hop < length) recent.copyWithin(0, hop)
      at.used = Math.max(0, length - hop)
      at.skip = Math.max(0, hop - length)
    },
    reset: () => {
      recent.fill(0)
      at.used = channels * leadVectors
      at.skip = 0
    },
  }
}
