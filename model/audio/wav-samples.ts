/** How the samples of a WAV file are written. */
export type WavEncoding = 'integer' | 'float' | 'mu-law' | 'a-law'

export type WavFormat = {
  readonly encoding: WavEncoding
  readonly channels: number
  readonly sampleRateHz: number
  /** Of a sample as it is stored. */
  readonly bits: number
}

/** Format tags and the sizes of samples that are read of each. */
export const ENCODINGS: ReadonlyMap<number, { readonly encoding: WavEncoding; readonly bits: readonly number[] }> =
  new Map([
    [1, { encoding: 'integer', bits: [8, 16, 24, 32] }],
    [3, { encoding: 'float', bits: [32, 64] }],
    [6, { encoding: 'a-law', bits: [8] }],
    [7, { encoding: 'mu-law', bits: [8] }],
  ])

/** A byte of eight bits is a sign, a segment of three bits and four bits within it.
 *  @returns the sample, 1 is full scale
 *  @see ITU-T G.711, tables 1 and 2; as 16-bit numbers */
const companded = (byte: number, isALaw: boolean): number => {
  const code = isALaw ? byte ^ 0x55 : byte ^ 0xff
  const segment = (code >> 4) & 7
  const step = code & 15
  // µ-law: the segments are joined by a bias of 33 steps of 4. A-law: the first two segments have steps of the same size.
  const size = isALaw
    ? segment === 0
      ? 16 * step + 8
      : (16 * step + 264) << (segment - 1)
    : ((8 * step + 132) << segment) - 132
  const isPositive = isALaw ? (code & 0x80) !== 0 : (code & 0x80) === 0
  return (isPositive ? size : -size) / 32_768
}

const compandedTable = (isALaw: boolean): Float64Array =>
  Float64Array.from({ length: 256 }, (_, byte) => companded(byte, isALaw))

/** One sample as a number, at a place that the caller has checked to lie inside. Integers lie in [-1, 1). */
const sampleReader = (view: DataView, { encoding, bits }: WavFormat): ((at: number) => number) => {
  if (encoding === 'float') return (at) => (bits === 32 ? view.getFloat32(at, true) : view.getFloat64(at, true))
  if (encoding !== 'integer') {
    const table = compandedTable(encoding === 'a-law')
    return (at) => table[view.getUint8(at)]!
  }
  if (bits === 8) return (at) => (view.getUint8(at) - 128) / 128
  if (bits === 16) return (at) => view.getInt16(at, true) / 32_768
  if (bits === 24) return (at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 65_536) / 8_388_608
  return (at) => view.getInt32(at, true) / 2_147_483_648
}

/** Chosen: the mean of two channels that have nothing in common has half of their power; below a hundredth they cancel each other. */
const CANCELLED_SHARE = 0.01

export type MonoSamples = {
  readonly samples: Float32Array
  /** Channel that was taken alone, since all together cancel each other; undefined: their mean. */
  readonly takenChannel: number | undefined
  /** Samples of the file that are no finite numbers. They count as 0. */
  readonly notFinite: number
}

/** Reads frames into one channel: the mean of all, or, where these cancel each other (one wire of a stereo pair turned round), the
 *  loudest of them.
 *  @param start of the first frame
 *  @param frames that lie inside the view */
export const readMono = (view: DataView, format: WavFormat, start: number, frames: number): MonoSamples => {
  const { channels, bits } = format
  const bytes = bits / 8
  const frameBytes = channels * bytes
  const read = sampleReader(view, format)
  const samples = new Float32Array(frames)
  const powers = new Float64Array(channels)
  let meanPower = 0
  let notFinite = 0
  for (let frame = 0, at = start; frame < frames; frame += 1) {
    let sum = 0
    for (let channel = 0; channel < channels; channel += 1, at += bytes) {
      const value = read(at)
      if (!Number.isFinite(value)) {
        notFinite += 1
        continue
      }
      sum += value
      powers[channel]! += value * value
    }
    // A double beyond what a float holds would be infinite.
    const mean = Math.max(-FLOAT_MAX, Math.min(FLOAT_MAX, sum / channels))
    samples[frame] = mean
    meanPower += mean * mean
  }
  const power = powers.reduce((total, one) => total + one, 0) / channels
  if (channels === 1 || meanPower >= CANCELLED_SHARE * power) return { samples, takenChannel: undefined, notFinite }
  const takenChannel = powers.indexOf(Math.max(...powers))
  for (let frame = 0, at = start + takenChannel * bytes; frame < frames; frame += 1, at += frameBytes) {
    const value = read(at)
    samples[frame] = Number.isFinite(value) ? value : 0
  }
  return { samples, takenChannel, notFinite }
}

/** Largest float32. */
const FLOAT_MAX = 3.402_823_466_385_288_6e38
