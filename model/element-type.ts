/** Bytes [offset, offset + length) of a model file. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}

/** Bits of an element; 0 where elements have no fixed width. One table for ONNX and TFLite. */
const BITS = {
  float32: 32,
  uint8: 8,
  int8: 8,
  uint16: 16,
  int16: 16,
  int32: 32,
  int64: 64,
  string: 0,
  bool: 8,
  float16: 16,
  float64: 64,
  uint32: 32,
  uint64: 64,
  complex64: 64,
  complex128: 128,
  bfloat16: 16,
  float8e4m3fn: 8,
  float8e4m3fnuz: 8,
  float8e5m2: 8,
  float8e5m2fnuz: 8,
  uint4: 4,
  int4: 4,
} as const

/** What the elements of a tensor are, in whatever format the model is. */
export type ElementType = keyof typeof BITS
export type FixedElementType = Exclude<ElementType, 'string'>

/** Bytes that `elements` of a type take; 4-bit types are packed two to a byte. */
export const bytesOfElements = (type: ElementType, elements: number): number => Math.ceil((elements * BITS[type]) / 8)
