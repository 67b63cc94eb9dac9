import type { NodeContext, Prepared } from '../node-context.ts'
import { biasAddress, channelFactors, weightScales } from './channels.ts'
import { imageShape } from './window.ts'

/** TransposeConvOptions of the schema. */
const OPTIONS = { padding: 0, strideWidth: 1, strideHeight: 2, activation: 3 } as const
const SAME = 0

/** Shape of the output, weights [outputs, height, width, channels], input, bias [outputs]. The shape is what the output's tensor says, as
 *  in the reference. @see transpose_conv.cc of TFLite Micro and reference/integer_ops/transpose_conv.h */
export function prepareTransposeConv(node: NodeContext): Prepared {
  node.expectPorts(3, 4, 1)
  const [weights, input, output] = [node.input(1), node.input(2), node.output(0)]
  node.expectType(input, 'int8', 'int16', 'float32')
  node.expectType(output, input.elementType)
  node.expectType(weights, input.elementType === 'float32' ? 'float32' : 'int8')
  const [batches, height, width, channels] = imageShape(node, input)
  const [outputs, rows, columns] = imageShape(node, weights)
  const [, outputHeight, outputWidth] = imageShape(node, output)
  node.expectShape(weights, [outputs, rows, columns, channels])
  node.expectShape(output, [batches, outputHeight, outputWidth, outputs])
  const [down, across] = [node.options?.int32(OPTIONS.strideHeight) ?? 0, node.options?.int32(OPTIONS.strideWidth) ?? 0]
  if (down < 1 || across < 1) node.malformed(`strides of ${down} and ${across}`)
  // Each output looks at all places of the filter, and multiplies where an input reaches it.
  node.expectWork(input.elements * rows * columns * outputs + output.elements * rows * columns)
  const same = (node.options?.int8(OPTIONS.padding) ?? SAME) === SAME
  // The padding is that of the convolution that would lead back from the output to the input.
  const padding = (size: number, filter: number, stride: number): number =>
    same ? Math.floor(Math.max(0, (Math.ceil(size / stride) - 1) * stride + filter - size) / 2) : 0
  const sizes = [
    ...[batches, height, width, channels, rows, columns, outputHeight, outputWidth, outputs, down, across],
    ...[padding(outputHeight, rows, down), padding(outputWidth, columns, across)],
  ]
  if (input.elementType === 'float32') {
    const bias = node.optionalInput(3)
    if (bias !== null) {
      node.expectType(bias, 'float32')
      node.expectElements(bias, outputs)
    }
    const places = [input.address, weights.address, bias?.address ?? 0, output.address]
    const words = [...places, ...sizes, ...node.floatActivation(OPTIONS.activation)]
    return { calls: [{ kernel: 'transposeConvFloat', words }] }
  }
  if ((node.options?.int8(OPTIONS.activation) ?? 0) !== 0) node.unsupported('a fused activation')
  const [from, to] = [node.quantization(input), node.quantization(output)]
  const scales = weightScales(node, weights, 0)
  const factors = channelFactors(scales, outputs, (scale) => (from.scale * scale) / to.scale)
  const { multipliers, shifts } = node.multipliers(factors)
  const tables = [node.table(multipliers), node.table(shifts)]
  if (input.elementType === 'int16') {
    node.expectSymmetric(input)
    node.expectSymmetric(output)
    // A long sum moves no further to the left.
    if (factors.some((factor) => factor >= 128)) node.malformed('scales make a factor of 128 or more')
    const places = [input.address, weights.address, longBias(node, outputs), output.address]
    return { calls: [{ kernel: 'transposeConv16', words: [...places, ...sizes, 0, 0, ...tables] }] }
  }
  const places = [input.address, weights.address, biasAddress(node, 3, outputs), output.address]
  const words = [...places, ...sizes, -from.zeroPoint, to.zeroPoint, ...tables]
  return { calls: [{ kernel: 'transposeConv', words }] }
}

/** A bias of int64 where it is, one of int16 widened, as the reference does; 0 where there is none. */
function longBias(node: NodeContext, outputs: number): number {
  const bias = node.optionalInput(3)
  if (bias === null) return 0
  node.expectType(bias, 'int64', 'int16')
  node.expectElements(bias, outputs)
  if (bias.elementType === 'int64') return bias.address
  const bytes = node.constant(bias)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  // An int64 as two words.
  const words = new Int32Array(2 * outputs)
  for (let at = 0; at < outputs; at++) {
    words[2 * at] = view.getInt16(2 * at, true)
    words[2 * at + 1] = view.getInt16(2 * at, true) < 0 ? -1 : 0
  }
  return node.table(words)
}
