import type { ElementType } from './element-type.ts'

/** Decodes the elements of a tensor as raw_data lays them out.
 *  @param data little-endian, row-major, of `elements` elements at least; 4-bit ones two to a byte, the lower first
 *  @returns doubles; null for types that are no scale and no zero point (64-bit integers, complex, bool, float8, strings)
 */
export function tensorNumbers(type: ElementType, data: Uint8Array, elements: number): number[] | null {
  const read = READERS[type]
  if (read === undefined) return null
  const view = new DataView(data.buffer, data.byteOffset, data.length)
  const numbers: number[] = []
  for (let index = 0; index < elements; index++) numbers.push(read(view, index))
  return numbers
}

type ElementReader = (view: DataView, index: number) => number

const nibble: ElementReader = (view, index) => (view.getUint8(index >> 1) >> (4 * (index & 1))) & 0x0f

const READERS: Readonly<Partial<Record<ElementType, ElementReader>>> = {
  float32: (view, index) => view.getFloat32(4 * index, true),
  float64: (view, index) => view.getFloat64(8 * index, true),
  float16: (view, index) => half(view.getUint16(2 * index, true)),
  int8: (view, index) => view.getInt8(index),
  uint8: (view, index) => view.getUint8(index),
  int16: (view, index) => view.getInt16(2 * index, true),
  uint16: (view, index) => view.getUint16(2 * index, true),
  int32: (view, index) => view.getInt32(4 * index, true),
  uint32: (view, index) => view.getUint32(4 * index, true),
  uint4: nibble,
  int4: (view, index) => (nibble(view, index) << 28) >> 28,
  bfloat16: (view, index) => {
    const word = new DataView(new ArrayBuffer(4))
    word.setUint32(0, view.getUint16(2 * index, true) << 16)
    return word.getFloat32(0)
  },
}

/** IEEE 754 binary16. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25)
}
