import { ok, type Result } from '../contract/result.ts'
import type { ElementType } from './element-type.ts'
import { type Quantization, quantizationOfEnd } from './engine/tensor-io.ts'
import type { ModelFileError } from './model-fault.ts'
import { readOnnx } from './onnx/onnx-reader.ts'
import type { OnnxErrorCode, OnnxModel, OnnxValueInfo } from './onnx/onnx-types.ts'
import { type ModelPlan, planOnnx } from './plan/arena-planner.ts'
import type { ScratchOf } from './plan/tflite-lowering.ts'
import { planTflite } from './plan/tflite-planner.ts'
import type { TfliteErrorCode } from './tflite/tflite-fault.ts'
import { tfliteOperatorName } from './tflite/tflite-operators.ts'
import { hasTfliteIdentifier, readTflite } from './tflite/tflite-reader.ts'
import type { TfliteModel, TfliteTensor } from './tflite/tflite-types.ts'

/** One graph in a file of either format, read and not yet trusted. */
export type GraphFile =
  | { readonly format: 'tflite'; readonly model: TfliteModel; readonly bytes: Uint8Array }
  | { readonly format: 'onnx'; readonly model: OnnxModel; readonly bytes: Uint8Array }

export type GraphFileError = ModelFileError<'not-a-model' | OnnxErrorCode | TfliteErrorCode>

/** What people take for a model and what its first bytes say it is. */
const OTHER_FILES: readonly (readonly [what: string, magic: readonly number[]])[] = [
  ['a JPEG picture', [0xff, 0xd8, 0xff]],
  ['a PNG picture', [0x89, 0x50, 0x4e, 0x47]],
  ['an HDF5 file, as Keras writes: convert it to TFLite first', [0x89, 0x48, 0x44, 0x46]],
  ['a ZIP archive, as PyTorch and Keras write: export it as ONNX or TFLite first', [0x50, 0x4b, 0x03, 0x04]],
  ['a gzip archive: unpack it first', [0x1f, 0x8b]],
  ['a sound or picture in a RIFF container', [0x52, 0x49, 0x46, 0x46]],
  ['JSON', [0x7b]],
]
/** The tag of ModelProto.ir_version, which writers of ONNX put first. */
const IR_VERSION_TAG = 0x08

/** Reads a graph by what the file is, not by its name.
 *  @param bytes a file, not trusted
 *  @returns the graph, what its reader refuses, or `not-a-model` with what it looks like instead */
export function readGraph(bytes: Uint8Array): Result<GraphFile, GraphFileError> {
  const tflite = hasTfliteIdentifier(bytes) ? readTflite(bytes) : null
  if (tflite?.ok) return ok({ format: 'tflite', model: tflite.value, bytes })
  // An ONNX file whose producer is called "TFL3" carries TFLite's identifier in TFLite's place.
  const onnx = readOnnx(bytes)
  if (onnx.ok) return ok({ format: 'onnx', model: onnx.value, bytes })
  if (tflite !== null) return tflite
  const other = OTHER_FILES.find(([, magic]) => magic.every((byte, at) => bytes[at] === byte))
  if (bytes.length > 0 && bytes[0] === IR_VERSION_TAG && other === undefined) return onnx
  const looks = bytes.length === 0 ? 'it is empty' : other ? `it is ${other[0]}` : 'nothing in it says what it is'
  return { ok: false, error: { code: 'not-a-model', detail: `neither TFLite nor ONNX; ${looks}` } }
}

/** Plans a graph of either format. */
export const planGraph = (graph: GraphFile, scratchOf?: ScratchOf): Result<ModelPlan, GraphFileError> =>
  graph.format === 'tflite' ? planTflite(graph.model, scratchOf) : planOnnx(graph.model)

/** An input or output as the file declares it. */
export interface GraphEnd {
  readonly name: string
  /** null for strings, resources and what is no tensor */
  readonly elementType: ElementType | null
  /** null where the rank is open; a dimension is null where only the run knows it */
  readonly dims: readonly (number | null)[] | null
  /** null where the file does not tell it, or has a scale for each channel */
  readonly quantization: Quantization | null
}

/** What a file says of its graph, whether or not anything here can plan or run it. */
export interface GraphDescription {
  readonly format: GraphFile['format']
  readonly inputs: readonly GraphEnd[]
  readonly outputs: readonly GraphEnd[]
  /** How often each operator is there, in all subgraphs, in the order of its first use. */
  readonly operators: Readonly<Record<string, number>>
  readonly metadata: Readonly<Record<string, string>>
}

export const describeGraph = (graph: GraphFile): GraphDescription =>
  graph.format === 'tflite' ? describeTflite(graph.model, graph.bytes) : describeOnnx(graph.model)

const counted = (names: readonly string[]): Record<string, number> => {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return Object.fromEntries(counts)
}

function describeTflite(model: TfliteModel, bytes: Uint8Array): GraphDescription {
  const [main] = model.subgraphs
  const ends = (indices: readonly number[] = []): GraphEnd[] =>
    indices.map((index) => main?.tensors[index]).flatMap((tensor) => (tensor ? [tfliteEnd(tensor)] : []))
  const metadata = model.metadata.map(({ name, buffer }) => {
    const range = model.buffers[buffer] ?? { offset: 0, length: 0 }
    return [name, shortText(bytes.subarray(range.offset, range.offset + range.length))]
  })
  return {
    format: 'tflite',
    inputs: ends(main?.inputs),
    outputs: ends(main?.outputs),
    operators: counted(model.subgraphs.flatMap(({ operators }) => operators.map(tfliteOperatorName))),
    metadata: Object.fromEntries([['subgraphs', String(model.subgraphs.length)], ...metadata]) as Record<
      string,
      string
    >,
  }
}

function tfliteEnd({ name, elementType, shape, quantization }: TfliteTensor): GraphEnd {
  const [scale, ...more] = quantization?.scales ?? []
  return {
    name,
    elementType,
    dims: shape.map((dim) => (dim < 0 ? null : dim)),
    quantization:
      scale === undefined || more.length > 0 ? null : { scale, zeroPoint: quantization?.zeroPoints[0] ?? 0 },
  }
}

/** Versions and descriptions are texts, padded with zeros; what else metadata hold only counts. Chosen: at most 200 bytes are shown. */
function shortText(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes.subarray(0, 200)).replace(/\0+$/, '')
  return bytes.length <= 200 && /^[\x20-\x7e]*$/.test(text) ? text : `${bytes.length} bytes`
}

function describeOnnx(model: OnnxModel): GraphDescription {
  const { graph, opsets, irVersion, producer } = model
  const initialized = new Set(graph.initializers.map(({ name }) => name))
  const end = ({ name, elementType, dims }: OnnxValueInfo, side: 'input' | 'output'): GraphEnd => ({
    ...{ name, elementType, dims },
    quantization: elementType === 'float32' ? null : quantizationOfEnd(model, name, side),
  })
  const versions = [...opsets].map(([domain, version]) => `${domain || 'ai.onnx'} ${version}`)
  return {
    format: 'onnx',
    inputs: graph.inputs.filter(({ name }) => !initialized.has(name)).map((info) => end(info, 'input')),
    outputs: graph.outputs.map((info) => end(info, 'output')),
    operators: counted(graph.nodes.map(({ domain, opType }) => (domain ? `${domain}:${opType}` : opType))),
    metadata: { producer, 'ir version': String(irVersion), opsets: versions.join(', ') },
  }
}
