import type { NodeContext, Prepared } from '../node-context.ts'
import type { TinyTensor } from '../tiny-tensor.ts'
import { channelFactors, weightScales } from './channels.ts'

/** What the kernel has to know of a convolution, a depthwise one, or rows times a matrix. */
export interface WideConvolution {
  readonly input: TinyTensor
  readonly weights: TinyTensor
  readonly output: TinyTensor
  /** Batches, height, width, channels; filter rows, columns, depth; output height, width, channels; strides, dilations, paddings, all y before x. */
  readonly sizes: readonly number[]
  readonly outputs: number
  /** The dimension of the weights that counts output channels. */
  readonly channelDimension: number
  /** Outputs that read the same channels of the input. */
  readonly together: number
  /** Elements of the weights from an output's to the next, and from one place of the filter to the next. */
  readonly weightSteps: readonly [number, number]
  /** Field of the options that holds the activation. */
  readonly activation: number
  /** Sums of int16 that have no bias. */
  readonly sumBits: 32 | 64
  /** Of one factor for all channels, whether it is a product of float32. */
  readonly floatProduct: boolean
}

const FLOAT = 0
const SUMS = { 32: 1, 64: 2 } as const

/** float32, or int16 by int8 around 0 with a bias of int32 or int64, which decides the width of the sums.
 *  @see reference/conv.h and integer_ops/conv.h of TensorFlow Lite */
export function wideConvolution(node: NodeContext, what: WideConvolution): Prepared {
  const { input, weights, output, outputs } = what
  const bias = node.optionalInput(2)
  if (bias !== null) node.expectElements(bias, outputs)
  const call = (kind: number, tables: readonly [number, number], bounds: readonly [number, number]): Prepared => ({
    calls: [
      {
        kernel: 'convWide',
        words: [
          ...[input.address, weights.address, bias?.address ?? 0, output.address, ...tables, kind, ...what.sizes],
          ...[...bounds, what.together, ...what.weightSteps],
        ],
      },
    ],
  })
  node.expectType(output, input.elementType)
  if (input.elementType === 'float32') {
    node.expectType(weights, 'float32')
    if (bias !== null) node.expectType(bias, 'float32')
    return call(FLOAT, [0, 0], node.floatActivation(what.activation))
  }
  node.expectType(weights, 'int8')
  node.expectSymmetric(input)
  node.expectSymmetric(output)
  const [from, to] = [node.quantization(input), node.quantization(output)]
  const scales = weightScales(node, weights, what.channelDimension)
  const factors = channelFactors(scales, outputs, (scale) => {
    const product = from.scale * scale
    return (what.floatProduct && scales.length === 1 ? Math.fround(product) : product) / to.scale
  })
  const sumBits = sumBitsOf(node, bias, what.sumBits)
  // A long sum moves no further to the left.
  if (sumBits === 64 && factors.some((factor) => factor >= 128)) node.malformed('scales make a factor of 128 or more')
  const { multipliers, shifts } = node.multipliers(factors)
  const bounds = node.activation(what.activation, output)
  return call(SUMS[sumBits], [node.table(multipliers), node.table(shifts)], bounds)
}

function sumBitsOf(node: NodeContext, bias: TinyTensor | null, otherwise: 32 | 64): 32 | 64 {
  if (bias === null) return otherwise
  node.expectType(bias, 'int32', 'int64')
  return bias.elementType === 'int64' ? 64 : 32
}
