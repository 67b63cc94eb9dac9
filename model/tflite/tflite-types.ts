import type { ByteRange, FixedElementType } from '../element-type.ts'
import type { FlatTable } from './flatbuffer-wire.ts'

/** What the TFLite reader hands out: records, whose only behaviour is the table of an operator's options. Names follow schema.fbs, version 3c. */

export interface TfliteQuantization {
  /** real = scale × (stored − zero point); one for the tensor, or one for each index along `dimension`. */
  readonly scales: readonly number[]
  readonly zeroPoints: readonly number[]
  readonly dimension: number
  /** Where the lists are in the file: float32, zero points int64; empty for an absent one. Of `min` and `max`, what training saw, no
   *  runtime takes notice, but converters leave them in the file. */
  readonly ranges: Readonly<Record<'scales' | 'zeroPoints' | 'min' | 'max', ByteRange>>
}

export interface TfliteTensor {
  readonly name: string
  /** As the file says; a negative dimension is unknown, and no constant has one. */
  readonly shape: readonly number[]
  /** null for strings, resources, variants and types after schema 3c. */
  readonly elementType: FixedElementType | null
  /** Index into `TfliteModel.buffers`; 0 means that the tensor is no constant. */
  readonly buffer: number
  /** null where the file gives no scale, or another kind of quantization. */
  readonly quantization: TfliteQuantization | null
  /** Keeps its contents from one run to the next. */
  readonly variable: boolean
  /** Its buffer holds the nonzero elements only. */
  readonly sparse: boolean
}

export interface TfliteOperator {
  /** BuiltinOperator; 32 is a custom operator. */
  readonly builtinCode: number
  /** Name of a custom operator, else ''. */
  readonly customCode: string
  /** Indices into the subgraph's tensors; -1 is an optional one left out. */
  readonly inputs: readonly number[]
  readonly outputs: readonly number[]
  /** Tensors that hold only types and scales of what an LSTM computes on the way. */
  readonly intermediates: readonly number[]
  /** Which options these are: BuiltinOptions of the schema, 0 for none. */
  readonly optionsType: number
  /** Read field by field by whoever knows the operator; a fault in it is thrown then, so read it within `catchTfliteFault`. */
  readonly options: FlatTable | null
}

export interface TfliteSubgraph {
  readonly name: string
  readonly tensors: readonly TfliteTensor[]
  readonly operators: readonly TfliteOperator[]
  /** Indices into `tensors`. */
  readonly inputs: readonly number[]
  readonly outputs: readonly number[]
}

export interface TfliteModel {
  readonly subgraphs: readonly TfliteSubgraph[]
  /** Where the data of each buffer is in the file; null for an empty one. Ranges may coincide. */
  readonly buffers: readonly (ByteRange | null)[]
  readonly metadata: readonly { readonly name: string; readonly buffer: number }[]
}

/** TensorType of schema.fbs. */
const ELEMENT_TYPES: ReadonlyMap<number, FixedElementType> = new Map([
  [0, 'float32'],
  [1, 'float16'],
  [2, 'int32'],
  [3, 'uint8'],
  [4, 'int64'],
  [6, 'bool'],
  [7, 'int16'],
  [8, 'complex64'],
  [9, 'int8'],
  [10, 'float64'],
  [11, 'complex128'],
  [12, 'uint64'],
  [15, 'uint32'],
  [16, 'uint16'],
  [17, 'int4'],
  [18, 'bfloat16'],
])

/** @returns the element type of a TensorType code, null for what is no number of fixed width */
export const tfliteElementType = (code: number): FixedElementType | null => ELEMENT_TYPES.get(code) ?? null
