import type { NodeContext, Prepared } from '../node-context.ts'
import type { TinyTensor } from '../tiny-tensor.ts'
import { rowMajorStrides } from './blocks.ts'

const DIMS = 4

/** Input and slopes, each broadcast to the output. @see prelu_common.cc of TFLite Micro and reference/prelu.h */
export function preparePrelu(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, slope, output] = [node.input(0), node.input(1), node.output(0)]
  for (const tensor of [input, slope, output]) node.expectType(tensor, 'int8')
  if (output.shape.length > DIMS) node.unsupported(`${output.shape.length} dimensions`)
  const sizes = [...new Array<number>(DIMS - output.shape.length).fill(1), ...output.shape]
  const [from, by, to] = [node.quantization(input), node.quantization(slope), node.quantization(output)]
  const positive = node.multiplier(from.scale / to.scale)
  const negative = node.multiplier((from.scale * by.scale) / to.scale)
  const words = [
    ...[input.address, slope.address, output.address, ...sizes],
    ...[...broadcastStrides(node, input, sizes), ...broadcastStrides(node, slope, sizes)],
    ...[-from.zeroPoint, -by.zeroPoint, to.zeroPoint],
    ...[positive.multiplier, positive.shift, negative.multiplier, negative.shift],
  ]
  return { calls: [{ kernel: 'prelu', words }] }
}

/** Elements from one index of the output to the next; 0 where the tensor repeats. */
function broadcastStrides(node: NodeContext, tensor: TinyTensor, sizes: readonly number[]): number[] {
  const shape = [...new Array<number>(Math.max(0, sizes.length - tensor.shape.length)).fill(1), ...tensor.shape]
  if (shape.length !== sizes.length || shape.some((dim, axis) => dim !== 1 && dim !== sizes[axis])) {
    node.malformed(`"${tensor.name}" is [${tensor.shape}], which does not repeat to [${sizes}]`)
  }
  return rowMajorStrides(shape, 1).map((stride, axis) => (shape[axis] === 1 ? 0 : stride))
}
