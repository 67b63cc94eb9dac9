import type { NodeContext, Prepared } from '../node-context.ts'
import { broadcastWalk } from './broadcast.ts'

/** Input and slopes, each broadcast to the output. @see prelu_common.cc of TFLite Micro and reference/prelu.h */
export function preparePrelu(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, slope, output] = [node.input(0), node.input(1), node.output(0)]
  node.expectType(input, 'int8', 'float32')
  for (const tensor of [slope, output]) node.expectType(tensor, input.elementType)
  const walk = broadcastWalk(node, input.shape, slope.shape, output.shape)
  const places = [input.address, slope.address, output.address, ...walk.sizes, ...walk.left, ...walk.right]
  if (input.elementType === 'float32') return { calls: [{ kernel: 'preluFloat', words: places }] }
  const [from, by, to] = [node.quantization(input), node.quantization(slope), node.quantization(output)]
  const positive = node.multiplier(from.scale / to.scale)
  const negative = node.multiplier((from.scale * by.scale) / to.scale)
  const words = [
    ...places,
    ...[-from.zeroPoint, -by.zeroPoint, to.zeroPoint],
    ...[positive.multiplier, positive.shift, negative.multiplier, negative.shift],
  ]
  return { calls: [{ kernel: 'prelu', words }] }
}
