import type { NodeContext, Prepared } from '../node-context.ts'
import { imageShape, windowAxis } from './window.ts'

/** Pool2DOptions of the schema. */
const OPTIONS = { padding: 0, strideX: 1, strideY: 2, columns: 3, rows: 4, activation: 5 } as const

export const prepareAveragePool2d = (node: NodeContext): Prepared => preparePool(node, 0)
export const prepareMaxPool2d = (node: NodeContext): Prepared => preparePool(node, 1)
/** The root of the mean square, of float32. @see l2_pool_2d.cc of TFLite Micro */
export const prepareL2Pool2d = (node: NodeContext): Prepared => preparePool(node, 2)

/** [batches, height, width, channels] to [batches, output height, output width, channels]; scales are not converted.
 *  @see pooling_common.cc of TFLite Micro and integer_ops/pooling.h of TensorFlow Lite */
function preparePool(node: NodeContext, kind: 0 | 1 | 2): Prepared {
  node.expectPorts(1, 1, 1)
  const [input, output] = [node.input(0), node.output(0)]
  if (kind === 2) node.expectType(input, 'float32')
  node.expectType(input, 'int8', 'int16', 'float32')
  node.expectType(output, input.elementType)
  const { options } = node
  const [batches, height, width, channels] = imageShape(node, input)
  const [, outputHeight, outputWidth] = imageShape(node, output)
  const padding = options?.int8(OPTIONS.padding) ?? 0
  const axis = (input: number, filter: number, output: number, stride: number) =>
    windowAxis(
      node,
      { input, filter: options?.int32(filter) ?? 0, output, stride: options?.int32(stride) ?? 0, dilation: 1 },
      padding,
    )
  const y = axis(height, OPTIONS.rows, outputHeight, OPTIONS.strideY)
  const x = axis(width, OPTIONS.columns, outputWidth, OPTIONS.strideX)
  node.expectShape(output, [batches, y.output, x.output, channels])
  node.expectWork(output.elements * Math.min(y.filter, height) * Math.min(x.filter, width))
  const float = input.elementType === 'float32'
  const [least, most] = float ? node.floatActivation(OPTIONS.activation) : node.activation(OPTIONS.activation, output)
  const words = [
    ...[input.address, output.address, batches, height, width, channels, y.filter, x.filter, y.output, x.output],
    ...[y.stride, x.stride, y.padding, x.padding, least, most, kind],
  ]
  if (input.elementType === 'int8') return { calls: [{ kernel: 'pool2d', words }] }
  return { calls: [{ kernel: 'poolWide', words: [...words, float ? 0 : 1] }] }
}
