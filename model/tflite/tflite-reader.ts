import { err, type Result } from '../../contract/result.ts'
import type { ByteRange } from '../element-type.ts'
import { FlatbufferFile, type FlatTable } from './flatbuffer-wire.ts'
import { catchTfliteFault, type TfliteError, TfliteFault } from './tflite-fault.ts'
import { TFLITE_LIMITS } from './tflite-limits.ts'
import {
  type TfliteModel,
  type TfliteOperator,
  type TfliteQuantization,
  type TfliteSubgraph,
  type TfliteTensor,
  tfliteElementType,
} from './tflite-types.ts'

/** Field numbers of schema.fbs, version 3c; only what is read. */
const MODEL = { version: 0, operatorCodes: 1, subgraphs: 2, buffers: 4, metadata: 6 } as const
const OPERATOR_CODE = { deprecatedBuiltinCode: 0, customCode: 1, builtinCode: 3 } as const
const SUBGRAPH = { tensors: 0, inputs: 1, outputs: 2, operators: 3, name: 4 } as const
const TENSOR = { shape: 0, type: 1, buffer: 2, name: 3, quantization: 4, isVariable: 5, sparsity: 6 } as const
const QUANTIZATION = { min: 0, max: 1, scale: 2, zeroPoint: 3, detailsType: 4, dimension: 6 } as const
const OPERATOR = { opcodeIndex: 0, inputs: 1, outputs: 2, optionsType: 3, options: 4, intermediates: 8 } as const
const METADATA = { name: 0, buffer: 1 } as const
const BUFFER = { data: 0, offset: 1, size: 2 } as const

const SCHEMA_VERSION = 3
const IDENTIFIER = [0x54, 0x46, 0x4c, 0x33]
/** Chosen: so that a very small file may share too. */
const READ_BASE_BYTES = 4_096

/** @returns whether a file carries the identifier "TFL3"; nothing else about it is known then */
export const hasTfliteIdentifier = (bytes: Uint8Array): boolean =>
  bytes.length >= 8 && IDENTIFIER.every((byte, at) => bytes[4 + at] === byte)

/** Reads a TFLite model without running or trusting it; tensor data is only located.
 *
 *  Own code rather than the flatbuffers package for the reasons of `readOnnx`: the byte range of every buffer is wanted, and the
 *  package checks no offset. Time and memory are linear in the file, however its parts are shared (TFLITE_LIMITS).
 *  @param bytes the whole file, at most TFLITE_LIMITS.modelBytes
 *  @returns the model, or `tflite-malformed` | `tflite-too-large` | `tflite-unknown-version`
 *  @see schema.fbs of TensorFlow 2.18 (version 3c)
 */
export function readTflite(bytes: Uint8Array): Result<TfliteModel, TfliteError> {
  const { modelBytes, readBytes, readFactor, tableBytes } = TFLITE_LIMITS
  if (bytes.length > modelBytes) {
    return err({ code: 'tflite-too-large', detail: `file of ${bytes.length} bytes, at most ${modelBytes}` })
  }
  if (!hasTfliteIdentifier(bytes)) return err({ code: 'tflite-malformed', detail: 'no identifier "TFL3"' })
  return catchTfliteFault(() => {
    const file = new FlatbufferFile(bytes, Math.min(readBytes, READ_BASE_BYTES + readFactor * bytes.length))
    return readModel(file.root('Model', tableBytes), bytes.length)
  })
}

function readModel(model: FlatTable, fileBytes: number): TfliteModel {
  const { operatorCodes, buffers: buffersMax, subgraphs: subgraphsMax, tableBytes } = TFLITE_LIMITS
  const version = model.uint32(MODEL.version)
  if (version !== SCHEMA_VERSION) throw new TfliteFault('tflite-unknown-version', `schema version ${version}`)
  const codes = model.tables(MODEL.operatorCodes, 'OperatorCode', operatorCodes, tableBytes, operatorCode)
  const buffers = model.tables(MODEL.buffers, 'Buffer', buffersMax, tableBytes, (table) => readBuffer(table, fileBytes))
  // Totals over all subgraphs, so that their number cannot multiply a bound.
  const left = { tensors: TFLITE_LIMITS.tensors, operators: TFLITE_LIMITS.operators }
  const subgraphs = model.tables(MODEL.subgraphs, 'SubGraph', subgraphsMax, tableBytes, (table): TfliteSubgraph => {
    const tensors = table.tables(SUBGRAPH.tensors, 'Tensor', left.tensors, tableBytes, (tensor) =>
      readTensor(tensor, buffers.length),
    )
    const operators = table.tables(SUBGRAPH.operators, 'Operator', left.operators, tableBytes, (operator) =>
      readOperator(operator, codes, tensors.length),
    )
    left.tensors -= tensors.length
    left.operators -= operators.length
    return {
      name: table.string(SUBGRAPH.name, TFLITE_LIMITS.nameBytes),
      tensors,
      operators,
      inputs: ends(table, SUBGRAPH.inputs, tensors.length),
      outputs: ends(table, SUBGRAPH.outputs, tensors.length),
    }
  })
  const metadata = model.tables(MODEL.metadata, 'Metadata', TFLITE_LIMITS.metadata, tableBytes, (table) => {
    const buffer = table.uint32(METADATA.buffer)
    if (buffer >= buffers.length)
      throw new TfliteFault('tflite-malformed', `Metadata of buffer ${buffer} of ${buffers.length}`)
    return { name: table.string(METADATA.name, TFLITE_LIMITS.nameBytes), buffer }
  })
  return { subgraphs, buffers, metadata }
}

/** Tensors at an end of a subgraph; none may be left out. */
function ends(table: FlatTable, field: number, tensors: number): number[] {
  const indices = table.int32s(field, TFLITE_LIMITS.operatorPorts)
  for (const tensor of indices) {
    if (tensor < 0 || tensor >= tensors)
      throw new TfliteFault('tflite-malformed', `SubGraph with end ${tensor} of ${tensors} tensors`)
  }
  return indices
}

/** Old writers know only the byte, new ones write both, with 127 in the byte where the code does not fit: the larger one counts. */
const operatorCode = (table: FlatTable): Pick<TfliteOperator, 'builtinCode' | 'customCode'> => ({
  builtinCode: Math.max(table.int8(OPERATOR_CODE.deprecatedBuiltinCode), table.int32(OPERATOR_CODE.builtinCode)),
  customCode: table.string(OPERATOR_CODE.customCode, TFLITE_LIMITS.nameBytes),
})

function readBuffer(table: FlatTable, fileBytes: number): ByteRange | null {
  const inside = table.range(BUFFER.data, 1)
  const offset = table.uint64(BUFFER.offset)
  // An offset of 0 or 1 is a placeholder, says the schema.
  const outside = offset > 1 ? { offset, length: table.uint64(BUFFER.size) } : { offset: 0, length: 0 }
  if (inside.length > 0 && outside.length > 0)
    throw new TfliteFault('tflite-malformed', 'Buffer with data in two places')
  if (outside.offset + outside.length > fileBytes) {
    throw new TfliteFault(
      'tflite-malformed',
      `Buffer of ${outside.length} bytes at ${offset}, the file has ${fileBytes}`,
    )
  }
  if (inside.length > 0) return inside
  return outside.length > 0 ? outside : null
}

function readTensor(table: FlatTable, buffers: number): TfliteTensor {
  const buffer = table.uint32(TENSOR.buffer)
  // Without any buffer 0 is still what a tensor without data says.
  if (buffer !== 0 && buffer >= buffers)
    throw new TfliteFault('tflite-malformed', `Tensor of buffer ${buffer} of ${buffers}`)
  const quantization = table.table(TENSOR.quantization, 'QuantizationParameters', TFLITE_LIMITS.tableBytes)
  return {
    name: table.string(TENSOR.name, TFLITE_LIMITS.nameBytes),
    shape: table.int32s(TENSOR.shape, TFLITE_LIMITS.dims),
    elementType: tfliteElementType(table.int8(TENSOR.type)),
    buffer,
    quantization: quantization === null ? null : readQuantization(quantization),
    variable: table.uint8(TENSOR.isVariable) !== 0,
    sparse: table.has(TENSOR.sparsity),
  }
}

function readQuantization(table: FlatTable): TfliteQuantization | null {
  if (table.uint8(QUANTIZATION.detailsType) !== 0) return null
  const scales = table.float32s(QUANTIZATION.scale, TFLITE_LIMITS.readBytes)
  if (scales.length === 0) return null
  const zeroPoints = table.int64s(QUANTIZATION.zeroPoint, TFLITE_LIMITS.readBytes)
  return {
    scales,
    zeroPoints,
    dimension: table.int32(QUANTIZATION.dimension),
    ranges: {
      scales: table.range(QUANTIZATION.scale, 4),
      zeroPoints: table.range(QUANTIZATION.zeroPoint, 8),
      min: table.range(QUANTIZATION.min, 4),
      max: table.range(QUANTIZATION.max, 4),
    },
  }
}

function readOperator(
  table: FlatTable,
  codes: readonly Pick<TfliteOperator, 'builtinCode' | 'customCode'>[],
  tensors: number,
): TfliteOperator {
  const index = table.uint32(OPERATOR.opcodeIndex)
  const code = codes[index]
  if (code === undefined) throw new TfliteFault('tflite-malformed', `Operator of code ${index} of ${codes.length}`)
  const ports = (field: number): number[] => {
    const indices = table.int32s(field, TFLITE_LIMITS.operatorPorts)
    for (const tensor of indices) {
      if (tensor < -1 || tensor >= tensors) {
        throw new TfliteFault('tflite-malformed', `Operator with tensor ${tensor} of ${tensors}`)
      }
    }
    return indices
  }
  return {
    ...code,
    inputs: ports(OPERATOR.inputs),
    outputs: ports(OPERATOR.outputs),
    intermediates: ports(OPERATOR.intermediates),
    optionsType: table.uint8(OPERATOR.optionsType),
    options: table.table(OPERATOR.options, 'BuiltinOptions', TFLITE_LIMITS.tableBytes),
  }
}
