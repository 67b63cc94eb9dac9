import type { FixedElementType } from '../../element-type.ts'
import type { NodeContext, Prepared } from '../node-context.ts'
import { TINY_LIMITS } from '../tiny-limits.ts'
import type { TinyTensor } from '../tiny-tensor.ts'
import { axisOf, productOf, rowMajorStrides } from './blocks.ts'

/** ReducerOptions of the schema. */
const REDUCER = { keepDims: 0 } as const
/** Six dimensions, kept and reduced in turns, are three of each at most. */
const GROUPS = 3

/** Input and axes, which are constant and may repeat. @returns words of the six axes, and how many elements make one */
function reduction(node: NodeContext): {
  readonly axes: readonly number[]
  readonly each: number
  readonly input: TinyTensor
} {
  node.expectPorts(2, 2, 1)
  const [input, output] = [node.input(0), node.output(0)]
  node.expectType(input, 'int8')
  node.expectType(output, 'int8')
  const { shape } = input
  const reduced = new Set(
    node.integers(node.input(1), TINY_LIMITS.dims).map((axis) => axisOf(node, axis, shape.length)),
  )
  const keepDims = (node.options?.int8(REDUCER.keepDims) ?? 0) !== 0
  const kept = shape.flatMap((dim, axis) => (reduced.has(axis) ? (keepDims ? [1] : []) : [dim]))
  node.expectShape(output, kept)
  const strides = rowMajorStrides(shape, 1)
  const axes = { kept: [] as number[][], reduced: [] as number[][] }
  let last: boolean | null = null
  for (const [axis, dim] of shape.entries()) {
    if (dim === 1) continue
    const group = axes[reduced.has(axis) ? 'reduced' : 'kept']
    const before = last === reduced.has(axis) ? group.pop() : undefined
    // Neighbours of one kind are one axis.
    group.push([dim * (before?.[0] ?? 1), strides[axis] ?? 1])
    last = reduced.has(axis)
  }
  const words = [axes.kept, axes.reduced].flatMap((group) => {
    while (group.length < GROUPS) group.unshift([1, 0])
    return group.flat()
  })
  return { axes: words, each: productOf(shape.filter((_, axis) => reduced.has(axis))), input }
}

/** @see reduce.h and reduce_common.cc of TFLite Micro, which wants one quantization at both ends */
export function prepareReduceMax(node: NodeContext): Prepared {
  const { axes, input } = reduction(node)
  const output = node.output(0)
  const [from, to] = [node.quantization(input), node.quantization(output)]
  if (from.scale !== to.scale || from.zeroPoint !== to.zeroPoint) {
    node.unsupportedType('input and output have different scales or zero points')
  }
  return { calls: [{ kernel: 'reduceMax', words: [input.address, output.address, ...axes] }] }
}

/** @see QuantizedMeanOrSum of reference/reduce.h */
export function prepareSum(node: NodeContext): Prepared {
  const { axes, each, input } = reduction(node)
  const output = node.output(0)
  const [from, to] = [node.quantization(input), node.quantization(output)]
  const { multiplier, shift } = node.multiplier(from.scale / to.scale)
  const own = [from.zeroPoint * each, to.zeroPoint, multiplier, shift]
  return { calls: [{ kernel: 'reduceSum', words: [input.address, output.address, ...axes, ...own] }] }
}

const ARG_TYPES: readonly FixedElementType[] = ['int8', 'uint8', 'float32']

/** Input and one axis, constant. @see reference/arg_min_max.h */
export function prepareArgMax(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, output] = [node.input(0), node.output(0)]
  node.expectType(input, ...ARG_TYPES)
  node.expectType(output, 'int32', 'int64')
  const [first] = node.integers(node.input(1), 1)
  const axis = axisOf(node, first ?? Number.NaN, input.shape.length)
  node.expectShape(output, input.shape.toSpliced(axis, 1))
  const sizes = [
    productOf(input.shape.slice(0, axis)),
    input.shape[axis] ?? 0,
    productOf(input.shape.slice(axis + 1)),
    output.elementType === 'int32' ? 4 : 8,
    ARG_TYPES.indexOf(input.elementType),
  ]
  return { calls: [{ kernel: 'argMax', words: [input.address, output.address, ...sizes] }] }
}

/** Rows along the last dimension. The output's scale is 1/128 and its zero point 0. @see l2norm.cc of TFLite Micro */
export function prepareL2Normalization(node: NodeContext): Prepared {
  node.expectPorts(1, 1, 1)
  const [input, output] = [node.input(0), node.output(0)]
  node.expectType(input, 'int8')
  node.expectType(output, 'int8')
  node.expectShape(output, input.shape)
  const to = node.quantization(output)
  if (to.scale !== 1 / 128 || to.zeroPoint !== 0)
    node.unsupportedType(`an output in ${to.scale} around ${to.zeroPoint}`)
  if ((node.options?.int8(0) ?? 0) !== 0) node.unsupported('a fused activation')
  const depth = input.shape.at(-1) ?? 1
  // More squares of 8-bit differences than this pass 31 bits.
  if (depth > 33_000) node.unsupported(`rows of ${depth} elements`)
  const words = [input.address, output.address, input.elements / depth, depth, node.quantization(input).zeroPoint]
  return { calls: [{ kernel: 'l2Normalization', words }] }
}
