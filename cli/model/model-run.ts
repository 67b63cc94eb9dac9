import { readFileSync, statSync } from 'node:fs'
import type * as onnx from 'onnxruntime-node'
import { bytesOfElements } from '../../model/element-type.ts'
import { loadTinyFile } from '../../model/engine-tiny/load.ts'
import { readOnnx } from '../../model/onnx/onnx-reader.ts'
import { TFLITE_LIMITS } from '../../model/tflite/tflite-limits.ts'
import { hasTfliteIdentifier } from '../../model/tflite/tflite-reader.ts'
import { CommandFailure, fileFailure } from '../failure.ts'

export type RunEngine = 'tiny' | 'ort'

export interface VectorsResult {
  readonly runs: number
  /** Output tensors compared, over all runs. */
  readonly tensors: number
  readonly bytesDiffering: number
  /** Where the first difference is, in words. */
  readonly first: string | null
}

/** chosen: the longest of those known has 110 KB; an image model of a thousand runs has some hundred MB. */
const VECTORS_BYTES = 512 * 1024 * 1024

/** Runs a bare graph on the inputs of a vectors file and compares every byte of its outputs. Runs follow each other without reset.
 *  @param graphPath a TFLite or ONNX file
 *  @param vectorsPath a header line with type and bytes of each end, then a line a run: `in` and `out`, a string of hex digits a tensor
 *  @param engine which runs it; by default `tiny` for TFLite and `ort` for ONNX */
export async function runVectors(graphPath: string, vectorsPath: string, engine?: RunEngine): Promise<VectorsResult> {
  const graph = await openGraph(graphPath, engine)
  const lines = readBounded(vectorsPath, VECTORS_BYTES).toString('utf8').split('\n')
  const result = { runs: 0, tensors: 0, bytesDiffering: 0, first: null as string | null }
  let header = false
  for (const [index, text] of lines.entries()) {
    if (text.trim() === '') continue
    const line = new VectorLine(`${vectorsPath}: line ${index + 1}`, text)
    if (!header) {
      line.expectEnds('inputs', graph.inputs)
      line.expectEnds('outputs', graph.outputs)
      header = true
      continue
    }
    const wanted = line.tensors('out', graph.outputs)
    const outputs = await graph.run(line.tensors('in', graph.inputs))
    result.runs++
    for (const [at, output] of outputs.entries()) {
      result.tensors++
      const expected = wanted[at] ?? new Uint8Array(0)
      for (const [byte, value] of output.entries()) {
        if (value === expected[byte]) continue
        result.bytesDiffering++
        result.first ??= `line ${index + 1}, output ${at}, byte ${byte}: 0x${hex(value)}, expected 0x${hex(expected[byte] ?? 0)}`
      }
    }
  }
  if (result.runs === 0) {
    throw new CommandFailure(`${vectorsPath}: no runs in it`, {
      hint: 'a header line, then a line {"in": ["…"], "out": ["…"]} for each run',
    })
  }
  return result
}

const hex = (byte: number): string => byte.toString(16).padStart(2, '0')

/** An end of a graph, as far as bytes go. */
interface End {
  readonly elementType: string
  readonly bytes: number
}

interface RunnableGraph {
  readonly inputs: readonly End[]
  readonly outputs: readonly End[]
  run(inputs: readonly Uint8Array[]): Promise<readonly Uint8Array[]>
}

async function openGraph(path: string, engine: RunEngine | undefined): Promise<RunnableGraph> {
  const bytes = readBounded(path, TFLITE_LIMITS.modelBytes)
  const tflite = hasTfliteIdentifier(bytes)
  const chosen = engine ?? (tflite ? 'tiny' : 'ort')
  if (chosen === 'ort' && tflite) {
    throw new CommandFailure(`${path}: a TFLite file, which onnxruntime does not read`, { hint: '--engine tiny does' })
  }
  return chosen === 'tiny' ? openTiny(path, bytes) : openOrt(path, bytes)
}

function openTiny(path: string, bytes: Uint8Array): RunnableGraph {
  const loaded = loadTinyFile(bytes)
  if (!loaded.ok) throw new CommandFailure(`${path}: ${loaded.error.code}: ${loaded.error.detail}`)
  const graph = loaded.value
  return {
    inputs: graph.inputs,
    outputs: graph.outputs,
    run: async (inputs) => {
      for (const [at, input] of inputs.entries()) graph.inputBytes(at).set(input)
      graph.run()
      return graph.outputs.map((_, at) => graph.outputBytes(at))
    },
  }
}

const ARRAYS = {
  ...{ float32: Float32Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array, int32: Int32Array },
  int64: BigInt64Array,
}
type ArrayType = keyof typeof ARRAYS

async function openOrt(path: string, bytes: Uint8Array): Promise<RunnableGraph> {
  // The bounded reader first: ONNX Runtime is C++ that parses whatever it is given.
  const read = readOnnx(bytes)
  if (!read.ok) {
    throw new CommandFailure(`${path}: ${read.error.code}: ${read.error.detail}`, {
      hint: 'a graph is a TFLite file or an ONNX file',
    })
  }
  const { InferenceSession, Tensor } = await import('onnxruntime-node')
  const session = await InferenceSession.create(bytes, { logSeverityLevel: 4 }).catch((cause: unknown) => {
    throw new CommandFailure(`${path}: onnxruntime does not load it: ${String(cause)}`, { cause })
  })
  const end = (metadata: onnx.InferenceSession.ValueMetadata) => {
    const type = metadata.isTensor ? metadata.type : 'no tensor'
    if (!metadata.isTensor || !(type in ARRAYS)) {
      throw new CommandFailure(
        `${path}: "${metadata.name}" is ${type}, vectors are of ${Object.keys(ARRAYS).join(', ')}`,
      )
    }
    const shape = metadata.shape.map((dim) => (typeof dim === 'number' && dim > 0 ? dim : 1))
    const elementType = type as ArrayType
    const elements = shape.reduce((product, dim) => product * dim, 1)
    return {
      name: metadata.name,
      elementType,
      shape,
      bytes: bytesOfElements(elementType, elements),
    }
  }
  const inputs = session.inputMetadata.map(end)
  const outputs = session.outputMetadata.map(end)
  return {
    inputs,
    outputs,
    run: async (values) => {
      const feeds: Record<string, onnx.Tensor> = {}
      for (const [at, { name, elementType, shape }] of inputs.entries()) {
        const data = new ARRAYS[elementType](Uint8Array.from(values[at] ?? []).buffer)
        feeds[name] = new Tensor(elementType, data as Int8Array, shape)
      }
      const results = await session.run(feeds)
      return outputs.map(({ name }) => {
        const data = results[name]?.data
        if (!ArrayBuffer.isView(data)) throw new CommandFailure(`${path}: onnxruntime gave no "${name}"`)
        return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      })
    },
  }
}

/** A line of a vectors file; every failure says which. */
class VectorLine {
  readonly #where: string
  readonly #fields: Readonly<Record<string, unknown>>

  constructor(where: string, text: string) {
    this.#where = where
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      this.#fail('not JSON', 'each line is a JSON object of its own')
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) this.#fail('no JSON object')
    this.#fields = value as Readonly<Record<string, unknown>>
  }

  /** Of a header: that it is about this graph. */
  expectEnds(field: 'inputs' | 'outputs', ends: readonly End[]): void {
    const listed = this.#list(field, ends.length)
    for (const [at, { elementType, bytes }] of ends.entries()) {
      const { type, bytes: stated } = (listed[at] ?? {}) as { readonly type?: unknown; readonly bytes?: unknown }
      if (String(type).toLowerCase() !== elementType || stated !== bytes) {
        this.#fail(
          `${field}[${at}] is ${String(type)} of ${String(stated)} bytes, the graph's is ${elementType} of ${bytes}`,
          'are these the vectors of this graph?',
        )
      }
    }
  }

  tensors(field: 'in' | 'out', ends: readonly End[]): Uint8Array[] {
    return this.#list(field, ends.length).map((value, at) => {
      const bytes = ends[at]?.bytes ?? 0
      if (typeof value !== 'string' || !/^([0-9a-f]{2})*$/i.test(value))
        this.#fail(`${field}[${at}] is no string of hex digits`)
      if (value.length !== 2 * bytes)
        this.#fail(`${field}[${at}] has ${value.length / 2} bytes, the graph's has ${bytes}`)
      return Buffer.from(value, 'hex')
    })
  }

  #list(field: string, length: number): readonly unknown[] {
    const value = this.#fields[field]
    if (!Array.isArray(value)) this.#fail(`no list "${field}"`)
    if (value.length !== length) this.#fail(`"${field}" has ${value.length} tensors, the graph ${length}`)
    return value
  }

  #fail(what: string, hint?: string): never {
    throw new CommandFailure(`${this.#where}: ${what}`, hint === undefined ? {} : { hint })
  }
}

function readBounded(path: string, most: number): Buffer {
  try {
    const { size } = statSync(path)
    if (size > most) throw new CommandFailure(`${path}: ${size} bytes, at most ${most}`)
    return readFileSync(path)
  } catch (cause) {
    throw cause instanceof CommandFailure ? cause : fileFailure(path, cause)
  }
}
