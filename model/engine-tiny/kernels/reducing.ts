import type { FixedElementType } from '../../element-type.ts'
import type { NodeContext, Prepared } from '../node-context.ts'
import { productOf } from './blocks.ts'
import { FLOATS, reducedFloats, reduction } from './mean.ts'
import { axisOf } from './moving.ts'

/** @see reduce.h and reduce_common.cc of TFLite Micro, which wants one quantization at both ends */
export const prepareReduceMax = (node: NodeContext): Prepared => extreme(node, 'largest')
export const prepareReduceMin = (node: NodeContext): Prepared => extreme(node, 'least')

function extreme(node: NodeContext, which: 'largest' | 'least'): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, output] = [node.input(0), node.output(0)]
  node.expectType(input, 'int8', 'float32')
  node.expectType(output, input.elementType)
  if (input.elementType === 'float32') return reducedFloats(node, FLOATS[which])
  const { kept, keptStrides, reduced, reducedStrides } = reduction(node, input, output)
  const [from, to] = [node.quantization(input), node.quantization(output)]
  if (from.scale !== to.scale || from.zeroPoint !== to.zeroPoint) {
    node.unsupportedType('input and output have different scales or zero points')
  }
  const words = [
    input.address,
    output.address,
    ...kept,
    ...keptStrides,
    ...reduced,
    ...reducedStrides,
    which === 'least' ? 1 : 0,
  ]
  return { calls: [{ kernel: 'maxElements', words }] }
}

const ARG_TYPES: readonly FixedElementType[] = ['int8', 'uint8', 'float32']

/** Input and one axis, constant. @see reference/arg_min_max.h */
export const prepareArgMax = (node: NodeContext): Prepared => place(node, 'largest')
export const prepareArgMin = (node: NodeContext): Prepared => place(node, 'least')

function place(node: NodeContext, which: 'largest' | 'least'): Prepared {
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
    which === 'least' ? 1 : 0,
  ]
  return { calls: [{ kernel: 'argMax', words: [input.address, output.address, ...sizes] }] }
}

/** Rows along the last dimension. The output's scale is 1/128 and its zero point 0. @see l2norm.cc of TFLite Micro */
export function prepareL2Normalization(node: NodeContext): Prepared {
  node.expectPorts(1, 1, 1)
  const [input, output] = [node.input(0), node.output(0)]
  node.expectType(input, 'int8', 'float32')
  node.expectType(output, input.elementType)
  node.expectShape(output, input.shape)
  const depth = input.shape.at(-1) ?? 1
  if ((node.options?.int8(0) ?? 0) !== 0) node.unsupported('a fused activation')
  if (input.elementType === 'float32') {
    const words = [input.address, output.address, input.elements / depth, depth]
    return { calls: [{ kernel: 'l2NormalizationFloat', words }] }
  }
  const to = node.quantization(output)
  if (to.scale !== 1 / 128 || to.zeroPoint !== 0)
    node.unsupportedType(`an output in ${to.scale} around ${to.zeroPoint}`)
  // More squares of 8-bit differences than this pass 31 bits.
  if (depth > 33_000) node.unsupported(`rows of ${depth} elements`)
  const words = [input.address, output.address, input.elements / depth, depth, node.quantization(input).zeroPoint]
  return { calls: [{ kernel: 'l2Normalization', words }] }
}
