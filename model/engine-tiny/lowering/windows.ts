import { windowOf } from '../../onnx/onnx-shapes-spatial.ts'
import { byte, word } from './lowered-graph.ts'
import type { LoweredNode } from './lowered-node.ts'
import { ACTIVATION, PADDING, type Pending, pendingSum, type Stored, TFLITE } from './lowered-value.ts'
import type { LoweredValues } from './lowered-values.ts'
import { int8Of, type QuantizedConstant, transposed } from './onnx-constants.ts'
import { biasTensor, channelScales, weightTensor } from './weights.ts'

/** Operators that move a window over an image: convolutions and pooling. */

export function convolution(
  graph: LoweredValues,
  node: LoweredNode,
  x: Stored,
  weights: QuantizedConstant,
  biasAt: number,
): Pending {
  const { dims } = weights
  const bytes = int8Of(node, weights)
  const [outputs = 0, depth = 0, rows = 0, columns = 0] = dims
  const [, channels = 0, height = 0, width = 0] = x.dims
  if (dims.length !== 4) node.unsupported(`weights of ${dims.length} dimensions; only images are convolved`)
  const depthwise = depth === 1 && channels > 1 && node.view.int('group', 1) === channels
  // ONNX: [outputs, depth, rows, columns]. TFLite: outputs first and depth last, or of depthwise ones [1, rows, columns, outputs].
  const turned = transposed(bytes, dims, depthwise ? [1, 2, 3, 0] : [0, 2, 3, 1])
  const scales = channelScales(node, weights, 0, outputs)
  const w = weightTensor(graph, node, turned.values, turned.dims, scales, depthwise ? 3 : 0)
  const bias = biasTensor(graph, node, biasAt, x, scales, outputs)
  const window = windowOf(node.view, [rows, columns])
  const from = padded(graph, node, x, [height, width], window, 'zero')
  const steps = [word(window.strides[1] ?? 1), word(window.strides[0] ?? 1)]
  const dilations = [word(window.dilations[1] ?? 1), word(window.dilations[0] ?? 1)]
  return pendingSum(node.output, true, null, (output, activation) =>
    depthwise
      ? graph.out.operator(TFLITE.DEPTHWISE_CONV_2D, [from.tensor, w, bias], output, [
          ...[byte(from.padding), ...steps, word(outputs / channels), byte(activation), ...dilations],
        ])
      : graph.out.operator(TFLITE.CONV_2D, [from.tensor, w, bias], output, [
          ...[byte(from.padding), ...steps, byte(activation), ...dilations],
        ]),
  )
}

/** The image under the padding that TFLite knows by name, or with its margin written out. */
function padded(
  graph: LoweredValues,
  node: LoweredNode,
  x: Stored,
  sizes: readonly [number, number],
  window: ReturnType<typeof windowOf>,
  margin: 'zero' | 'none',
): { readonly tensor: number; readonly padding: number } {
  const same = sizes.map((size, axis) => {
    const stride = window.strides[axis] ?? 1
    const covered = ((window.kernel[axis] ?? 1) - 1) * (window.dilations[axis] ?? 1) + 1
    const all = Math.max(0, (Math.ceil(size / stride) - 1) * stride + covered - size)
    return [Math.floor(all / 2), all - Math.floor(all / 2)] as const
  })
  const stated = [0, 1].map((axis) => [window.pads[axis] ?? 0, window.pads[axis + 2] ?? 0] as const)
  const like = (others: readonly (readonly [number, number])[]) =>
    stated.every(([before, after], axis) => before === others[axis]?.[0] && after === others[axis]?.[1])
  if (window.autoPad === 'SAME_UPPER' || (window.autoPad === 'NOTSET' && like(same))) {
    return { tensor: x.tensor, padding: PADDING.same }
  }
  if (window.autoPad === 'VALID' || (window.autoPad === 'NOTSET' && stated.flat().every((pad) => pad === 0))) {
    return { tensor: x.tensor, padding: PADDING.valid }
  }
  const pads = window.autoPad === 'SAME_LOWER' ? same.map(([before, after]) => [after, before] as const) : stated
  if (margin === 'none' || x.quantization === null) node.unsupported(`a margin of ${stated.join(', ')}`)
  const [batch = 1, height = 0, width = 0, channels = 0] = graph.out.shapeOf(x.tensor)
  const [[top, bottom], [left, right]] = [pads[0] ?? [0, 0], pads[1] ?? [0, 0]]
  const shape = [batch, height + top + bottom, width + left + right, channels]
  const tensor = graph.out.int8(`${node.outputName} margin`, shape, x.quantization)
  const paddings = graph.out.int32s('paddings', [0, 0, top, bottom, left, right, 0, 0], [4, 2])
  graph.out.operator(TFLITE.PAD, [x.tensor, paddings], tensor)
  return { tensor, padding: PADDING.valid }
}

/** Over the whole image an average is a MEAN, which rescales its sum once; a smaller window gives its input's quantization. */
export function pool(graph: LoweredValues, node: LoweredNode, code: number): Pending {
  const x = graph.image(node, 0)
  const [, , height = 0, width = 0] = x.dims
  const kernel = node.opType.startsWith('Global') ? [height, width] : (node.view.intList('kernel_shape') ?? [])
  const window = windowOf(node.view, kernel)
  if (kernel.length !== 2) node.unsupported(`a window of ${kernel.length} dimensions`)
  if (node.view.int('ceil_mode', 0) !== 0) node.unsupported('a size that is rounded up')
  if (window.dilations.some((dilation) => dilation !== 1)) node.unsupported('dilations')
  const whole = kernel[0] === height && kernel[1] === width && window.pads.every((pad) => pad === 0)
  if (code === TFLITE.AVERAGE_POOL_2D && whole) {
    const axes = graph.out.int32s('axes', [1, 2])
    return pendingSum(node.output, true, null, (output, activation) => {
      if (activation !== ACTIVATION.none) node.unsupported('an activation of an average')
      graph.out.operator(TFLITE.MEAN, [x.tensor, axes], output, [byte(1)])
    })
  }
  if (node.view.int('count_include_pad', 0) !== 0 && window.pads.some((pad) => pad !== 0)) {
    node.unsupported('an average that counts its margin')
  }
  const { tensor, padding } = padded(graph, node, x, [height, width], window, 'none')
  const sizes = [window.strides[1], window.strides[0], kernel[1], kernel[0]].map((size) => word(size ?? 1))
  return pendingSum(node.output, true, x.quantization, (output, activation) =>
    graph.out.operator(code, [tensor], output, [byte(padding), ...sizes, byte(activation)]),
  )
}
