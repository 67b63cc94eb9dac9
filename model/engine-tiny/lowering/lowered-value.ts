import type { Int8Quantization } from './lowered-graph.ts'
import type { QuantizedConstant } from './onnx-constants.ts'

/** A value in memory. Images are kept as TFLite has them, channels last; `dims` are as ONNX has them, channels first. */
export interface Stored {
  readonly kind: 'stored'
  readonly tensor: number
  /** null for float32, and for an integer input of the graph until a DequantizeLinear tells */
  readonly quantization: Int8Quantization | null
  readonly float: boolean
  readonly dims: readonly number[]
  readonly channelsLast: boolean
}

/** A sum that waits for its QuantizeLinear, which says how the kernel has to store it. */
export interface Pending {
  readonly kind: 'pending'
  readonly dims: readonly number[]
  readonly channelsLast: boolean
  readonly activation: number
  /** What the kernel can only give; another quantization costs one more step. */
  readonly own: Int8Quantization | null
  readonly emit: (output: number, activation: number) => void
}

export interface Constant {
  readonly kind: 'constant'
  readonly constant: QuantizedConstant
}

export type Value = Stored | Pending | Constant

/** A sum without an activation yet.
 *  @param own see `Pending` */
export const pendingSum = (
  dims: readonly number[],
  channelsLast: boolean,
  own: Int8Quantization | null,
  emit: Pending['emit'],
): Pending => ({ kind: 'pending', dims, channelsLast, own, emit, activation: ACTIVATION.none })

/** Dimensions of an image, channels first, in the order of TFLite. */
export const lastOf = ([batch = 1, channels = 1, ...places]: readonly number[]): readonly number[] => [
  batch,
  ...places,
  channels,
]

/** BuiltinOperator of schema.fbs for what graphs are lowered to. */
export const TFLITE = {
  ...{ ADD: 0, AVERAGE_POOL_2D: 1, CONV_2D: 3, DEPTHWISE_CONV_2D: 4, DEQUANTIZE: 6, FULLY_CONNECTED: 9 },
  ...{ MAX_POOL_2D: 17, MUL: 18, RESHAPE: 22, SOFTMAX: 25, PAD: 34, TRANSPOSE: 39, MEAN: 40, SUB: 41, QUANTIZE: 114 },
} as const
/** ActivationFunctionType and Padding of schema.fbs. */
export const ACTIVATION = { none: 0, relu: 1, relu6: 3 } as const
export const PADDING = { same: 0, valid: 1 } as const
