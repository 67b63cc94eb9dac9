import type { ElementType } from '../element-type.ts'
import { elementCount, type Inferred, type InferredValue, likeInput, type OpView, type ShapeRule } from './onnx-op.ts'
import { elementTypeOfCode } from './onnx-types.ts'

/** Shape rules of arithmetic: element-wise, matrix products, quantization, reductions.
 *  @see https://onnx.ai/onnx/operators/ and ONNX Runtime's ContribOperators.md for com.microsoft
 */

/** NumPy broadcasting. */
function broadcast(op: OpView, ...shapes: (readonly number[])[]): readonly number[] {
  const rank = Math.max(...shapes.map((dims) => dims.length))
  return Array.from({ length: rank }, (_, axis) => {
    let size = 1
    for (const dims of shapes) {
      const dim = dims[axis - rank + dims.length] ?? 1
      if (dim !== 1 && size !== 1 && dim !== size) op.mismatch(`shapes ${shapes.map((s) => `[${s}]`).join(' and ')}`)
      if (dim !== 1) size = dim
    }
    return size
  })
}

const INTEGER_ARITHMETIC: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => Math.trunc(a / b),
}

/** Follows shape arithmetic that exporters leave in the graph; anything else is unknown, not guessed. */
function foldIntegers(op: OpView): readonly number[] | null {
  const compute = INTEGER_ARITHMETIC[op.node.opType]
  const a = op.optional(0)?.ints ?? null
  const b = op.optional(1)?.ints ?? null
  if (compute === undefined || a === null || b === null) return null
  if (a.length !== b.length && a.length !== 1 && b.length !== 1) return null
  const ints = Array.from({ length: Math.max(a.length, b.length) }, (_, i) =>
    compute(a[a.length === 1 ? 0 : i]!, b[b.length === 1 ? 0 : i]!),
  )
  return ints.every(Number.isSafeInteger) ? ints : null
}

const elementwise =
  (resultType?: ElementType): ShapeRule =>
  (op) => {
    const values = op.inputs.map((_, index) => op.input(index))
    const dims = broadcast(op, ...values.map((value) => value.dims))
    return { outputs: [{ elementType: resultType ?? op.input(0).elementType, dims, ints: foldIntegers(op) }] }
  }

/** com.microsoft binary operators: A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale, C_zero_point. */
const quantizedBinary: ShapeRule = (op) => ({
  outputs: [{ elementType: op.input(0).elementType, dims: broadcast(op, op.input(0).dims, op.input(3).dims) }],
})

function product(op: OpView, a: readonly number[], b: readonly number[], elementType: ElementType): Inferred {
  if (a.length === 0 || b.length === 0) op.mismatch('scalar operand')
  // One-dimensional operands gain a dimension for the product and lose it after.
  const left = a.length === 1 ? [1, ...a] : a
  const right = b.length === 1 ? [...b, 1] : b
  const [rows, inner] = left.slice(-2) as [number, number]
  const [innerOfRight, columns] = right.slice(-2) as [number, number]
  if (inner !== innerOfRight) op.mismatch(`[${a}] times [${b}]`)
  const batch = broadcast(op, left.slice(0, -2), right.slice(0, -2))
  const dims = [...batch, ...(a.length === 1 ? [] : [rows]), ...(b.length === 1 ? [] : [columns])]
  return { outputs: [{ elementType, dims }], macs: elementCount(batch) * rows * columns * inner }
}

function gemm(
  op: OpView,
  a: readonly number[],
  b: readonly number[],
  elementType: ElementType,
  bias: number,
): Inferred {
  if (a.length !== 2 || b.length !== 2) op.mismatch(`[${a}] times [${b}], expected matrices`)
  const [rows, inner] = (op.int('transA', 0) ? [a[1], a[0]] : a) as [number, number]
  const [innerOfRight, columns] = (op.int('transB', 0) ? [b[1], b[0]] : b) as [number, number]
  if (inner !== innerOfRight) op.mismatch(`[${a}] times [${b}]`)
  const dims = [rows, columns]
  const c = op.optional(bias)
  if (c !== null && broadcast(op, dims, c.dims).join() !== dims.join()) op.mismatch(`bias [${c.dims}] for [${dims}]`)
  return { outputs: [{ elementType, dims }], macs: rows * columns * inner }
}

const quantize: ShapeRule = (op) => {
  const named = elementTypeOfCode(op.int('output_dtype', 0))
  return { outputs: [{ elementType: op.optional(2)?.elementType ?? named ?? 'uint8', dims: op.input(0).dims }] }
}

const dequantize: ShapeRule = (op) => ({
  outputs: [{ elementType: op.input(1).elementType, dims: op.input(0).dims }],
})

const reduce: ShapeRule = (op) => {
  const { elementType, dims } = op.input(0)
  const listed = op.optional(1) === null ? op.intList('axes') : op.ints(1)
  const none = listed === null || listed.length === 0
  if (none && op.int('noop_with_empty_axes', 0) !== 0) return { outputs: [{ elementType, dims }] }
  const axes = new Set(none ? dims.map((_, axis) => axis) : op.axes(listed, dims.length))
  const keep = op.int('keepdims', 1) !== 0
  const reduced = dims.flatMap((dim, axis) => (axes.has(axis) ? (keep ? [1] : []) : [dim]))
  return { outputs: [{ elementType, dims: reduced }] }
}

const argument: ShapeRule = (op) => {
  const { dims } = op.input(0)
  const axis = op.axis(op.int('axis', 0), dims.length)
  const keep = op.int('keepdims', 1) !== 0
  return {
    outputs: [{ elementType: 'int64', dims: dims.flatMap((dim, i) => (i === axis ? (keep ? [1] : []) : [dim])) }],
  }
}

const scalar = (elementType: ElementType): InferredValue => ({ elementType, dims: [] })

const each = (names: readonly string[], rule: ShapeRule): Record<string, ShapeRule> =>
  Object.fromEntries(names.map((name) => [name, rule]))

export const MATH_RULES: Readonly<Record<string, ShapeRule>> = {
  ...each(
    [
      ...['Relu', 'Clip', 'Sigmoid', 'Tanh', 'HardSigmoid', 'HardSwish', 'LeakyRelu', 'Elu', 'Selu', 'Celu', 'Gelu'],
      ...['ThresholdedRelu', 'Softplus', 'Softsign', 'Mish', 'Erf', 'Exp', 'Log', 'Sqrt', 'Reciprocal', 'Neg', 'Abs'],
      ...['Floor', 'Ceil', 'Round', 'Sign', 'Sin', 'Cos', 'Not', 'Softmax', 'LogSoftmax', 'Hardmax', 'LpNormalization'],
      ...['BatchNormalization', 'InstanceNormalization', 'LayerNormalization', 'MeanVarianceNormalization', 'LRN'],
      ...['com.microsoft:QLinearSigmoid', 'com.microsoft:QLinearLeakyRelu', 'com.microsoft:QLinearSoftmax'],
    ],
    likeInput(0),
  ),
  ...each(['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Mod', 'PRelu', 'Min', 'Max', 'Sum', 'Mean'], elementwise()),
  ...each(['Equal', 'Less', 'LessOrEqual', 'Greater', 'GreaterOrEqual', 'And', 'Or', 'Xor'], elementwise('bool')),
  ...each(['com.microsoft:QLinearAdd', 'com.microsoft:QLinearMul'], quantizedBinary),
  ...each(['ReduceMean', 'ReduceSum', 'ReduceMax', 'ReduceMin', 'ReduceProd', 'ReduceL1', 'ReduceL2'], reduce),
  ...each(['ReduceSumSquare', 'ReduceLogSum', 'ReduceLogSumExp'], reduce),
  ...each(['ArgMax', 'ArgMin'], argument),
  ...each(['QuantizeLinear', 'com.microsoft:QuantizeLinear'], quantize),
  ...each(['DequantizeLinear', 'com.microsoft:DequantizeLinear'], dequantize),
  Where: (op) => ({
    outputs: [
      {
        elementType: op.input(1).elementType,
        dims: broadcast(op, op.input(0).dims, op.input(1).dims, op.input(2).dims),
      },
    ],
  }),
  MatMul: (op) => product(op, op.input(0).dims, op.input(1).dims, op.input(0).elementType),
  // a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point
  QLinearMatMul: (op) => product(op, op.input(0).dims, op.input(3).dims, op.input(7).elementType),
  MatMulInteger: (op) => product(op, op.input(0).dims, op.input(1).dims, 'int32'),
  Gemm: (op) => gemm(op, op.input(0).dims, op.input(1).dims, op.input(0).elementType, 2),
  // A, a_scale, a_zero_point, B, b_scale, b_zero_point, C, y_scale, y_zero_point; without y_scale the result is float
  'com.microsoft:QGemm': (op) =>
    gemm(
      op,
      op.input(0).dims,
      op.input(3).dims,
      op.optional(8)?.elementType ?? (op.optional(7) ? 'uint8' : 'float32'),
      6,
    ),
  DynamicQuantizeLinear: (op) => ({
    outputs: [{ elementType: 'uint8', dims: op.input(0).dims }, scalar('float32'), scalar('uint8')],
  }),
}
