import type { ElementType } from '../element-type.ts'
import type { OnnxLimits } from './onnx-limits.ts'
import { elementTypeOfCode, type OnnxValueInfo } from './onnx-types.ts'
import type { WireReader } from './protobuf-wire.ts'

/** Reads one ValueInfoProto: what a graph says of an input or output. Throws OnnxFault. */
export function readValueInfo(reader: WireReader, limits: OnnxLimits): OnnxValueInfo {
  let name = ''
  let elementType: ElementType | null = null
  let dims: (number | null)[] | null = null
  while (reader.next()) {
    if (reader.field === 1) {
      reader.once()
      name = reader.string(limits.nameBytes)
    } else if (reader.field === 2) {
      reader.once()
      const type = reader.sub('TypeProto')
      // Field 1 is tensor_type; sequences, maps and optionals stay null and are refused by whoever needs the value.
      while (type.next()) {
        if (type.field !== 1) type.skip()
        else {
          type.once()
          ;[elementType, dims] = readTensorType(type.sub('TypeProto.Tensor'), limits)
        }
      }
    } else reader.skip()
  }
  return { name, elementType, dims }
}

function readTensorType(reader: WireReader, limits: OnnxLimits): [ElementType | null, (number | null)[] | null] {
  let elementType: ElementType | null = null
  let dims: (number | null)[] | null = null
  while (reader.next()) {
    if (reader.field === 1) {
      reader.once()
      elementType = elementTypeOfCode(reader.safeInt()) ?? null
    } else if (reader.field === 2) {
      reader.once()
      const shape = reader.sub('TensorShapeProto')
      dims = []
      while (shape.next()) {
        if (shape.field !== 1) shape.skip()
        else {
          if (dims.length >= limits.dims) shape.tooLarge(`more than ${limits.dims} dimensions`)
          dims.push(readDimension(shape.sub('TensorShapeProto.Dimension'), limits))
        }
      }
    } else reader.skip()
  }
  return [elementType, dims]
}

/** @returns null when symbolic, unset, or the -1 and 0 that some converters write for "unknown" */
function readDimension(reader: WireReader, limits: OnnxLimits): number | null {
  let value: number | null = null
  while (reader.next()) {
    if (reader.field === 1) {
      reader.once()
      const dim = reader.safeInt()
      if (dim > limits.dimension) reader.malformed(`dimension ${dim}`)
      value = dim > 0 ? dim : null
    } else reader.skip()
  }
  return value
}
