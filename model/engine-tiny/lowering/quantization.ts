import { elementCount } from '../../onnx/onnx-op.ts'
import type { OnnxTensor } from '../../onnx/onnx-types.ts'
import { type Int8Quantization, sameQuantization } from './lowered-graph.ts'
import type { LoweredNode } from './lowered-node.ts'
import { lastOf, type Pending, type Stored, TFLITE, type Value } from './lowered-value.ts'
import type { LoweredValues } from './lowered-values.ts'
import { centred, numbersOf, type QuantizedConstant } from './onnx-constants.ts'

/** QuantizeLinear, DequantizeLinear, and operators that have both at their ends. */

export function dequantize(graph: LoweredValues, node: LoweredNode): Value {
  const name = node.inputName(0)
  const [scales, zeroPoints] = parameters(graph, node)
  const tensor = graph.constants.get(name)
  if (tensor !== undefined) {
    const stored =
      tensor.elementType === 'int32'
        ? Int32Array.from(numbersOf(tensor, node.where))
        : centred(tensor, zeroPoints, node.where)
    // Of one scale for all the axis says nothing, and its default is beyond the one dimension of a bias.
    const axis = scales.length === 1 ? 0 : node.view.axis(node.view.int('axis', 1), Math.max(1, tensor.dims.length))
    return { kind: 'constant', constant: { dims: tensor.dims, stored, scales, axis } }
  }
  const value = graph.values.get(name)
  if (value?.kind === 'constant') return value
  if (value?.kind !== 'stored' || value.float) return node.unsupported('it reads what no QuantizeLinear has made')
  const quantization = single(node, scales, zeroPoints, node.shaped.inputs[0]?.elementType ?? '')
  if (value.quantization !== null && !sameQuantization(value.quantization, quantization)) {
    node.unsupported('it reads with other parameters than those that were written with')
  }
  graph.out.quantize(value.tensor, quantization)
  graph.values.set(name, { ...value, quantization })
  return asInt8(graph, { ...value, quantization }, node)
}

/** uint8 is int8 with everything moved by 128; only ends of the graph are stored so. */
function asInt8(graph: LoweredValues, value: Stored, node: LoweredNode): Stored {
  if (node.shaped.inputs[0]?.elementType !== 'uint8' || !graph.inputs.has(node.inputName(0))) return value
  const { quantization } = value
  if (quantization === null) return value
  return graph.once(`int8 ${value.tensor}`, () => {
    const tensor = graph.out.int8(`${node.inputName(0)} as int8`, graph.out.shapeOf(value.tensor), quantization)
    graph.out.operator(TFLITE.QUANTIZE, [value.tensor], tensor)
    return { ...value, tensor }
  })
}

export function quantize(graph: LoweredValues, node: LoweredNode): Value {
  const [scales, zeroPoints] = parameters(graph, node)
  const type = node.shaped.outputs[0]?.elementType ?? ''
  const tensor = graph.constants.get(node.inputName(0))
  if (tensor !== undefined) {
    // Of one scale for all the axis says nothing, and its default is beyond the one dimension of a bias.
    const axis = scales.length === 1 ? 0 : node.view.axis(node.view.int('axis', 1), Math.max(1, tensor.dims.length))
    return {
      kind: 'constant',
      constant: quantizedConstant(node, tensor, scales, zeroPoints, axis, type),
    }
  }
  const quantization = single(node, scales, zeroPoints, type)
  const value = graph.value(node, 0)
  if (value.kind === 'constant') return value
  if (value.kind === 'pending') return finish(graph, value, quantization, node.outputName)
  if (value.quantization !== null && sameQuantization(value.quantization, quantization)) return value
  const output = graph.out.int8(node.outputName, graph.out.shapeOf(value.tensor), quantization)
  graph.out.operator(TFLITE.QUANTIZE, [value.tensor], output)
  return { ...value, tensor: output, quantization, float: false }
}

function finish(graph: LoweredValues, pending: Pending, quantization: Int8Quantization, name: string): Stored {
  const { dims, channelsLast, own, activation } = pending
  const shape = channelsLast ? lastOf(dims) : dims
  let tensor = graph.out.int8(name, shape, own ?? quantization)
  pending.emit(tensor, activation)
  if (own !== null && !sameQuantization(own, quantization)) {
    const rescaled = graph.out.int8(`${name} rescaled`, shape, quantization)
    graph.out.operator(TFLITE.QUANTIZE, [tensor], rescaled)
    tensor = rescaled
  }
  return { kind: 'stored', tensor, quantization, float: false, dims, channelsLast }
}

/** Both ends of a QLinear operator are stored, so its sum is stored at once. */
export function quantizedOperator(
  graph: LoweredValues,
  node: LoweredNode,
  sum: (x: Stored, weights: QuantizedConstant) => Pending,
): Value {
  const number = (at: number): readonly number[] => graph.numbers(node, at)
  const type = node.shaped.inputs[0]?.elementType ?? ''
  const quantization = single(node, number(1), number(2), type)
  const value = graph.value(node, 0)
  if (value.kind !== 'stored' || value.float) node.unsupported('it reads what nobody has stored')
  if (value.quantization !== null && !sameQuantization(value.quantization, quantization)) {
    node.unsupported('it reads with other parameters than those that were written with')
  }
  graph.out.quantize(value.tensor, quantization)
  const known: Stored = { ...value, quantization }
  graph.values.set(node.inputName(0), known)
  const tensor = graph.constants.get(node.inputName(3)) ?? node.unsupported('computed weights')
  const stored = centred(tensor, number(5), node.where)
  const axis = node.opType === 'QLinearConv' ? 0 : 1
  const weights = { dims: tensor.dims, stored, scales: number(4), axis }
  const output = single(node, number(6), number(7), node.shaped.outputs[0]?.elementType ?? '')
  return finish(graph, sum(asInt8(graph, known, node), weights), output, node.outputName)
}

/** Scales and zero points of a QuantizeLinear or DequantizeLinear. */
function parameters(
  graph: LoweredValues,
  node: LoweredNode,
): readonly [scales: readonly number[], zeroPoints: readonly number[]] {
  const scales = graph.numbers(node, 1)
  return [scales, node.inputName(2) === '' ? scales.map(() => 0) : graph.numbers(node, 2)]
}

function single(
  node: LoweredNode,
  scales: readonly number[],
  zeroPoints: readonly number[],
  type: string,
): Int8Quantization {
  const [scale, zeroPoint] = [scales[0], zeroPoints[0]]
  if (scale === undefined || zeroPoint === undefined || scales.length !== 1) {
    return node.unsupported('activations with a scale for each channel')
  }
  if (type !== 'int8' && type !== 'uint8') return node.unsupportedType(`activations of ${type}`)
  return { scale, zeroPoint: type === 'uint8' ? zeroPoint - 128 : zeroPoint }
}

/** Weights that the graph quantizes itself. @see https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html: half to even */
function quantizedConstant(
  node: LoweredNode,
  tensor: OnnxTensor,
  scales: readonly number[],
  zeroPoints: readonly number[],
  axis: number,
  type: string,
): QuantizedConstant {
  if (type !== 'int8' || zeroPoints.some((zeroPoint) => zeroPoint !== 0))
    node.unsupportedType('constants quantized around other than 0')
  const inner = elementCount(tensor.dims.slice(axis + 1))
  const values = numbersOf(tensor, node.where)
  const stored = new Int8Array(values.length)
  for (let at = 0; at < stored.length; at++) {
    const scale = scales[scales.length === 1 ? 0 : Math.floor(at / inner) % scales.length] ?? 1
    const quotient = Math.fround((values[at] ?? 0) / scale)
    const floor = Math.floor(quotient)
    const even = floor + (quotient - floor > 0.5 || (quotient - floor === 0.5 && floor % 2 !== 0) ? 1 : 0)
    stored[at] = Math.min(Math.max(even, -128), 127)
  }
  return { dims: tensor.dims, stored, scales, axis }
}
