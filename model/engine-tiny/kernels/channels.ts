import type { NodeContext } from '../node-context.ts'
import type { TinyTensor } from '../tiny-tensor.ts'

/** Addresses of the factors of each output channel. */
export interface ChannelTables {
  readonly multipliers: number
  readonly shifts: number
  /** 2^(31 + shift); 0 where some factor is 1/2 or more, and the kernel goes the slow way. */
  readonly powers: number
}

/** Keeps a table of multipliers, one of shifts, and one of powers where all factors have one.
 *  @param factors one for each output channel */
export function channelTables(node: NodeContext, factors: readonly number[]): ChannelTables {
  const quantized = factors.map((factor) => node.multiplier(factor))
  // A factor too small to matter has multiplier 0, whatever its shift.
  const shifts = quantized.map(({ multiplier, shift }) => (multiplier === 0 ? -1 : shift))
  return {
    multipliers: node.table(Int32Array.from(quantized, ({ multiplier }) => multiplier)),
    shifts: node.table(Int32Array.from(shifts)),
    powers: shifts.every((shift) => shift < 0) ? node.table(Int32Array.from(shifts, (shift) => 2 ** (31 + shift))) : 0,
  }
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

/** A bias of int32, one for each channel; 0 where there is none. @returns its address */
export function biasAddress(node: NodeContext, at: number, channels: number): number {
  const bias = node.optionalInput(at)
  if (bias === null) return 0
  node.expectType(bias, 'int32')
  node.expectElements(bias, channels)
  return bias.address
}
