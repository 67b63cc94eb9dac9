import type { InferenceSession, InferenceSessionFactory, Tensor, TensorConstructor } from 'onnxruntime-node'
import { present } from '../../contract/present.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { Engine, EngineError, EngineErrorCode, EngineInput, EngineIo, EngineSession } from './engine.ts'
import { readGraphIo, type TensorIo } from './tensor-io.ts'
import { readResult, writeWindow } from './window-codec.ts'

/** One of ONNX Runtime's packages. */
export interface OrtRuntime {
  readonly InferenceSession: InferenceSessionFactory
  readonly Tensor: TensorConstructor
  readonly sessionOptions: InferenceSession.SessionOptions
  /** whether a run writes its result into a tensor that it is given */
  readonly writesInPlace: boolean
}

/** ONNX Runtime behind the engine port, whichever of its packages runs. */
export class EngineOrt implements Engine {
  readonly name: string
  readonly #runtime: () => Promise<OrtRuntime>

  /** @param runtime asked at each load, so that a runtime of megabytes is fetched when a graph needs it; what it throws, the load says */
  constructor(name: string, runtime: () => Promise<OrtRuntime>) {
    this.name = name
    this.#runtime = runtime
  }

  async load(graph: Uint8Array, io: EngineIo = {}): Promise<Result<EngineSession, EngineError>> {
    const ends = readGraphIo(graph)
    if (!ends.ok) return failed('engine-load-failed', `${ends.error.code}: ${ends.error.detail}`)
    const { inputs, outputs } = ends.value
    const [input] = inputs
    const [output] = outputs
    if (input === undefined || output === undefined || inputs.length !== 1 || outputs.length !== 1) {
      return failed(
        'engine-load-failed',
        `graph has ${inputs.length} inputs and ${outputs.length} outputs, expected one each`,
      )
    }
    const quantizedInput = withQuantization(input, io.input)
    const quantizedOutput = withQuantization(output, io.output)
    if (quantizedOutput.elementType !== 'float32' && quantizedOutput.quantization === null) {
      return failed('engine-load-failed', `quantization of ${output.elementType} output "${output.name}" is not known`)
    }
    try {
      const runtime = await this.#runtime()
      const session = await runtime.InferenceSession.create(graph, runtime.sessionOptions)
      return ok(new OrtSession(session, runtime, quantizedInput, quantizedOutput))
    } catch (cause) {
      return failed('engine-load-failed', messageOf(cause), cause)
    }
  }
}

/** Memory of one run: tensors over arrays of ours, which ONNX Runtime reads and writes in place. */
interface Slot {
  readonly window: EngineInput
  readonly result: EngineInput
  readonly feeds: Record<string, Tensor>
  readonly fetches: Record<string, Tensor>
}

class OrtSession implements EngineSession {
  readonly input: TensorIo
  readonly output: TensorIo
  readonly #session: InferenceSession
  readonly #runtime: OrtRuntime
  readonly #slot: Slot
  #slotBusy = false
  #running = 0
  #disposed = false
  #released = false

  constructor(session: InferenceSession, runtime: OrtRuntime, input: TensorIo, output: TensorIo) {
    this.#session = session
    this.input = input
    this.output = output
    this.#runtime = runtime
    this.#slot = newSlot(runtime.Tensor, input, output)
  }

  async run(window: EngineInput): Promise<Result<Float32Array, EngineError>> {
    if (this.#disposed) return failed('engine-disposed', 'session is disposed')
    // One slot serves the usual caller; a call that overlaps another gets memory of its own rather than a queue.
    const shared = !this.#slotBusy
    const slot = shared ? this.#slot : newSlot(this.#runtime.Tensor, this.input, this.output)
    const written = writeWindow(window, this.input, slot.window)
    if (!written.ok) return written
    if (shared) this.#slotBusy = true
    this.#running++
    try {
      if (this.#runtime.writesInPlace) {
        await this.#session.run(slot.feeds, slot.fetches)
        return ok(readResult(slot.result, this.output))
      }
      const results = await this.#session.run(slot.feeds)
      return ok(readResult(present(results[this.output.name], 'the output of a run').data as EngineInput, this.output))
    } catch (cause) {
      return failed('engine-run-failed', messageOf(cause), cause)
    } finally {
      if (shared) this.#slotBusy = false
      this.#running--
      if (this.#disposed) await this.#releaseWhenIdle()
    }
  }

  async dispose(): Promise<void> {
    this.#disposed = true
    await this.#releaseWhenIdle()
  }

  /** Freed under a run in flight, the native session would be used after free. */
  async #releaseWhenIdle(): Promise<void> {
    if (!this.#disposed || this.#released || this.#running > 0) return
    this.#released = true
    await this.#session.release()
  }
}

const ARRAYS = { float32: Float32Array, int8: Int8Array, uint8: Uint8Array } as const

function newSlot(TensorOf: TensorConstructor, input: TensorIo, output: TensorIo): Slot {
  const window = new ARRAYS[input.elementType](input.elements)
  const result = new ARRAYS[output.elementType](output.elements)
  return {
    window,
    result,
    feeds: { [input.name]: new TensorOf(input.elementType, window, input.dims) },
    fetches: { [output.name]: new TensorOf(output.elementType, result, output.dims) },
  }
}

const withQuantization = (io: TensorIo, stated: EngineIo['input']): TensorIo =>
  stated === undefined || io.elementType === 'float32' ? io : { ...io, quantization: stated }

function failed(code: EngineErrorCode, detail: string, cause?: unknown): { ok: false; error: EngineError } {
  return err(cause === undefined ? { code, detail } : { code, detail, cause })
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
