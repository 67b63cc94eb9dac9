import { err, ok, type Result } from '../../contract/result.ts'
import type { Engine, EngineError, EngineErrorCode, EngineInput, EngineIo, EngineSession } from '../engine/engine.ts'
import type { IoElementType, Quantization, TensorIo } from '../engine/tensor-io.ts'
import { readResult, writeWindow } from '../engine/window-codec.ts'
import type { TinyGraph, TinyOptions } from './graph.ts'
import { loadTinyFile } from './load.ts'
import type { TinyTensor } from './tiny-tensor.ts'

/** A session whose graph may keep variables from window to window; they are saved and cleared on purpose. */
export interface TinySession extends EngineSession {
  /** What the graph has in memory. */
  readonly memory: TinyGraph['memory']
  /** @returns a copy of the variables, empty for a graph without any */
  saveState(): Uint8Array
  /** @throws Error for a state of another length */
  restoreState(state: Uint8Array): void
  /** Variables as they were after loading. */
  resetState(): void
}

/** The engine of our own: TFLite graphs, and quantized ONNX graphs as `lowerOnnx` makes them, with the arithmetic of TensorFlow Lite Micro's reference kernels, byte for byte the same wherever
 *  WebAssembly runs. Graphs have one input and one output here; `loadTinyFile` takes any number. */
export class EngineTiny implements Engine {
  readonly name = 'tiny 1'
  readonly #options: TinyOptions

  /** @param options what each graph may take */
  constructor(options: TinyOptions = {}) {
    this.#options = options
  }

  async load(graph: Uint8Array, io: EngineIo = {}): Promise<Result<TinySession, EngineError>> {
    const loaded = loadTinyFile(graph, this.#options)
    if (!loaded.ok) return failed('engine-load-failed', `${loaded.error.code}: ${loaded.error.detail}`)
    const { inputs, outputs } = loaded.value
    const [input] = inputs
    const [output] = outputs
    if (input === undefined || output === undefined || inputs.length !== 1 || outputs.length !== 1) {
      return failed(
        'engine-load-failed',
        `graph has ${inputs.length} inputs and ${outputs.length} outputs, expected one each`,
      )
    }
    if (output.constant !== null) return failed('engine-load-failed', `the output "${output.name}" is a constant`)
    const [from, to] = [end(input, io.input), end(output, io.output)]
    if (from === null || to === null) {
      const odd = from === null ? input : output
      return failed('engine-load-failed', `"${odd.name}" is ${odd.elementType}, ends are float32, int8 or uint8`)
    }
    if (to.elementType !== 'float32' && to.quantization === null) {
      return failed('engine-load-failed', `quantization of ${to.elementType} output "${to.name}" is not known`)
    }
    return ok(new Session(loaded.value, from, to))
  }
}

const ARRAYS = { float32: Float32Array, int8: Int8Array, uint8: Uint8Array } as const
const isIoElementType = (type: string): type is IoElementType => Object.hasOwn(ARRAYS, type)

/** @returns null for a type that no end has */
function end(tensor: TinyTensor, stated: Quantization | undefined): TensorIo | null {
  const { name, elementType, shape, elements, scales, zeroPoints } = tensor
  if (!isIoElementType(elementType)) return null
  const [scale] = scales
  const told = scale === undefined || scales.length > 1 ? null : { scale, zeroPoint: zeroPoints[0] ?? 0 }
  const quantization = elementType === 'float32' ? null : (stated ?? told)
  return { ...{ name, elementType, dims: shape, elements }, quantization }
}

class Session implements TinySession {
  readonly input: TensorIo
  readonly output: TensorIo
  readonly memory: TinyGraph['memory']
  #graph: TinyGraph | null
  readonly #window: EngineInput
  readonly #result: EngineInput

  constructor(graph: TinyGraph, input: TensorIo, output: TensorIo) {
    this.input = input
    this.output = output
    this.memory = graph.memory
    this.#graph = graph
    this.#window = view(graph.inputBytes(0), input)
    this.#result = view(graph.outputBytes(0), output)
  }

  /** All of a run happens before the call returns, so overlapping calls cannot meet. */
  async run(window: EngineInput): Promise<Result<Float32Array, EngineError>> {
    if (this.#graph === null) return failed('engine-disposed', 'session is disposed')
    const written = writeWindow(window, this.input, this.#window)
    if (!written.ok) return written
    try {
      this.#graph.run()
    } catch (cause) {
      return failed('engine-run-failed', cause instanceof Error ? cause.message : String(cause), cause)
    }
    return ok(readResult(this.#result, this.output))
  }

  saveState(): Uint8Array {
    return this.#loaded().saveState()
  }

  restoreState(state: Uint8Array): void {
    this.#loaded().restoreState(state)
  }

  resetState(): void {
    this.#loaded().resetState()
  }

  #loaded(): TinyGraph {
    if (this.#graph === null) throw new Error('session is disposed')
    return this.#graph
  }

  async dispose(): Promise<void> {
    this.#graph = null
  }
}

/** Addresses are multiples of 16, so an array of any type may lie there. */
const view = (bytes: Uint8Array, { elementType, elements }: TensorIo): EngineInput =>
  new ARRAYS[elementType](bytes.buffer as ArrayBuffer, bytes.byteOffset, elements)

function failed(code: EngineErrorCode, detail: string, cause?: unknown): { ok: false; error: EngineError } {
  return err(cause === undefined ? { code, detail } : { code, detail, cause })
}
