import type { TensorRole } from '../mapped-tensor.ts'
import type { OnnxNode } from './onnx-types.ts'

/** What an input of an operator is. */
export interface OnnxOperand {
  readonly input: number
  readonly role: TensorRole
  /** Axis of the output channels of a weight; negative counts from the end. */
  readonly axis: number | null
  /** Inputs with the operand's own quantization, where the operator takes such. */
  readonly scales?: number
  readonly zeroPoints?: number
}

type Operands = (node: OnnxNode) => readonly OnnxOperand[]

const weight = (input: number, axis: number | null, scales?: number, zeroPoints?: number): OnnxOperand => ({
  ...{ input, role: 'weight', axis },
  ...(scales !== undefined && { scales }),
  ...(zeroPoints !== undefined && { zeroPoints }),
})
const bias = (input: number): OnnxOperand => ({ input, role: 'bias', axis: null })
const parameters = (scales: readonly number[], zeroPoints: readonly number[]): readonly OnnxOperand[] => [
  ...scales.map((input): OnnxOperand => ({ input, role: 'scale', axis: null })),
  ...zeroPoints.map((input): OnnxOperand => ({ input, role: 'zero-point', axis: null })),
]
const always = (...operands: readonly OnnxOperand[]): Operands => {
  return () => operands
}

const int = (node: OnnxNode, name: string): number => {
  const attribute = node.attributes.get(name)
  return attribute?.kind === 'int' ? attribute.value : 0
}
/** A matrix [K, N], or [N, K] where the operator transposes it. */
const columns = (node: OnnxNode): number => (int(node, 'transB') === 0 ? -1 : -2)

const conv = always(weight(1, 0), bias(2))
const recurrent = always(weight(1, 1), weight(2, 1), bias(3))
// Of a constant on the left, the rows are what comes out.
const matMul = always(weight(1, -1), weight(0, -2))
const gemm: Operands = (node) => [weight(1, columns(node)), bias(2)]
const quantize = always(...parameters([1], [2]))
const unary = always(...parameters([1, 3], [2, 4]))
const binary = always(...parameters([1, 4, 6], [2, 5, 7]))

/** Operators of the standard domain and of com.microsoft that hold weights or quantization parameters.
 *  @see Operators.md of ONNX 1.16, ContribOperators.md of ONNX Runtime 1.18 */
const OPERANDS: ReadonlyMap<string, Operands> = new Map(
  Object.entries({
    Conv: conv,
    FusedConv: conv,
    ConvTranspose: always(weight(1, 1), bias(2)),
    Gemm: gemm,
    FusedGemm: gemm,
    MatMul: matMul,
    FusedMatMul: (node) => [weight(1, columns(node))],
    LSTM: recurrent,
    GRU: recurrent,
    RNN: recurrent,
    BatchNormalization: always(bias(2)),
    DequantizeLinear: quantize,
    QuantizeLinear: quantize,
    ConvInteger: always(weight(1, 0), ...parameters([], [2, 3])),
    MatMulInteger: always(weight(1, -1), ...parameters([], [2, 3])),
    QLinearConv: always(weight(3, 0, 4, 5), bias(8), ...parameters([1, 4, 6], [2, 5, 7])),
    QLinearMatMul: always(weight(3, -1, 4, 5), ...parameters([1, 4, 6], [2, 5, 7])),
    MatMulIntegerToFloat: always(weight(1, -1, 3, 5), bias(6), ...parameters([2, 3], [4, 5])),
    DynamicQuantizeMatMul: always(weight(1, -1, 2, 3), bias(4), ...parameters([2], [3])),
    DynamicQuantizeLSTM: always(
      ...[weight(1, 2, 8, 9), weight(2, 2, 10, 11), bias(3)],
      ...parameters([8, 10], [9, 11]),
    ),
    QGemm: (node) => [weight(3, columns(node), 4, 5), bias(6), ...parameters([1, 4, 7], [2, 5, 8])],
    QLinearAdd: binary,
    QLinearMul: binary,
    QLinearAveragePool: unary,
    QLinearGlobalAveragePool: unary,
    QLinearLeakyRelu: unary,
    QLinearSigmoid: unary,
    QLinearSoftmax: unary,
  } satisfies Record<string, Operands>),
)

/** @returns what the inputs of a node are, empty for operators that hold neither weights nor quantization parameters */
export const operandsOf = (node: OnnxNode): readonly OnnxOperand[] =>
  node.domain === '' || node.domain === 'com.microsoft' ? (OPERANDS.get(node.opType)?.(node) ?? []) : []
