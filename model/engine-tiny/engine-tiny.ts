import { err, ok, type Result } from '../../contract/result.ts'
import type { Engine, EngineError, EngineErrorCode, EngineInput, EngineIo, EngineSession } from '../engine/engine.ts'
import type { IoElementType, TensorIo } from '../engine/tensor-io.ts'
import { readResult, writeWindow } from '../engine/window-codec.ts'
import { loadTiny, type TinyGraph } from './graph.ts'
import type { TinyTensor } from './tiny-tensor.ts'

/** The project's own engine, for TFLite graphs with one input and one output: the same bytes on every machine. */
export class EngineTiny implements Engine {
  readonly name = 'tiny 1'

  load(graph: Uint8Array, io: EngineIo = {}): Promise<Result<EngineSession, EngineError>> {
    return Promise.resolve(this.#load(graph, io))
  }

  #load(bytes: Uint8Array, io: EngineIo): Result<EngineSession, EngineError> {
    const loaded = loadTiny(bytes)
    if (!loaded.ok) return failed('engine-load-failed', `${loaded.error.code}: ${loaded.error.detail}`)
    const { inputs, outputs } = loaded.value
    const [input] = inputs
    const [output] = outputs
    if (input === undefined || output === undefined || inputs.length !== 1 || outputs.length !== 1) {
      const detail = `graph has ${inputs.length} inputs and ${outputs.length} outputs, expected one each`
      return failed('engine-load-failed', detail)
    }
    const ends = [endOf(input, io.input), endOf(output, io.output)]
    const [from, to] = ends
    if (from === undefined || to === undefined) {
      const types = `${input.elementType} to ${output.elementType}`
      return failed('engine-load-failed', `ends of ${types}: float32, int8 and uint8 are served`)
    }
    if (to.elementType !== 'float32' && to.quantization === null) {
      return failed('engine-load-failed', `quantization of ${to.elementType} output "${to.name}" is not known`)
    }
    return ok(new TinySession(loaded.value, from, to))
  }
}

const SERVED: readonly string[] = ['float32', 'int8', 'uint8'] satisfies readonly IoElementType[]

/** @returns undefined for a type that no window has */
function endOf(tensor: TinyTensor, stated: EngineIo['input']): TensorIo | undefined {
  const { name, shape: dims, elementType, elements, scales, zeroPoints } = tensor
  if (!SERVED.includes(elementType)) return undefined
  const [scale] = scales
  const told = elementType === 'float32' || scale === undefined ? null : { scale, zeroPoint: zeroPoints[0] ?? 0 }
  return { name, elementType: elementType as IoElementType, dims, elements, quantization: stated ?? told }
}

/** The tensor itself, in the graph's memory. */
const viewOf = ({ buffer, byteOffset }: Uint8Array, { elementType, elements }: TensorIo): EngineInput => {
  const memory = buffer as ArrayBuffer
  if (elementType === 'float32') return new Float32Array(memory, byteOffset, elements)
  return elementType === 'int8'
    ? new Int8Array(memory, byteOffset, elements)
    : new Uint8Array(memory, byteOffset, elements)
}

class TinySession implements EngineSession {
  readonly input: TensorIo
  readonly output: TensorIo
  /** Only of a graph that remembers. */
  readonly reset?: () => void
  #graph: TinyGraph | undefined
  readonly #window: EngineInput
  readonly #result: EngineInput

  constructor(graph: TinyGraph, input: TensorIo, output: TensorIo) {
    this.input = input
    this.output = output
    this.#graph = graph
    this.#window = viewOf(graph.inputBytes(0), input)
    this.#result = viewOf(graph.outputBytes(0), output)
    if (graph.memory.stateBytes > 0) this.reset = () => graph.resetState()
  }

  /** Runs within the call, so overlapping calls finish in order. */
  run(window: EngineInput): Promise<Result<Float32Array, EngineError>> {
    if (this.#graph === undefined) return Promise.resolve(failed('engine-disposed', 'session is disposed'))
    const written = writeWindow(window, this.input, this.#window)
    if (!written.ok) return Promise.resolve(written)
    try {
      this.#graph.run()
    } catch (cause) {
      const detail = cause instanceof Error ? cause.message : String(cause)
      return Promise.resolve(failed('engine-run-failed', detail, cause))
    }
    return Promise.resolve(ok(readResult(this.#result, this.output)))
  }

  dispose(): Promise<void> {
    this.#graph = undefined
    return Promise.resolve()
  }
}

const failed = (code: EngineErrorCode, detail: string, cause?: unknown): Result<never, EngineError> =>
  err({ code, detail, ...(cause !== undefined && { cause }) })
