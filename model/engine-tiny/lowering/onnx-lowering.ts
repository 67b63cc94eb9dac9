import type { Result } from '../../../contract/result.ts'
import type { ModelFileError } from '../../model-fault.ts'
import { catchFault } from '../../onnx/onnx-fault.ts'
import { inferShapes, type ShapedGraph } from '../../onnx/onnx-graph.ts'
import { readOnnx } from '../../onnx/onnx-reader.ts'
import type { OnnxErrorCode, OnnxModel } from '../../onnx/onnx-types.ts'
import { catchTinyFault, type TinyErrorCode, TinyFault } from '../tiny-fault.ts'
import { reshape, softmax, transpose } from './layout.ts'
import { LoweredNode } from './lowered-node.ts'
import { ACTIVATION, TFLITE, type Value } from './lowered-value.ts'
import { LoweredValues } from './lowered-values.ts'
import { activate, binary, clip, gemm, product } from './matrices.ts'
import { constantsOf } from './onnx-constants.ts'
import { dequantize, quantize, quantizedOperator } from './quantization.ts'
import { convolution, pool } from './windows.ts'

export type LoweringError = ModelFileError<TinyErrorCode | OnnxErrorCode>

/** Lowers a quantized ONNX graph onto the operators of the engine `tiny`, as a TFLite file of its own: QDQ graphs, in which every sum is between
 *  DequantizeLinear and QuantizeLinear, and QLinearConv and QLinearMatMul.
 *
 *  The arithmetic is that of TensorFlow Lite Micro's kernels: sums are the same integers as onnxruntime's, but onnxruntime rescales them by a float32
 *  factor and rounds half to even, and the kernels by a 31-bit factor, rounding half away from zero, twice. So an output may differ by
 *  one step of int8 a layer, and where such steps add up by more (the zoo's kws-1 on its golden vectors: two steps in a logit, 0.03 in
 *  a posterior; kws-2 0.02). An average over a window is rounded to its input's quantization first. Softmax is computed in float32 by
 *  both.
 *  @param bytes an ONNX file, not trusted
 *  @returns a TFLite file, what `readOnnx` and `inferShapes` refuse, or `tiny-unsupported-operator` | `tiny-unsupported-type` with the
 *    node, for what has no counterpart: it stays with onnxruntime
 *  @see https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html */
export function lowerOnnx(bytes: Uint8Array): Result<Uint8Array, LoweringError> {
  const model = readOnnx(bytes)
  if (!model.ok) return model
  const shaped = inferShapes(model.value)
  if (!shaped.ok) return shaped
  // Attributes are read by the rules of the shapes, which refuse what contradicts itself.
  const file = catchFault(() => catchTinyFault(() => lowered(model.value, shaped.value)))
  return file.ok ? file.value : file
}

function lowered(model: OnnxModel, { inputs, outputs, nodes }: ShapedGraph): Uint8Array {
  const consumers = new Map<string, number>()
  const consumed = (name: string): void => void consumers.set(name, (consumers.get(name) ?? 0) + 1)
  for (const { node } of nodes) node.inputs.forEach(consumed)
  for (const { name } of outputs) consumed(name)
  const graph = new LoweredValues({
    ...{ consumers, constants: constantsOf(model), opset: model.opsets.get('') ?? 1 },
    inputs: new Set(inputs.map(({ name }) => name)),
  })
  const ends = inputs.map(({ name, elementType, dims }) => {
    if (elementType !== 'int8' && elementType !== 'uint8' && elementType !== 'float32') {
      throw new TinyFault('tiny-unsupported-type', `input "${name}" is ${elementType}`)
    }
    const tensor = graph.out.tensor({ name, elementType, shape: dims })
    graph.values.set(name, {
      ...{ kind: 'stored', tensor, dims, channelsLast: false },
      ...{ quantization: null, float: elementType === 'float32' },
    })
    return tensor
  })
  for (const shaped of nodes) {
    const folded = shaped.outputs.every((output) => output === null || output.constant)
    if (folded && !FOLLOWED.has(shaped.node.opType)) continue
    const node = new LoweredNode(shaped, graph.opset)
    graph.values.set(node.outputName, loweredNode(graph, node))
  }
  return graph.out.write(
    ends,
    outputs.map(({ name, elementType }) => output(graph, name, elementType)),
  )
}

/** Operators of constants alone that are followed; what others compute is shapes and the like, which the shapes' rules have read. */
const FOLLOWED: ReadonlySet<string> = new Set(['QuantizeLinear', 'DequantizeLinear', 'Transpose'])

function loweredNode(graph: LoweredValues, node: LoweredNode): Value {
  if (node.shaped.node.domain !== '') return node.unsupported(`an operator of the domain ${node.shaped.node.domain}`)
  switch (node.opType) {
    case 'DequantizeLinear':
      return dequantize(graph, node)
    case 'QuantizeLinear':
      return quantize(graph, node)
    case 'Conv':
      return convolution(graph, node, graph.image(node, 0), graph.constant(node, 1), 2)
    case 'QLinearConv':
      return quantizedOperator(graph, node, (x, weights) =>
        convolution(graph, node, graph.channelsLast(x, node), weights, 8),
      )
    case 'Gemm':
      return gemm(graph, node)
    case 'MatMul':
      return product(graph, node, graph.plain(graph.sum(node, 0), node), graph.constant(node, 1), false, -1)
    case 'QLinearMatMul':
      return quantizedOperator(graph, node, (x, weights) =>
        product(graph, node, graph.plain(x, node), weights, false, -1),
      )
    case 'Relu':
      return activate(graph, node, ACTIVATION.relu)
    case 'Clip':
      return activate(graph, node, clip(graph, node))
    case 'Add':
      return binary(graph, node, TFLITE.ADD)
    case 'Sub':
      return binary(graph, node, TFLITE.SUB)
    case 'Mul':
      return binary(graph, node, TFLITE.MUL)
    case 'MaxPool':
      return pool(graph, node, TFLITE.MAX_POOL_2D)
    case 'AveragePool':
    case 'GlobalAveragePool':
      return pool(graph, node, TFLITE.AVERAGE_POOL_2D)
    case 'Reshape':
    case 'Flatten':
    case 'Squeeze':
    case 'Unsqueeze':
    case 'Identity':
    case 'Dropout':
      return reshape(graph, graph.plain(graph.stored(node, 0), node), node.output)
    case 'Transpose':
      return transpose(graph, node)
    case 'Softmax':
      return softmax(graph, node)
    default:
      return node.unsupported('the engine "tiny" has no counterpart')
  }
}

/** An output as the graph declares it. */
function output(graph: LoweredValues, name: string, elementType: string): number {
  const value = graph.values.get(name)
  if (value?.kind !== 'stored') {
    throw new TinyFault(
      'tiny-unsupported-operator',
      `output "${name}": no QuantizeLinear says how it is stored; run it on onnxruntime`,
    )
  }
  const plain = graph.plain(value, null)
  if (elementType === 'float32') return graph.real(plain, name).tensor
  if (elementType === 'int8' || plain.quantization === null) return plain.tensor
  const { scale, zeroPoint } = plain.quantization
  const quantization = { scales: [scale], zeroPoints: [zeroPoint + 128], dimension: 0 }
  const tensor = graph.out.tensor({ name, elementType: 'uint8', shape: plain.dims, quantization })
  graph.out.operator(TFLITE.QUANTIZE, [plain.tensor], tensor)
  return tensor
}
