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

export type OnnxElementType =
  | 'float32'
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'string'
  | 'bool'
  | 'float16'
  | 'float64'
  | 'uint32'
  | 'uint64'
  | 'complex64'
  | 'complex128'
  | 'bfloat16'
  | 'float8e4m3fn'
  | 'float8e4m3fnuz'
  | 'float8e5m2'
  | 'float8e5m2fnuz'
  | 'uint4'
  | 'int4'

/** Bytes [offset, offset + length) of the model file. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}

export interface OnnxTensor {
  readonly name: string
  readonly elementType: OnnxElementType
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
  readonly elementType: OnnxElementType | null
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

const ELEMENT_TYPES: readonly (readonly [code: number, type: OnnxElementType, bits: number])[] = [
  [1, 'float32', 32],
  [2, 'uint8', 8],
  [3, 'int8', 8],
  [4, 'uint16', 16],
  [5, 'int16', 16],
  [6, 'int32', 32],
  [7, 'int64', 64],
  [8, 'string', 0],
  [9, 'bool', 8],
  [10, 'float16', 16],
  [11, 'float64', 64],
  [12, 'uint32', 32],
  [13, 'uint64', 64],
  [14, 'complex64', 64],
  [15, 'complex128', 128],
  [16, 'bfloat16', 16],
  [17, 'float8e4m3fn', 8],
  [18, 'float8e4m3fnuz', 8],
  [19, 'float8e5m2', 8],
  [20, 'float8e5m2fnuz', 8],
  [21, 'uint4', 4],
  [22, 'int4', 4],
]
const BY_CODE = new Map(ELEMENT_TYPES.map(([code, type]) => [code, type]))
const BITS = new Map(ELEMENT_TYPES.map(([, type, bits]) => [type, bits]))

/** @returns the element type of a TensorProto.DataType code, undefined for UNDEFINED and codes after ONNX 1.16. */
export const elementTypeOfCode = (code: number): OnnxElementType | undefined => BY_CODE.get(code)

/** Bytes that `elements` of a type take; 4-bit types are packed two to a byte. */
export const bytesOfElements = (type: OnnxElementType, elements: number): number =>
  Math.ceil((elements * (BITS.get(type) ?? 0)) / 8)
