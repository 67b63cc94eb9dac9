import { word } from './lowered-graph.ts'
import type { LoweredNode } from './lowered-node.ts'
import { type Stored, TFLITE, type Value } from './lowered-value.ts'
import type { LoweredValues } from './lowered-values.ts'
import { int8Of, transposed } from './onnx-constants.ts'

/** Operators that move elements, and the softmax. */

/** SoftmaxOptions has its factor as float32: 1. */
const FLOAT32_ONE = 0x3f800000

/** Between channels first and last a Transpose moves nothing: the image is kept with its channels last anyhow. */
export function transpose(graph: LoweredValues, node: LoweredNode): Value {
  const value = graph.value(node, 0)
  const rank = value.kind === 'constant' ? value.constant.dims.length : value.dims.length
  const listed = node.view.intList('perm') ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis)
  if (value.kind === 'constant') {
    const { dims, scales, axis } = value.constant
    if (rank > 4) return node.unsupported(`a constant of ${rank} dimensions`)
    const turned = transposed(int8Of(node, value.constant), dims, listed)
    return {
      kind: 'constant',
      constant: { dims: turned.dims, stored: turned.values, scales, axis: listed.indexOf(axis) },
    }
  }
  const stored = graph.stored(node, 0)
  const dims = node.output
  if (stored.channelsLast && listed.join() === '0,2,3,1') return { ...stored, dims, channelsLast: false }
  if (!stored.channelsLast && listed.join() === '0,3,1,2') return { ...stored, dims, channelsLast: true }
  const plain = graph.plain(stored, node)
  const tensor = graph.like(plain, dims, 'transposed')
  graph.out.operator(TFLITE.TRANSPOSE, [plain.tensor, graph.out.int32s('permutation', listed)], tensor)
  return { ...plain, tensor, dims }
}

/** Along the last dimension, in float32. */
export function softmax(graph: LoweredValues, node: LoweredNode): Stored {
  const x = graph.real(graph.plain(graph.stored(node, 0), node), node.outputName)
  const rank = x.dims.length
  const axis = node.view.axis(node.view.int('axis', graph.opset < 13 ? 1 : -1), rank)
  // Before opset 13 all dimensions from the axis on were one; of two dimensions that is the last.
  if (axis !== rank - 1) node.unsupported(`axis ${axis} of ${rank} dimensions`)
  const tensor = graph.out.tensor({ name: node.outputName, elementType: 'float32', shape: x.dims })
  graph.out.operator(TFLITE.SOFTMAX, [x.tensor], tensor, [word(FLOAT32_ONE)])
  return { ...x, tensor }
}

export function reshape(graph: LoweredValues, value: Stored, dims: readonly number[]): Stored {
  if (value.dims.join() === dims.join()) return value
  return { ...value, tensor: graph.renamed(value, dims), dims }
}
