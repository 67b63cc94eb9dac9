import { TfliteFault } from '../tflite/tflite-fault.ts'
import type { TfliteOperator, TfliteTensor } from '../tflite/tflite-types.ts'

/** Multiply-accumulates of a TFLite operator, from its tensors' shapes alone. Biases, pooling and activations are not counted, as MLPerf
 *  Tiny counts; a custom operator's are not known and count as none. */

/** An operator with its tensors; null where one is left out. */
export interface OperatorTensors {
  readonly builtinCode: number
  readonly name: string
  readonly inputs: readonly (TfliteTensor | null)[]
  readonly output: TfliteTensor | null
  readonly options: TfliteOperator['options']
}

export const operatorElements = (
  { builtinCode, inputs, outputs, options }: TfliteOperator,
  tensors: readonly TfliteTensor[],
  name: string,
): OperatorTensors => ({
  builtinCode,
  name,
  inputs: inputs.map((index) => tensors[index] ?? null),
  output: tensors[outputs[0] ?? -1] ?? null,
  options,
})

const elements = (tensor: TfliteTensor | null | undefined): number =>
  tensor ? tensor.shape.reduce((product, dim) => product * dim, 1) : 0
const last = (tensor: TfliteTensor | null | undefined): number => tensor?.shape.at(-1) ?? 1

/** Each output element is a sum over the weights of its channel. */
const perOutput = ({ inputs, output }: OperatorTensors, channels: number): number =>
  (elements(output) * elements(inputs[1])) / channels
/** Each row of the input meets all weights. */
const perRow = ({ inputs }: OperatorTensors, from: number, to: number): number =>
  (elements(inputs[0]) / last(inputs[0])) *
  inputs.slice(from, to + 1).reduce((sum, weights) => sum + elements(weights), 0)

/** By BuiltinOperator. */
const MACS: ReadonlyMap<number, (operator: OperatorTensors) => number> = new Map([
  [3 /* CONV_2D, OHWI */, (it) => perOutput(it, it.inputs[1]?.shape[0] ?? 1)],
  [4 /* DEPTHWISE_CONV_2D, 1HWO */, (it) => perOutput(it, last(it.inputs[1]))],
  [
    9 /* FULLY_CONNECTED, OI: rows are of I elements, whatever the input's shape */,
    (it) => elements(it.inputs[0]) * (it.inputs[1]?.shape[0] ?? 1),
  ],
  [16 /* LSTM: input, recurrent and projection weights */, (it) => perRow(it, 1, 8) + perRow(it, 16, 16)],
  [24 /* RNN */, (it) => perRow(it, 1, 2)],
  [27 /* SVDF */, (it) => perRow(it, 1, 2)],
  [35 /* UNIDIRECTIONAL_SEQUENCE_RNN */, (it) => perRow(it, 1, 2)],
  [44 /* UNIDIRECTIONAL_SEQUENCE_LSTM */, (it) => perRow(it, 1, 8) + perRow(it, 16, 16)],
  [46 /* BIDIRECTIONAL_SEQUENCE_RNN */, (it) => perRow(it, 1, 2) + perRow(it, 4, 5)],
  [
    52 /* BIDIRECTIONAL_SEQUENCE_LSTM */,
    (it) => perRow(it, 1, 8) + perRow(it, 15, 15) + perRow(it, 18, 25) + perRow(it, 33, 33),
  ],
  [
    67 /* TRANSPOSE_CONV, OHWI; input 2 is the data */,
    (it) => (elements(it.inputs[2]) * elements(it.inputs[1])) / last(it.inputs[1]),
  ],
  [
    126 /* BATCH_MATMUL */,
    (it) => elements(it.output) * (it.inputs[0]?.shape.at((it.options?.uint8(0) ?? 0) === 0 ? -1 : -2) ?? 1),
  ],
  [132 /* CONV_3D, DHWIO */, (it) => perOutput(it, last(it.inputs[1]))],
  [
    141 /* CONV_3D_TRANSPOSE, DHWOI; input 2 is the data */,
    (it) => (elements(it.inputs[2]) * elements(it.inputs[1])) / last(it.inputs[1]),
  ],
])

/** @throws TfliteFault where they are beyond exact arithmetic */
export function macsOf(operator: OperatorTensors): number {
  const macs = MACS.get(operator.builtinCode)?.(operator) ?? 0
  // Empty tensors divide zero by zero; they are no work.
  if (Number.isNaN(macs)) return 0
  if (macs > Number.MAX_SAFE_INTEGER)
    throw new TfliteFault('tflite-too-large', `${operator.name}: ${macs} multiply-accumulates`)
  return macs
}

/** Convolutions and fully connected layers, whose output channels have a multiplier and shift each. */
const REQUANTIZES: ReadonlySet<number> = new Set([3, 4, 9, 67])
const EIGHT_BIT: ReadonlySet<string | null | undefined> = new Set(['int8', 'uint8'])

export const requantizedChannelsOf = ({ builtinCode, inputs, output }: OperatorTensors): number =>
  REQUANTIZES.has(builtinCode) && EIGHT_BIT.has(inputs[1]?.elementType) ? last(output) : 0

/** Elements of one patch of a convolution's input: kernel height × width × input channels. */
export function patchElementsOf({ builtinCode, inputs }: OperatorTensors): number {
  const [, height, width] = inputs[1]?.shape ?? []
  if (builtinCode !== 3 && builtinCode !== 4) return 0
  return (height ?? 1) * (width ?? 1) * last(inputs[0])
}
