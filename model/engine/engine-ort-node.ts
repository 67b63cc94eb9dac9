import { env, InferenceSession, Tensor } from 'onnxruntime-node'
import { err, ok, type Result } from '../../contract/result.ts'
import type { Engine, EngineError, EngineErrorCode, EngineInput, EngineIo, EngineSession } from './engine.ts'
import { readGraphIo, type TensorIo } from './tensor-io.ts'
import { readResult, writeWindow } from './window-codec.ts'

/** The reader's checks first: ONNX Runtime is C++ that parses hostile bytes and would open external data files.
 *  One thread, sequential: results must not depend on the machine's load, and a device has one core. */
const SESSION_OPTIONS: InferenceSession.SessionOptions = {
  executionProviders: ['cpu'],
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
  // Errors come back as exceptions; the C++ logger would print them a second time.
  logSeverityLevel: 4,
}

/** ONNX Runtime in Node, the engine of simulator, gateway and Linux-class devices. */
export class EngineOrtNode implements Engine {
  readonly name = `onnxruntime-node ${env.versions.node ?? env.versions.common}`

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
      const session = await InferenceSession.create(graph, SESSION_OPTIONS)
      return ok(new OrtNodeSession(session, quantizedInput, quantizedOutput))
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

class OrtNodeSession implements EngineSession {
  readonly input: TensorIo
  readonly output: TensorIo
  readonly #session: InferenceSession
  readonly #slot: Slot
  #slotBusy = false
  #running = 0
  #disposed = false
  #released = false

  constructor(session: InferenceSession, input: TensorIo, output: TensorIo) {
    this.#session = session
    this.input = input
    this.output = output
    this.#slot = newSlot(input, output)
  }

  async run(window: EngineInput): Promise<Result<Float32Array, EngineError>> {
    if (this.#disposed) return failed('engine-disposed', 'session is disposed')
    // One slot serves the usual caller; a call that overlaps another gets memory of its own rather than a queue.
    const shared = !this.#slotBusy
    const slot = shared ? this.#slot : newSlot(this.input, this.output)
    const written = writeWindow(window, this.input, slot.window)
    if (!written.ok) return written
    if (shared) this.#slotBusy = true
    this.#running++
    try {
      await this.#session.run(slot.feeds, slot.fetches)
      return ok(readResult(slot.result, this.output))
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

function newSlot(input: TensorIo, output: TensorIo): Slot {
  const window = new ARRAYS[input.elementType](input.elements)
  const result = new ARRAYS[output.elementType](output.elements)
  return {
    window,
    result,
    feeds: { [input.name]: new Tensor(input.elementType, window, input.dims) },
    fetches: { [output.name]: new Tensor(output.elementType, result, output.dims) },
  }
}

const withQuantization = (io: TensorIo, stated: EngineIo['input']): TensorIo =>
  stated === undefined || io.elementType === 'float32' ? io : { ...io, quantization: stated }

function failed(code: EngineErrorCode, detail: string, cause?: unknown): { ok: false; error: EngineError } {
  return err(cause === undefined ? { code, detail } : { code, detail, cause })
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
