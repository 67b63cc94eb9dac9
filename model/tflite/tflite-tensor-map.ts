import { type ByteRange, bytesOfElements } from '../element-type.ts'
import {
  type MappedTensor,
  orderedMap,
  outranks,
  quantizationOf,
  subgraphPath,
  type TensorDraft,
  type TensorRole,
} from '../mapped-tensor.ts'
import type { TfliteModel, TfliteOperator, TfliteSubgraph, TfliteTensor } from './tflite-types.ts'

/** What an input of an operator is. */
interface Operand {
  readonly role: 'weight' | 'bias'
  /** Axis of the output channels of a weight; null where an option of the operator decides. */
  readonly axis: number | null
}

const weight = (axis: number | null): Operand => ({ role: 'weight', axis })
const BIAS: Operand = { role: 'bias', axis: null }
const span = (from: number, to: number, operand: Operand): [number, Operand][] =>
  Array.from({ length: to - from + 1 }, (_, index) => [from + index, operand])

/** Input weights, recurrent weights, peepholes, biases, projection and its bias. */
const lstm = (first: number): [number, Operand][] => [
  ...span(first, first + 10, weight(0)),
  ...span(first + 11, first + 14, BIAS),
  [first + 15, weight(0)],
  [first + 16, BIAS],
]
const RNN: [number, Operand][] = [...span(1, 2, weight(0)), [3, BIAS]]

/** By BuiltinOperator: which inputs hold what. @see the operator definitions in tensorflow/lite/kernels */
const OPERANDS: ReadonlyMap<number, ReadonlyMap<number, Operand>> = new Map(
  (
    [
      [
        3 /* CONV_2D, OHWI */,
        [
          [1, weight(0)],
          [2, BIAS],
        ],
      ],
      [
        4 /* DEPTHWISE_CONV_2D, 1HWO */,
        [
          [1, weight(3)],
          [2, BIAS],
        ],
      ],
      [
        9 /* FULLY_CONNECTED, OI */,
        [
          [1, weight(0)],
          [2, BIAS],
        ],
      ],
      [16 /* LSTM */, lstm(1)],
      [24 /* RNN */, RNN],
      [27 /* SVDF: by feature, by time */, RNN],
      [35 /* UNIDIRECTIONAL_SEQUENCE_RNN */, RNN],
      [44 /* UNIDIRECTIONAL_SEQUENCE_LSTM */, lstm(1)],
      [46 /* BIDIRECTIONAL_SEQUENCE_RNN */, [...RNN, ...span(5, 6, weight(0)), [7, BIAS]]],
      [52 /* BIDIRECTIONAL_SEQUENCE_LSTM */, [...lstm(1), ...lstm(18)]],
      [
        67 /* TRANSPOSE_CONV, OHWI; input 0 is the output's shape */,
        [
          [1, weight(0)],
          [3, BIAS],
        ],
      ],
      [126 /* BATCH_MATMUL */, [[1, weight(null)]]],
      [
        132 /* CONV_3D, DHWIO */,
        [
          [1, weight(4)],
          [2, BIAS],
        ],
      ],
      [
        141 /* CONV_3D_TRANSPOSE, DHWOI */,
        [
          [1, weight(3)],
          [3, BIAS],
        ],
      ],
    ] as [number, [number, Operand][]][]
  ).map(([code, operands]) => [code, new Map(operands)]),
)

/** DEQUANTIZE and DENSIFY: float16 or sparse weights, unpacked before the operator that they are for. */
const UNPACKS: ReadonlySet<number> = new Set([6, 124])

/** Maps the constants of a TFLite file, and the lists of every tensor's quantization as `{tensor}:scale`, `:zero-point`, `:min` and
 *  `:max`: where ONNX has tensors TFLite has lists in the tensor's description, and they are up to a third of a small model. What
 *  several tensors share appears once. */
export function mapTflite(model: TfliteModel): MappedTensor[] {
  return orderedMap(
    model.subgraphs.flatMap((subgraph, ordinal) => {
      const path = ordinal === 0 ? '' : subgraphPath('', subgraph.name || `graph#${ordinal}`, ordinal)
      return subgraphDrafts(model, subgraph, path)
    }),
  )
}

function subgraphDrafts(model: TfliteModel, { tensors, operators }: TfliteSubgraph, path: string): TensorDraft[] {
  const drafts = tensors.map((tensor) => draftOf(model, tensor, path))
  const packed = packedSources(operators)
  const unpackedFrom = (index: number): number => packed.get(index) ?? index
  for (const { builtinCode, inputs } of operators) {
    const operands = OPERANDS.get(builtinCode)
    if (operands === undefined) continue
    for (const [input, { role, axis }] of operands) {
      // Twice: a sparse float16 weight passes both.
      const draft = drafts[unpackedFrom(unpackedFrom(inputs[input] ?? -1))]
      if (!draft || !outranks(role, draft.role)) continue
      draft.role = role
      draft.outputAxis = axis
    }
  }
  return [...drafts.filter((draft) => draft !== null), ...tensors.flatMap((tensor) => parameterDrafts(tensor, path))]
}

function parameterDrafts({ name, quantization }: TfliteTensor, path: string): TensorDraft[] {
  if (quantization === null) return []
  const list = (suffix: string, role: TensorRole, range: ByteRange, elementBytes: 4 | 8): TensorDraft => ({
    name: `${path}${name}:${suffix}`,
    elementType: elementBytes === 4 ? 'float32' : 'int64',
    shape: [range.length / elementBytes],
    range,
    quantization: null,
    role,
    outputAxis: null,
  })
  const { scales, zeroPoints, min, max } = quantization.ranges
  return [
    list('scale', 'scale', scales, 4),
    list('zero-point', 'zero-point', zeroPoints, 8),
    list('min', 'other', min, 4),
    list('max', 'other', max, 4),
  ]
}

/** What each output of an unpacking operator is made of. */
const packedSources = (operators: readonly TfliteOperator[]): ReadonlyMap<number, number> =>
  new Map(
    operators
      .filter(({ builtinCode }) => UNPACKS.has(builtinCode))
      .map(({ inputs, outputs }) => [outputs[0] ?? -1, inputs[0] ?? -1]),
  )

/** @returns null for what is no constant, or is not stored as type and shape say (strings, sparse tensors) */
function draftOf(model: TfliteModel, tensor: TfliteTensor, path: string): TensorDraft | null {
  const { name, shape, elementType, buffer, quantization, sparse } = tensor
  const range = buffer === 0 ? null : (model.buffers[buffer] ?? null)
  if (range === null || elementType === null || sparse || shape.some((dim) => dim < 0)) return null
  const elements = shape.reduce((product, dim) => product * dim, 1)
  if (range.length !== bytesOfElements(elementType, elements)) return null
  return {
    name: path + name,
    elementType,
    shape,
    range,
    quantization:
      quantization && quantizationOf(shape, quantization.scales, quantization.zeroPoints, quantization.dimension),
    role: 'other',
    outputAxis: null,
  }
}
