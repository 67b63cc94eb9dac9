import { env, InferenceSession, Tensor } from 'onnxruntime-node'
import type { Result } from '../../contract/result.ts'
import type { Engine, EngineError, EngineIo, EngineSession } from './engine.ts'
import { EngineOrt } from './engine-ort-session.ts'

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
const RUNTIME = { InferenceSession, Tensor, sessionOptions: SESSION_OPTIONS, writesInPlace: true }

/** ONNX Runtime in Node, the engine of simulator, gateway and Linux-class devices. It has its session and is none: the runtime's own types
 *  name those of a page, which who imports this has not. */
export class EngineOrtNode implements Engine {
  readonly name = `onnxruntime-node ${env.versions.node ?? env.versions.common}`
  readonly #engine = new EngineOrt(this.name, async () => RUNTIME)

  load(graph: Uint8Array, io: EngineIo = {}): Promise<Result<EngineSession, EngineError>> {
    return this.#engine.load(graph, io)
  }
}
