import type { QuantizedMultiplier } from '../multiplier.ts'
import type { NodeContext, Prepared } from '../node-context.ts'
import { TINY_LIMITS } from '../tiny-limits.ts'
import type { TinyTensor } from '../tiny-tensor.ts'

/** ReducerOptions of the schema. */
const OPTIONS = { keepDims: 0 } as const

/** Which dimensions of an input are reduced, and how the rest and they are walked: three sizes and three strides each. */
export interface Reduction {
  readonly kept: readonly number[]
  readonly keptStrides: readonly number[]
  readonly reduced: readonly number[]
  readonly reducedStrides: readonly number[]
  /** How many elements become one. */
  readonly count: number
}

/** What becomes of float32s, in the words of the kernel. */
export const FLOATS = { sum: 0, mean: 1, largest: 2, least: 3 } as const

/** @see reference/reduce.h of TensorFlow Lite: elements are added in the order in which they lie */
export function reducedFloats(node: NodeContext, kind: number): Prepared {
  const [input, output] = [node.input(0), node.output(0)]
  const { kept, keptStrides, reduced, reducedStrides, count } = reduction(node, input, output)
  const words = [input.address, output.address, ...kept, ...keptStrides, ...reduced, ...reducedStrides, kind, count]
  return { calls: [{ kernel: 'reduceFloats', words }] }
}

/** Reads the axes of a reducing node (its second input) and checks the output's shape against them. */
export function reduction(node: NodeContext, input: TinyTensor, output: TinyTensor): Reduction {
  const rank = input.shape.length
  const axes = new Set(
    node.integers(node.input(1), TINY_LIMITS.dims).map((axis) => {
      if (axis < -rank || axis >= rank) node.malformed(`axis ${axis} of ${rank} dimensions`)
      return axis < 0 ? axis + rank : axis
    }),
  )
  const keeps = (node.options?.int8(OPTIONS.keepDims) ?? 0) !== 0
  node.expectShape(
    output,
    input.shape.flatMap((size, axis) => (axes.has(axis) ? (keeps ? [1] : []) : [size])),
  )
  // Neighbours that are both kept or both reduced are one dimension, so of six at most three are of a kind.
  const walk: { size: number; stride: number; reduced: boolean }[] = []
  let stride = 1
  for (const [axis, size] of [...input.shape.entries()].reverse()) {
    const reduced = axes.has(axis)
    const inner = walk[0]
    if (inner?.reduced === reduced) inner.size *= size
    else walk.unshift({ size, stride, reduced })
    stride *= size
  }
  const side = (reduced: boolean) => {
    const own = walk.filter((step) => step.reduced === reduced)
    while (own.length < TINY_LIMITS.dims / 2) own.unshift({ size: 1, stride: 0, reduced })
    return { sizes: own.map((step) => step.size), strides: own.map((step) => step.stride) }
  }
  const [kept, away] = [side(false), side(true)]
  return {
    ...{ kept: kept.sizes, keptStrides: kept.strides, reduced: away.sizes, reducedStrides: away.strides },
    count: input.elements / output.elements,
  }
}

/** @see QuantizedMeanOrSum of TensorFlow Lite's reference/reduce.h: the number of elements goes into the factor, whose bits are kept as far as
 *  a shift may go */
export const prepareMean = (node: NodeContext): Prepared =>
  sums(node, FLOATS.mean, ({ multiplier, shift }, count) => {
    const bits = Math.min(Math.floor(Math.log2(count)), 32, 31 + shift)
    return { multiplier: Number((BigInt(multiplier) << BigInt(bits)) / BigInt(count)), shift: shift - bits }
  })

/** @see QuantizedMeanOrSum of TensorFlow Lite's reference/reduce.h */
export const prepareSum = (node: NodeContext): Prepared => sums(node, FLOATS.sum, (factor) => factor)

function sums(
  node: NodeContext,
  float: number,
  factorOf: (factor: QuantizedMultiplier, count: number) => QuantizedMultiplier,
): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, output] = [node.input(0), node.output(0)]
  node.expectType(input, 'int8', 'int16', 'float32')
  node.expectType(output, input.elementType)
  if (input.elementType === 'float32') return reducedFloats(node, float)
  const { kept, keptStrides, reduced, reducedStrides, count } = reduction(node, input, output)
  const [from, to] = [node.quantization(input), node.quantization(output)]
  const { multiplier, shift } = factorOf(node.multiplier(from.scale / to.scale), count)
  const words = [
    ...[input.address, output.address, ...kept, ...keptStrides, ...reduced, ...reducedStrides],
    ...[from.zeroPoint * count, multiplier, shift, to.zeroPoint, input.elementType === 'int8' ? 1 : 2],
  ]
  return { calls: [{ kernel: 'sumElements', words }] }
}
