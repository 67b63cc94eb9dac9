import { err, ok, type Result } from '../../contract/result.ts'
import type { ElementType } from '../element-type.ts'
import { readOnnx } from '../onnx/onnx-reader.ts'
import type { OnnxError, OnnxModel, OnnxTensor, OnnxValueInfo } from '../onnx/onnx-types.ts'
import { tensorNumbers } from '../tensor-numbers.ts'

/** Affine quantization of a tensor: real = scale · (stored − zeroPoint). */
export interface Quantization {
  readonly scale: number
  readonly zeroPoint: number
}

/** Element types a window or a result may have at the border of a graph. */
export type IoElementType = 'float32' | 'int8' | 'uint8'

/** One input or output of a graph, as the file declares it. */
export interface TensorIo {
  readonly name: string
  readonly elementType: IoElementType
  /** Batch 1 where the file leaves the first dimension open. */
  readonly dims: readonly number[]
  readonly elements: number
  /** null for float32, and where the graph's own Quantize/DequantizeLinear does not tell it. */
  readonly quantization: Quantization | null
}

/** An end as the file declares it. */
export interface OpenEnd {
  readonly name: string
  /** null: no tensor */
  readonly elementType: ElementType | null
  /** null where the run fixes it; no dims: the file tells none */
  readonly dims: readonly (number | null)[] | null
  readonly quantization: Quantization | null
}

export interface GraphIo {
  readonly inputs: readonly TensorIo[]
  readonly outputs: readonly TensorIo[]
}

/** Reads what a graph takes and gives from its file: types, shapes, and the quantization of int8 ends, which is that of the
 *  DequantizeLinear that reads the input and of the QuantizeLinear that makes the output.
 *  @param bytes an ONNX file, not trusted
 *  @returns the borders, or what `readOnnx` refuses, or `onnx-unsupported-type` | `onnx-dynamic-shape`
 */
export function readGraphIo(bytes: Uint8Array): Result<GraphIo, OnnxError> {
  const model = readOnnx(bytes)
  return model.ok ? graphIo(model.value) : model
}

/** As `readGraphIo`, whatever types and shapes the ends have: what is open is null.
 *  @returns or what `readOnnx` refuses */
export function readOpenEnds(
  bytes: Uint8Array,
): Result<{ readonly [side in keyof GraphIo]: readonly OpenEnd[] }, OnnxError> {
  const model = readOnnx(bytes)
  if (!model.ok) return model
  const constants = constantsOf(model.value)
  const { inputs, outputs } = model.value.graph
  const open =
    (quantizationOf: typeof readBy) =>
    (info: OnnxValueInfo): OpenEnd => ({
      ...{ name: info.name, elementType: info.elementType, dims: info.dims },
      quantization: quantizationOf(model.value, info.name, constants),
    })
  return ok({
    inputs: inputs.filter(({ name }) => !constants.has(name)).map(open(readBy)),
    outputs: outputs.map(open(madeBy)),
  })
}

/** As `readGraphIo`, for a model already read. */
function graphIo(model: OnnxModel): Result<GraphIo, OnnxError> {
  const { graph } = model
  const constants = constantsOf(model)
  const read = (infos: readonly OnnxValueInfo[], side: 'input' | 'output'): Result<TensorIo[], OnnxError> => {
    const ios: TensorIo[] = []
    for (const info of infos) {
      const io = tensorIo(
        info,
        side === 'input' ? readBy(model, info.name, constants) : madeBy(model, info.name, constants),
      )
      if (!io.ok) return io
      ios.push(io.value)
    }
    return ok(ios)
  }
  const inputs = read(
    graph.inputs.filter((info) => !constants.has(info.name)),
    'input',
  )
  if (!inputs.ok) return inputs
  const outputs = read(graph.outputs, 'output')
  return outputs.ok ? ok({ inputs: inputs.value, outputs: outputs.value }) : outputs
}

/** Per-tensor quantization of an end: that of the DequantizeLinear that reads an input, of the QuantizeLinear that makes an output.
 *  @returns null where no such node tells it */
export const quantizationOfEnd = (model: OnnxModel, name: string, side: 'input' | 'output'): Quantization | null =>
  (side === 'input' ? readBy : madeBy)(model, name, constantsOf(model))

/** The highest real value that the first output of a graph can have: of 8-bit outputs, and of floats that a DequantizeLinear makes of 8 bits,
 *  the end of their scale; of other floats, which are posteriors, 1.
 *  @param bytes an ONNX file that an engine has loaded
 *  @param stated what the bundle says of an 8-bit output; wins over what the graph says */
export function highestOutput(bytes: Uint8Array, stated: Quantization | null): number {
  const model = readOnnx(bytes)
  const output = model.ok ? model.value.graph.outputs[0] : undefined
  if (!model.ok || output === undefined) return 1
  const constants = constantsOf(model.value)
  const { elementType } = output
  if (elementType !== 'float32') {
    const quantization = stated ?? madeBy(model.value, output.name, constants)
    return quantization === null ? 1 : endOf(quantization, elementType)
  }
  const maker = model.value.graph.nodes.find(
    ({ opType, outputs }) => opType === 'DequantizeLinear' && outputs[0] === output.name,
  )
  const quantization = maker === undefined ? null : parameters(maker.inputs, constants)
  // The zero point has the type of what is dequantized; without one that is uint8.
  return quantization === null ? 1 : endOf(quantization, constants.get(maker?.inputs[2] ?? '')?.elementType ?? 'uint8')
}

/** As `highestOutput`, of an end that an engine tells of. */
export const highestOfEnd = ({ elementType, quantization }: TensorIo): number =>
  quantization === null ? 1 : endOf(quantization, elementType)

const endOf = ({ scale, zeroPoint }: Quantization, type: ElementType | null): number =>
  type === 'int8' || type === 'uint8' ? scale * ((type === 'int8' ? 127 : 255) - zeroPoint) : 1

const isIoElementType = (type: ElementType | null): type is IoElementType =>
  type === 'float32' || type === 'int8' || type === 'uint8'

function tensorIo(info: OnnxValueInfo, quantization: Quantization | null): Result<TensorIo, OnnxError> {
  const { name, elementType } = info
  if (!isIoElementType(elementType)) {
    return err({ code: 'onnx-unsupported-type', detail: `"${name}" is ${elementType ?? 'no tensor'} at the border` })
  }
  if (info.dims === null) return err({ code: 'onnx-dynamic-shape', detail: `"${name}" has no shape` })
  const dims = info.dims.map((dim, axis) => dim ?? (axis === 0 ? 1 : 0))
  if (dims.includes(0)) return err({ code: 'onnx-dynamic-shape', detail: `"${name}" leaves more than the batch open` })
  const elements = dims.reduce((product, dim) => product * dim, 1)
  return ok({ name, elementType, dims, elements, quantization: elementType === 'float32' ? null : quantization })
}

type Constants = ReadonlyMap<string, OnnxTensor>

function constantsOf({ graph }: OnnxModel): Constants {
  const constants = new Map(graph.initializers.map((tensor) => [tensor.name, tensor]))
  for (const node of graph.nodes) {
    const value = node.attributes.get('value')
    if (node.opType === 'Constant' && value?.kind === 'tensor') constants.set(node.outputs[0] ?? '', value.value)
  }
  return constants
}

function readBy({ graph }: OnnxModel, name: string, constants: Constants): Quantization | null {
  const reader = graph.nodes.find((node) => node.opType === 'DequantizeLinear' && node.inputs[0] === name)
  return reader === undefined ? null : parameters(reader.inputs, constants)
}

function madeBy({ graph }: OnnxModel, name: string, constants: Constants): Quantization | null {
  const maker = graph.nodes.find((node) => node.opType === 'QuantizeLinear' && node.outputs[0] === name)
  return maker === undefined ? null : parameters(maker.inputs, constants)
}

/** Per-tensor parameters only: a window has one scale. */
function parameters(inputs: readonly string[], constants: Constants): Quantization | null {
  const scale = constants.get(inputs[1] ?? '')
  const zero = constants.get(inputs[2] ?? '')
  if (scale?.elementType !== 'float32' || scale.elements !== 1) return null
  if (zero !== undefined && zero.elements !== 1) return null
  const value = numberOf(scale) ?? 0
  if (!(value > 0) || !Number.isFinite(value)) return null
  return { scale: value, zeroPoint: (zero && numberOf(zero)) ?? 0 }
}

const numberOf = ({ elementType, data }: OnnxTensor): number | undefined => tensorNumbers(elementType, data, 1)?.[0]
