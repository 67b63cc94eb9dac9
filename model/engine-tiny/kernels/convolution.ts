import { float32Word, type NodeContext, type Prepared } from '../node-context.ts'
import { aligned } from '../tiny-limits.ts'
import type { TinyTensor } from '../tiny-tensor.ts'
import { biasAddress, channelFactors, channelTables, sumBounds, weightScales } from './channels.ts'
import { wideConvolution } from './wide-convolution.ts'
import { type Axis, imageShape, windowAxis } from './window.ts'

/** Conv2DOptions of the schema. */
const CONV = { padding: 0, strideX: 1, strideY: 2, activation: 3, dilationX: 4, dilationY: 5 } as const
/** DepthwiseConv2DOptions of the schema. */
const DEPTHWISE = { padding: 0, strideX: 1, strideY: 2, activation: 4, dilationX: 5, dilationY: 6 } as const

/** What packed rows of weights may take of the scratch: a part of the smallest first-level caches. */
const PACKED_BYTES = 16_384
/** Channels whose sums are in the scratch at a time, at most. */
const CHANNELS = 64
/** From so many outputs on, packing weights pays. */
const PACKING_PIXELS = 4

/** Input [batches, height, width, channels], weights [outputs, rows, columns, depth], where channels are a multiple of depth; bias [outputs].
 *  @see conv_common.cc of TFLite Micro and integer_ops/conv.h of TensorFlow Lite */
export function prepareConv2d(node: NodeContext): Prepared {
  const { input, weights, output, y, x } = operands(node, CONV)
  const [outputs, rows, columns, depth] = imageShape(node, weights)
  const [batches, , , channels] = imageShape(node, input)
  if (channels % depth !== 0 || outputs % (channels / depth) !== 0) {
    node.malformed(`${channels} channels by filters of depth ${depth} with ${outputs} outputs`)
  }
  node.expectShape(output, [batches, y.output, x.output, outputs])
  const patch = rows * columns * depth
  if (input.elementType !== 'int8') {
    return wideConvolution(node, {
      ...{ input, weights, output, outputs, channelDimension: 0, activation: CONV.activation },
      ...{ sizes: wideSizes(node, y, x, depth, outputs), together: outputs / (channels / depth) },
      ...{ weightSteps: [patch, depth], sumBits: 32, floatProduct: false },
    })
  }
  const words = convolutionWords(node, CONV.activation, { y, x, outputs, depth, channelDimension: 0 })
  // Rows of weights as int16, by eights, as many as the scratch has room for.
  const padded = 8 * Math.ceil(patch / 8)
  const room = 8 * Math.floor(PACKED_BYTES / (16 * padded))
  const block = Math.min(CHANNELS, room, 8 * Math.ceil(outputs / (channels / depth) / 8))
  if (batches * y.output * x.output < PACKING_PIXELS || block === 0) {
    return {
      calls: [{ kernel: 'conv2d', words: [...words, 0] }],
      scratchBytes: 16 * CHANNELS + 2 * aligned(2 * patch + 16),
    }
  }
  // Packed rows, sums of four outputs, four patches with what the last goes beyond its end, and the same pair by pair.
  const scratchBytes = 2 * padded * block + 16 * block + (8 * padded + 16) + 8 * padded
  return { calls: [{ kernel: 'conv2d', words: [...words, block] }], scratchBytes }
}

/** Weights [1, rows, columns, channels · multiplier].
 *  @see depthwise_conv_common.cc of TFLite Micro and integer_ops/depthwise_conv.h of TensorFlow Lite; the options' multiplier is not
 *  read there either, the shapes tell it */
export function prepareDepthwiseConv2d(node: NodeContext): Prepared {
  const { input, weights, output, y, x } = operands(node, DEPTHWISE)
  const [one, , , outputs] = imageShape(node, weights)
  const [batches, , , channels] = imageShape(node, input)
  if (one !== 1 || outputs % channels !== 0) {
    node.malformed(`${channels} channels by weights of the shape [${weights.shape.join(', ')}]`)
  }
  node.expectShape(output, [batches, y.output, x.output, outputs])
  if (input.elementType !== 'int8') {
    return wideConvolution(node, {
      ...{ input, weights, output, outputs, channelDimension: 3, activation: DEPTHWISE.activation },
      ...{ sizes: wideSizes(node, y, x, 1, outputs), together: outputs / channels },
      ...{ weightSteps: [1, outputs], sumBits: 64, floatProduct: false },
    })
  }
  const sizes = { y, x, outputs, depth: outputs / channels, channelDimension: 3 }
  const words = convolutionWords(node, DEPTHWISE.activation, sizes)
  // Sums, weights in pairs of int16, starts of int32, a row of zero points, and for two outputs an address for each place of the filter, and
  // how far these are apart.
  const eights = 8 * Math.ceil(channels / 8)
  const places = 2 * Math.ceil((y.filter * x.filter) / 2)
  const scratchBytes = 16 * CHANNELS + 2 * places * eights + 4 * eights + aligned(eights) + 12 * places
  return { calls: [{ kernel: 'depthwiseConv2d', words }], scratchBytes }
}

function operands(
  node: NodeContext,
  fields: typeof CONV | typeof DEPTHWISE,
): {
  readonly input: TinyTensor
  readonly weights: TinyTensor
  readonly output: TinyTensor
  readonly y: Axis
  readonly x: Axis
} {
  node.expectPorts(2, 3, 1)
  const [input, weights, output] = [node.input(0), node.input(1), node.output(0)]
  node.expectType(input, 'int8', 'int16', 'float32')
  if (input.elementType === 'int8') {
    node.expectType(weights, 'int8', 'int4')
    node.expectType(output, 'int8')
  }
  const [, height, width] = imageShape(node, input)
  const [, rows, columns] = imageShape(node, weights)
  const [, outputHeight, outputWidth] = imageShape(node, output)
  const { options } = node
  const padding = options?.int8(fields.padding) ?? 0
  // The schema's default of a dilation is 1.
  const dilation = (field: number): number => (options?.has(field) ? options.int32(field) : 1)
  const axis = (at: { input: number; filter: number; output: number }, stride: number, dilated: number) =>
    windowAxis(node, { ...at, stride: options?.int32(stride) ?? 0, dilation: dilation(dilated) }, padding)
  return {
    ...{ input, weights, output },
    y: axis({ input: height, filter: rows, output: outputHeight }, fields.strideY, fields.dilationY),
    x: axis({ input: width, filter: columns, output: outputWidth }, fields.strideX, fields.dilationX),
  }
}

function wideSizes(node: NodeContext, y: Axis, x: Axis, depth: number, outputs: number): readonly number[] {
  node.expectWork(node.output(0).elements * y.filter * x.filter * depth)
  return [
    ...[...imageShape(node, node.input(0)), y.filter, x.filter, depth, y.output, x.output, outputs],
    ...[y.stride, x.stride, y.dilation, x.dilation, y.padding, x.padding],
  ]
}

function convolutionWords(
  node: NodeContext,
  activation: number,
  sizes: {
    readonly y: Axis
    readonly x: Axis
    readonly outputs: number
    readonly depth: number
    readonly channelDimension: number
  },
): readonly number[] {
  const { y, x, outputs, depth, channelDimension } = sizes
  const [input, weights, output] = [node.input(0), node.input(1), node.output(0)]
  const [batches, height, width, channels] = imageShape(node, input)
  const [, rows, columns] = imageShape(node, weights)
  node.expectWork(output.elements * rows * columns * (channelDimension === 0 ? depth : 1))
  const [from, to] = [node.quantization(input), node.quantization(output)]
  node.expectZeroPoint(input)
  const scales = weightScales(node, weights, channelDimension)
  const factors = channelFactors(scales, outputs, (scale) => (from.scale * scale) / to.scale)
  const bias = biasAddress(node, 2, outputs)
  // A filter of the depthwise kind reads one channel.
  const count = rows * columns * (channelDimension === 0 ? depth : 1)
  const bounds = sumBounds(node, count, node.optionalInput(2), outputs)
  const tables = channelTables(node, factors, bounds, { floats: true })
  const { multipliers, shifts, powers, shift, factors: floats, distance } = tables
  return [
    ...[input.address, node.weightBytes(weights), bias, output.address, multipliers, shifts, powers, shift],
    ...[batches, height, width, channels, rows, columns, depth, y.output, x.output, outputs],
    ...[y.stride, x.stride, y.dilation, x.dilation, y.padding, x.padding],
    ...[-from.zeroPoint, to.zeroPoint, ...node.activation(activation, output)],
    ...[floats, float32Word(distance)],
  ]
}
