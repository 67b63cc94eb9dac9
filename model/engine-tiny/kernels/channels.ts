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
}

/** Keeps a table of multipliers, one of shifts, and one of powers where all factors are below 1/2.
 *  @param factors one for each output channel
 *  @param sumMax what no sum of a channel, bias included, can pass */
export function channelTables(node: NodeContext, factors: Float64Array, sumMax: number): ChannelTables {
  const { multipliers, shifts } = node.multipliers(factors)
  let [least, most] = [31, -31]
  for (let channel = 0; channel < shifts.length; channel++) {
    const shift = shifts[channel] ?? 0
    // What cannot reach half of the last place, dead channels of trained networks, becomes 0 whatever the sum, and needs no shift.
    if (multipliers[channel] === 0 || 2 * sumMax < 2 ** -shift) {
      multipliers[channel] = 0
      shifts[channel] = -1
    }
    least = Math.min(least, shifts[channel] ?? 0)
    most = Math.max(most, shifts[channel] ?? 0)
  }
  // One for the rounding of the high half, one for what moves negative sums, and half of the last place.
  const fits = (sumMax + 2) * 2 ** (most - least) + 2 ** (-least - 1) < 2 ** 31
  let powers = 0
  if (most < 0) {
    const table = new Int32Array(shifts.length)
    for (let channel = 0; channel < table.length; channel++) {
      table[channel] = 2 ** ((shifts[channel] ?? 0) + (fits ? -least : 31))
    }
    powers = node.table(table)
  }
  return { multipliers: node.table(multipliers), shifts: node.table(shifts), powers, shift: fits ? -least : 0 }
}

/** What no sum of products of int8, offset added, with int8 can pass: of `count` products and a bias. */
export function sumBound(node: NodeContext, count: number, bias: TinyTensor | null): number {
  if (bias === null) return count * 255 * 128
  // A bias that is computed may be anything.
  if (bias.constant === null) return 2 ** 31
  let most = 0
  for (const value of node.integers(bias, bias.elements)) most = Math.max(most, Math.abs(value))
  return count * 255 * 128 + most
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
