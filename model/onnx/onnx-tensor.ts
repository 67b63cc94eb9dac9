import { type ByteRange, bytesOfElements, type ElementType } from '../element-type.ts'
import { OnnxFault } from './onnx-fault.ts'
import type { OnnxLimits } from './onnx-limits.ts'
import { elementTypeOfCode, type OnnxTensor } from './onnx-types.ts'
import type { WireReader } from './protobuf-wire.ts'

/** Which *_data field holds which element types, from the comments of onnx.proto. */
const INT32_DATA: ReadonlySet<ElementType> = new Set([
  'int32',
  'int16',
  'int8',
  'uint16',
  'uint8',
  'bool',
  'float16',
  'bfloat16',
  'float8e4m3fn',
  'float8e4m3fnuz',
  'float8e5m2',
  'float8e5m2fnuz',
])
const UINT64_DATA: ReadonlySet<ElementType> = new Set(['uint32', 'uint64'])
const SIGNED: ReadonlySet<ElementType> = new Set(['int8', 'int16', 'int32', 'int64'])

type DataField = 'raw_data' | 'float_data' | 'double_data' | 'int32_data' | 'int64_data' | 'uint64_data'
const FIELD_NAMES: ReadonlyMap<number, DataField> = new Map([
  [4, 'float_data'],
  [5, 'int32_data'],
  [7, 'int64_data'],
  [9, 'raw_data'],
  [10, 'double_data'],
  [11, 'uint64_data'],
])

/** Reads one TensorProto: exactly one data field, of the size its dims and type say. Throws OnnxFault.
 *  @param varintsMax elements that it may store as varints */
export function readTensor(reader: WireReader, limits: OnnxLimits, varintsMax: number): OnnxTensor {
  const dims: number[] = []
  const integers: bigint[] = []
  let name = ''
  let typeCode = 0
  let dataField: DataField | null = null
  let data: Uint8Array | null = null
  let range: ByteRange | null = null

  while (reader.next()) {
    const field = FIELD_NAMES.get(reader.field)
    if (field !== undefined) {
      // Varint fields may come unpacked, one element a field; everything else is one run of bytes.
      const varints = field === 'int32_data' || field === 'int64_data' || field === 'uint64_data'
      if (dataField !== null && (dataField !== field || !varints)) reader.malformed('second data field')
      dataField = field
      if (varints) reader.bigInts(integers, varintsMax)
      else {
        data = reader.bytes()
        range = { offset: data.byteOffset - reader.file.byteOffset, length: data.length }
      }
    } else if (reader.field === 1) reader.int64s(dims, limits.dims)
    else if (reader.field === 2) {
      reader.once()
      typeCode = reader.safeInt()
    } else if (reader.field === 8) {
      reader.once()
      name = reader.string(limits.nameBytes)
    } else if (reader.field === 13) refuseExternal(name)
    else if (reader.field === 14) {
      reader.once()
      if (reader.safeInt() !== 0) refuseExternal(name)
    } else if (reader.field === 3) reader.malformed('segmented tensor')
    else reader.skip()
  }

  const elementType = elementTypeOfCode(typeCode)
  if (typeCode < 1) return reader.malformed(`tensor "${name}" has element type ${typeCode}`)
  if (elementType === undefined) throw new OnnxFault('onnx-unsupported-type', `tensor "${name}" has type ${typeCode}`)
  if (elementType === 'string') throw new OnnxFault('onnx-unsupported-type', `tensor "${name}" holds strings`)
  const elements = countElements(reader, name, dims, limits)
  const bytes = bytesOfElements(elementType, elements)
  if (dataField !== null && !fieldFits(dataField, elementType)) {
    reader.malformed(`tensor "${name}" of ${elementType} in ${dataField}`)
  }
  if (data === null) {
    if (integers.length !== elements)
      reader.malformed(`tensor "${name}" has ${integers.length} of ${elements} elements`)
    data = encodeIntegers(reader, name, elementType, integers)
  }
  if (data.length !== bytes) reader.malformed(`tensor "${name}" has ${data.length} bytes, its dims say ${bytes}`)
  return { name, elementType, dims, elements, data, range }
}

function refuseExternal(name: string): never {
  throw new OnnxFault('onnx-external-data', `tensor "${name}" keeps its data in another file`)
}

function countElements(reader: WireReader, name: string, dims: readonly number[], limits: OnnxLimits): number {
  let elements = 1
  for (const dim of dims) {
    if (dim < 0 || dim > limits.dimension) reader.malformed(`tensor "${name}" has dimension ${dim}`)
    elements *= dim
    if (elements > limits.elements) reader.tooLarge(`tensor "${name}" of more than ${limits.elements} elements`)
  }
  return elements
}

function fieldFits(field: DataField, type: ElementType): boolean {
  switch (field) {
    case 'raw_data':
      return true
    case 'float_data':
      return type === 'float32' || type === 'complex64'
    case 'double_data':
      return type === 'float64' || type === 'complex128'
    case 'int32_data':
      return INT32_DATA.has(type)
    case 'int64_data':
      return type === 'int64'
    case 'uint64_data':
      return UINT64_DATA.has(type)
  }
}

/** Lays varint elements out as raw_data would. A value outside its type is refused, never wrapped. */
function encodeIntegers(reader: WireReader, name: string, type: ElementType, integers: readonly bigint[]): Uint8Array {
  const size = bytesOfElements(type, 1)
  const bits = 8 * size
  const data = new Uint8Array(size * integers.length)
  for (const [index, value] of integers.entries()) {
    const wrapped = SIGNED.has(type) ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value)
    // uint64 arrives as the signed reading of the same 64 bits; every other type must hold the value as it is.
    if (type !== 'uint64' && wrapped !== value) reader.malformed(`tensor "${name}" has ${value} as ${type}`)
    let rest = BigInt.asUintN(64, value)
    for (let byte = 0; byte < size; byte++) {
      data[index * size + byte] = Number(rest & 0xffn)
      rest >>= 8n
    }
  }
  return data
}
