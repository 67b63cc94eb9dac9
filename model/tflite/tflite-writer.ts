import {
  byteVector,
  float32Vector,
  int8Field,
  int32Field,
  int32Vector,
  int64Vector,
  table,
  tables,
  textVector,
  type WrittenNode,
  type WrittenScalar,
  writeFlatbuffer,
} from './flatbuffer-writer.ts'

/** TensorType of schema.fbs for what is written. */
const TYPES = { float32: 0, int32: 2, uint8: 3, int8: 9 } as const

export interface WrittenTensor {
  readonly name: string
  readonly elementType: keyof typeof TYPES
  readonly shape: readonly number[]
  /** Elements of a constant, little-endian and row-major; null for what is computed. */
  readonly data: Uint8Array | null
  readonly quantization: {
    readonly scales: readonly number[]
    readonly zeroPoints: readonly number[]
    readonly dimension: number
  } | null
}

export interface WrittenOperator {
  /** BuiltinOperator */
  readonly code: number
  /** Indices of tensors; -1 is one left out. */
  readonly inputs: readonly number[]
  readonly outputs: readonly number[]
  /** Fields of its options by number, each a byte or a word of 32 bits; an absent one is its default. */
  readonly options: readonly (WrittenScalar | null)[]
}

/** Version 3 of the schema, the only one there is. */
const SCHEMA_VERSION = 3
/** spec: TFLite keeps constants at multiples of 16. */
const BUFFER_ALIGNMENT = 16

/** Writes a TFLite file of one subgraph. What kind of options an operator has is not written: the readers here go by the operator. */
export function writeTflite(graph: {
  readonly tensors: readonly WrittenTensor[]
  readonly operators: readonly WrittenOperator[]
  readonly inputs: readonly number[]
  readonly outputs: readonly number[]
}): Uint8Array {
  const codes = [...new Set(graph.operators.map(({ code }) => code))]
  const buffers: WrittenNode[] = [table()]
  const tensors = graph.tensors.map(({ name, elementType, shape, data, quantization }) => {
    const buffer = data === null ? 0 : buffers.push(table(byteVector(data, BUFFER_ALIGNMENT))) - 1
    const parameters =
      quantization &&
      table(
        ...[null, null, float32Vector(quantization.scales), int64Vector(quantization.zeroPoints), null, null],
        int32Field(quantization.dimension),
      )
    return table(int32Vector(shape), int8Field(TYPES[elementType]), int32Field(buffer), textVector(name), parameters)
  })
  const operators = graph.operators.map(({ code, inputs, outputs, options }) =>
    table(int32Field(codes.indexOf(code)), int32Vector(inputs), int32Vector(outputs), null, table(...options)),
  )
  const subgraph = table(
    ...[tables(tensors), int32Vector(graph.inputs), int32Vector(graph.outputs), tables(operators), textVector('main')],
  )
  const operatorCodes = codes.map((code) =>
    table(int8Field(Math.min(code, 127)), null, int32Field(1), int32Field(code)),
  )
  return writeFlatbuffer(
    table(
      ...[int32Field(SCHEMA_VERSION), tables(operatorCodes), tables([subgraph]), textVector('lowered from ONNX')],
      tables(buffers),
    ),
    'TFL3',
  )
}
