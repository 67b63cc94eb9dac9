import type { NodeContext } from '../node-context.ts'
import type { TinyTensor } from '../tiny-tensor.ts'

/** Addresses of the factors of each output channel. */
export interface ChannelTables {
  readonly multipliers: number
  readonly shifts: number
  /** By which four channels at once are shifted; 0 where some factor is 1/2 or more, and they go one by one. */
  readonly powers: number
  /** A shift to the right that all channels have in common once each is multiplied with its power of two; 0 where that could overflow, and the powers are
   *  for a high half of a product instead. */
  readonly shift: number
  /** The factors as float32, a table where `distance` is more than 0, else any. */
  readonly factors: number
  /** How far from an integer a sum times such a factor may come out for that integer to be the result, below 1/2; 0 where it never tells the result. */
  readonly distance: number
}

/** Beyond this a float32 and 1.5 · 2^23 make a sum that is no integer. */
const FLOAT_RESULT_MAX = 2 ** 22
/** chosen, twice what the roundings of sum, factor, product and half can be off together for a result below 2^9: four halves of a last place of 2^-15. Results beyond
 *  are more than int8 holds either way. */
const FLOAT_ERROR = 2 ** -12

/** Keeps a table of multipliers, one of shifts, and where all factors are below 1/2 those by which several channels go at once.
 *  @param factors one for each output channel
 *  @param sumMax for each channel what no sum of it, bias included, can pass
 *  @param wanted whether the kernel takes float32 factors too */
export function channelTables(
  node: NodeContext,
  factors: Float64Array,
  sumMax: Float64Array,
  wanted: { readonly floats: boolean },
): ChannelTables {
  const { multipliers, shifts } = node.multipliers(factors)
  let [least, most] = [31, -31]
  for (let channel = 0; channel < shifts.length; channel++) {
    let shift = shifts[channel]!
    // What cannot reach half of the last place, dead channels of trained networks, becomes 0 whatever the sum, and needs no shift.
    if (multipliers[channel] === 0 || 2 * sumMax[channel]! < 2 ** -shift) {
      multipliers[channel] = 0
      shifts[channel] = shift = -1
    }
    least = Math.min(least, shift)
    most = Math.max(most, shift)
  }
  const tables = { multipliers: node.table(multipliers), shifts: node.table(shifts) }
  if (most >= 0) return { ...tables, powers: 0, shift: 0, factors: 0, distance: 0 }
  let [fits, floats] = [true, wanted.floats]
  for (let channel = 0; channel < shifts.length; channel++) {
    const [sum, shift] = [sumMax[channel]!, shifts[channel]!]
    // One for the rounding of the high half, one for what moves negative sums, and half of the last place.
    fits &&= (sum + 2) * 2 ** (shift - least) + 2 ** (-least - 1) < 2 ** 31
    floats &&= multipliers[channel] === 0 || sum * 2 ** shift < FLOAT_RESULT_MAX
  }
  const table = new Int32Array(shifts.length)
  for (let channel = 0; channel < table.length; channel++)
    table[channel] = 2 ** (shifts[channel]! + (fits ? -least : 31))
  const powers = node.table(table)
  return {
    ...{ ...tables, powers, shift: fits ? -least : 0 },
    factors: floats ? node.table(floatFactors(multipliers, shifts)) : powers,
    distance: floats ? 0.5 - FLOAT_ERROR : 0,
  }
}

/** The factors rounded to float32. The kernel reads the shift from the exponent; of a factor that is rounded up to the next power of two it reads one too small, but with such a
 *  factor all sums come out at multiples of 2^-s, and what that could make wrong comes out at a half, from where it goes the long way. */
function floatFactors(multipliers: Int32Array, shifts: Int32Array): Float32Array {
  const factors = new Float32Array(multipliers.length)
  for (let at = 0; at < factors.length; at++) {
    factors[at] = multipliers[at]! * 2 ** (shifts[at]! - 31)
  }
  return factors
}

/** What no sum of products of int8, offset added, with int8 can pass: of `count` products and a bias, channel by channel. */
export function sumBounds(node: NodeContext, count: number, bias: TinyTensor | null, channels: number): Float64Array {
  const bounds = new Float64Array(channels).fill(count * 255 * 128)
  if (bias === null) return bounds
  // A bias that is computed may be anything.
  if (bias.constant === null) return bounds.fill(2 ** 31)
  const values = node.integers(bias, channels)
  for (let channel = 0; channel < channels; channel++) bounds[channel]! += Math.abs(values[channel] ?? 0)
  return bounds
}

/** Scales of weights by output channel, checked against their dimension.
 *  @param channelDimension the one that counts output channels
 *  @returns one scale for all, or one for each channel */
export function weightScales(node: NodeContext, weights: TinyTensor, channelDimension: number): readonly number[] {
  const { scales, zeroPoints, dimension, name } = weights
  if (scales.length === 0) node.unsupportedType(`"${name}" has no scale`)
  if (zeroPoints.some((zeroPoint) => zeroPoint !== 0)) node.unsupportedType(`"${name}" has zero points other than 0`)
  if (scales.length > 1 && (dimension !== channelDimension || scales.length !== weights.shape[channelDimension])) {
    node.malformed(`"${name}" has ${scales.length} scales along dimension ${dimension}`)
  }
  return scales
}

/** A factor for each output channel from one weight scale for all, or one for each.
 *  @param factorOf of a weight scale */
export function channelFactors(
  scales: readonly number[],
  channels: number,
  factorOf: (scale: number) => number,
): Float64Array {
  if (scales.length === 1) return new Float64Array(channels).fill(factorOf(scales[0] ?? 0))
  const factors = new Float64Array(channels)
  for (let channel = 0; channel < channels; channel++) factors[channel] = factorOf(scales[channel] ?? 0)
  return factors
}

/** A bias of int32, one for each channel; 0 where there is none. @returns its address */
export function biasAddress(node: NodeContext, at: number, channels: number): number {
  const bias = node.optionalInput(at)
  if (bias === null) return 0
  node.expectType(bias, 'int32')
  node.expectElements(bias, channels)
  return bias.address
}
