/** Kinds of numbers that a patch knows. Both signs of integers are one kind: only differences are coded, modulo their size. */
export const NUMBER_KINDS = ['int8', 'int16', 'int32', 'float16', 'bfloat16', 'float32'] as const
export type NumberKind = (typeof NUMBER_KINDS)[number]

export interface NumberLayout {
  readonly bytes: number
  /** bits of exponent and mantissa; 0 for integers */
  readonly exponent: number
  readonly mantissa: number
}

export const NUMBER_LAYOUTS: Readonly<Record<NumberKind, NumberLayout>> = {
  int8: { bytes: 1, exponent: 0, mantissa: 0 },
  int16: { bytes: 2, exponent: 0, mantissa: 0 },
  int32: { bytes: 4, exponent: 0, mantissa: 0 },
  float16: { bytes: 2, exponent: 5, mantissa: 10 },
  bfloat16: { bytes: 2, exponent: 8, mantissa: 7 },
  float32: { bytes: 4, exponent: 8, mantissa: 23 },
}
export const bytesOfNumber = (kind: NumberKind): number => NUMBER_LAYOUTS[kind].bytes

/** A run of numbers of one kind, and what each is predicted from. */
export interface NumberRun {
  readonly kind: NumberKind
  readonly count: number
  /** where the predicting numbers are: in the base, in the result made so far, or nowhere */
  readonly source: 'none' | 'base' | 'result'
  /** first byte of them */
  readonly offset: number
  /** int8: the value that means zero. Others: 0. */
  readonly center: number
  /** int8: numbers of one output channel, which lie together; 0 for none. Others: 0. */
  readonly channel: number
  /** int8: whether what is near decides how large a difference is expected */
  readonly local: boolean
  /** floats: the largest exponent, biased, of these numbers or of the predicting ones. Integers: 0. */
  readonly exponent: number
  /** floats without a source: low bits that are zero in every number. Others: 0. */
  readonly zeroBits: number
  /** float32 with a source: the bits of the float32 that each predicting number is multiplied with. Others: 0. */
  readonly gain: number
}

export const SOURCES = ['none', 'base', 'result'] as const
/** bits of a float32 1 */
export const GAIN_ONE = 0x3f80_0000
