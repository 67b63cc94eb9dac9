import type { ByteRange, FixedElementType } from '../element-type.ts'

/** A tensor of a graph that is loaded; its shape, size and place have been checked. */
export interface TinyTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly elementType: FixedElementType
  readonly elements: number
  readonly bytes: number
  /** One for the tensor, or one for each index along `dimension`; none where the file gives no quantization. */
  readonly scales: readonly number[]
  readonly zeroPoints: readonly number[]
  readonly dimension: number
  /** Kept from run to run; a kernel may write it though it is an input. */
  readonly variable: boolean
  /** Where its data is in the file; null for what is computed. */
  readonly constant: ByteRange | null
  /** Where it is in the memory, from the engine's plan: in the file, the state or the arena. */
  readonly address: number
}

/** Rounds up nothing: sizes are exact. @returns null where a dimension is no positive integer or the product passes 2^31 */
export function elementsOf(shape: readonly number[]): number | null {
  let elements = 1
  for (const dim of shape) {
    if (!Number.isInteger(dim) || dim < 1) return null
    elements *= dim
    if (elements > 0x7fffffff) return null
  }
  return elements
}
