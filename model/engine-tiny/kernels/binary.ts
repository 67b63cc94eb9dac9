import type { NodeContext, Prepared } from '../node-context.ts'
import { broadcastWalk } from './broadcast.ts'

/** Activation of AddOptions, SubOptions and MulOptions of the schema. */
const ACTIVATION = 0
/** Bits by which the reference kernels shift before they add, so that nothing of a byte is lost. */
const LEFT_SHIFT = 20
/** What is computed, in the words of the kernel. */
const SUM = 0
const PRODUCT = 1
const LARGER = 2
const SMALLER = 3

/** @see add_common.cc of TFLite Micro: factors in float64 */
export function prepareAdd(node: NodeContext): Prepared {
  const [left, right, output] = scales(node)
  const twice = 2 * Math.max(left, right)
  return sum(node, { left: left / twice, right: right / twice, output: twice / (2 ** LEFT_SHIFT * output), sign: 1 })
}

/** @see sub_common.cc of TFLite Micro: factors in float32, other than ADD's */
export function prepareSub(node: NodeContext): Prepared {
  const f = Math.fround
  const [left, right, output] = scales(node)
  const twice = f(2 * Math.max(left, right))
  const scaled = f(2 ** LEFT_SHIFT * f(output))
  return sum(node, { left: f(left / twice), right: f(right / twice), output: f(twice / scaled), sign: -1 })
}

function scales(node: NodeContext): readonly [number, number, number] {
  node.expectPorts(2, 2, 1)
  const scale = (tensor: Parameters<NodeContext['quantization']>[0]): number => node.quantization(tensor).scale
  return [scale(node.input(0)), scale(node.input(1)), scale(node.output(0))]
}

function sum(
  node: NodeContext,
  factors: { readonly left: number; readonly right: number; readonly output: number; readonly sign: 1 | -1 },
): Prepared {
  if (!(factors.output < 1)) node.malformed(`the output's scale is a 2^${LEFT_SHIFT}th of the inputs' or less`)
  const [left, right, output] = [factors.left, factors.right, factors.output].map((factor) => node.multiplier(factor))
  return binary(node, SUM, {
    left: [left?.multiplier ?? 0, left?.shift ?? 0],
    right: [right?.multiplier ?? 0, right?.shift ?? 0],
    sign: factors.sign,
    output: [output?.multiplier ?? 0, output?.shift ?? 0],
  })
}

/** @see mul_common.cc of TFLite Micro */
export function prepareMul(node: NodeContext): Prepared {
  const [left, right, output] = scales(node)
  const { multiplier, shift } = node.multiplier((left * right) / output)
  return binary(node, PRODUCT, { left: [0, 0], right: [0, 0], sign: 0, output: [multiplier, shift] })
}

/** @see maximum_minimum.cc of TFLite Micro: bytes are compared, whatever their scales */
export const prepareMaximum = (node: NodeContext): Prepared => compared(node, LARGER)
export const prepareMinimum = (node: NodeContext): Prepared => compared(node, SMALLER)

function compared(node: NodeContext, kind: number): Prepared {
  node.expectPorts(2, 2, 1)
  return binary(node, kind, { left: [0, 0], right: [0, 0], sign: 0, output: [0, 0] })
}

function binary(
  node: NodeContext,
  kind: number,
  factors: {
    readonly left: readonly [number, number]
    readonly right: readonly [number, number]
    readonly sign: number
    readonly output: readonly [number, number]
  },
): Prepared {
  const [left, right, output] = [node.input(0), node.input(1), node.output(0)]
  for (const tensor of [left, right, output]) node.expectType(tensor, 'int8')
  const walk = broadcastWalk(node, left.shape, right.shape, output.shape)
  const zero = ({ zeroPoints }: typeof left): number => zeroPoints[0] ?? 0
  // MAXIMUM and MINIMUM have no activation.
  const bounds = kind === SUM || kind === PRODUCT ? node.activation(ACTIVATION, output) : [-128, 127]
  const words = [
    ...[left.address, right.address, output.address, ...walk.sizes, ...walk.left, ...walk.right],
    ...[-zero(left), ...factors.left, -zero(right), ...factors.right, factors.sign],
    ...[...factors.output, zero(output), ...bounds, kind],
  ]
  return { calls: [{ kernel: 'binary', words }] }
}
