import type { NodeContext, Prepared } from '../node-context.ts'
import { biasAddress, channelFactors, channelTables, sumBounds, weightScales } from './channels.ts'
import { wideConvolution } from './wide-convolution.ts'

/** FullyConnectedOptions of the schema. */
const OPTIONS = { activation: 0, weightsFormat: 1 } as const

/** Input of any shape with a multiple of `depth` elements, weights [outputs, depth], bias [outputs].
 *  @see fully_connected_common.cc of TFLite Micro: one factor for the tensor is a product of float32, one for each channel of float64 */
export function prepareFullyConnected(node: NodeContext): Prepared {
  node.expectPorts(2, 3, 1)
  const [input, weights, output] = [node.input(0), node.input(1), node.output(0)]
  node.expectType(input, 'int8', 'int16', 'float32')
  if ((node.options?.int8(OPTIONS.weightsFormat) ?? 0) !== 0) node.unsupported('shuffled weights')
  const [outputs, depth] = weights.shape
  if (outputs === undefined || depth === undefined || weights.shape.length !== 2) {
    node.malformed(`"${weights.name}" has ${weights.shape.length} dimensions, expected 2`)
  }
  const batches = input.elements / depth
  if (!Number.isInteger(batches)) {
    node.malformed(`"${input.name}" has ${input.elements} elements, which is no multiple of ${depth}`)
  }
  node.expectElements(output, batches * outputs)
  node.expectWork(batches * outputs * depth)
  if (input.elementType !== 'int8') {
    return wideConvolution(node, {
      ...{ input, weights, output, outputs, channelDimension: 0, activation: OPTIONS.activation },
      // Every row is an image of one place.
      sizes: [...[batches, 1, 1, depth, 1, 1, depth, 1, 1, outputs], ...[1, 1, 1, 1, 0, 0]],
      ...{ together: outputs, weightSteps: [depth, depth], sumBits: 32, floatProduct: true },
    })
  }
  node.expectType(output, 'int8')
  const from = node.quantization(input)
  const to = node.quantization(output)
  node.expectZeroPoint(input)
  const scales = weightScales(node, weights, 0)
  const factors = channelFactors(
    scales,
    outputs,
    (scale) => (scales.length === 1 ? Math.fround(from.scale * scale) : from.scale * scale) / to.scale,
  )
  const bias = biasAddress(node, 2, outputs)
  const [least, most] = node.activation(OPTIONS.activation, output)
  const bounds = sumBounds(node, depth, node.optionalInput(2), outputs)
  const tables = channelTables(node, factors, bounds, { floats: false })
  const places = [input.address, node.weightBytes(weights), bias, output.address]
  const sizes = [batches, depth, outputs]
  const { multipliers, shifts, powers, shift } = tables
  const words = [...places, ...sizes, -from.zeroPoint, to.zeroPoint, least, most, multipliers, shifts, powers, shift]
  return { calls: [{ kernel: 'fullyConnected', words }], scratchBytes: 16 }
}
