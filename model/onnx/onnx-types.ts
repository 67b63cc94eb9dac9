import type { ByteRange, ElementType } from '../element-type.ts'
import type { ModelFileError } from '../model-fault.ts'

/** What the ONNX reader hands out: plain records, no behaviour. Names follow onnx.proto of ONNX 1.16. */

export type OnnxErrorCode =
  /** Not a well-formed ModelProto: truncated, overlong, wrong wire type, contradictory sizes. */
  | 'onnx-malformed'
  /** Larger than a bound of ONNX_LIMITS. */
  | 'onnx-too-large'
  /** Tensor data in another file; a model is one file here. */
  | 'onnx-external-data'
  /** A value of a kind no device holds: strings, sparse tensors, sequences, element types after ONNX 1.16. */
  | 'onnx-unsupported-type'
  /** Names that do not resolve, are defined twice, or are used before they are defined. */
  | 'onnx-bad-graph'
  /** An operator, or a form of one, that the shape inference does not know. */
  | 'onnx-unsupported-op'
  /** A dimension, other than the batch, that only the run fixes. */
  | 'onnx-dynamic-shape'
  /** Operand shapes that contradict the operator or the declared outputs. */
  | 'onnx-shape-mismatch'

/** The detail says what, where (field, byte offset or node), which values. */
export type OnnxError = ModelFileError<OnnxErrorCode>

export interface OnnxTensor {
  readonly name: string
  readonly elementType: ElementType
  readonly dims: readonly number[]
  readonly elements: number
  /** Little-endian elements as raw_data lays them out; a view into the file where `range` is set, else a decoded copy. */
  readonly data: Uint8Array
  /** Where exactly these bytes are in the file; null when the file stores them as varints or in several pieces. */
  readonly range: ByteRange | null
}

export type OnnxAttribute =
  | { readonly kind: 'float'; readonly value: number }
  /** Integers beyond 2^53 are rounded to the nearest double (INT64_MAX as "to the end" keeps its meaning). */
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'string'; readonly value: Uint8Array }
  | { readonly kind: 'tensor'; readonly value: OnnxTensor }
  | { readonly kind: 'graph'; readonly value: OnnxGraph }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  | { readonly kind: 'strings'; readonly value: readonly Uint8Array[] }
  | { readonly kind: 'tensors'; readonly value: readonly OnnxTensor[] }
  | { readonly kind: 'graphs'; readonly value: readonly OnnxGraph[] }
  /** Sparse tensors, type protos, references to function attributes, and tensors that a reading leaves out: present, not read. */
  | { readonly kind: 'other' }

export interface OnnxNode {
  readonly opType: string
  /** '' is the standard domain ('ai.onnx' is read as ''). */
  readonly domain: string
  readonly name: string
  /** Value names; '' marks an optional input or output left out. */
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: ReadonlyMap<string, OnnxAttribute>
}

export interface OnnxValueInfo {
  readonly name: string
  /** null where the graph does not say (allowed for values of subgraphs) or it is no tensor. */
  readonly elementType: ElementType | null
  /** null where the rank is unknown; a dimension is a number, or null when symbolic or unset. */
  readonly dims: readonly (number | null)[] | null
}

export interface OnnxGraph {
  readonly name: string
  readonly inputs: readonly OnnxValueInfo[]
  readonly outputs: readonly OnnxValueInfo[]
  readonly initializers: readonly OnnxTensor[]
  readonly nodes: readonly OnnxNode[]
}

export interface OnnxModel {
  readonly irVersion: number
  /** Operator set version by domain, '' being the standard one. */
  readonly opsets: ReadonlyMap<string, number>
  readonly producer: string
  readonly graph: OnnxGraph
}

/** TensorProto.DataType from 1 on; 0 is UNDEFINED. */
const ELEMENT_TYPES: readonly ElementType[] = [
  'float32',
  'uint8',
  'int8',
  'uint16',
  'int16',
  'int32',
  'int64',
  'string',
  'bool',
  'float16',
  'float64',
  'uint32',
  'uint64',
  'complex64',
  'complex128',
  'bfloat16',
  'float8e4m3fn',
  'float8e4m3fnuz',
  'float8e5m2',
  'float8e5m2fnuz',
  'uint4',
  'int4',
]

/** @returns the element type of a TensorProto.DataType code, undefined for UNDEFINED and codes after ONNX 1.16. */
export const elementTypeOfCode = (code: number): ElementType | undefined => ELEMENT_TYPES[code - 1]
