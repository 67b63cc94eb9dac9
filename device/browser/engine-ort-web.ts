import type { InferenceSession } from 'onnxruntime-web'
import { EngineOrt } from '../../model/engine/engine-ort-session.ts'

/** As under Node (model/engine/engine-ort-node.ts): one thread, results that do not depend on the machine's load. */
const SESSION_OPTIONS: InferenceSession.SessionOptions = {
  executionProviders: ['wasm'],
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
  logSeverityLevel: 4,
}

/** ONNX Runtime in a page, in WebAssembly. Its 14 MB are fetched when the first graph needs them.
 *  @param wasmUrl where its WebAssembly lies, at the page's own origin */
export const engineOrtWeb = (wasmUrl: string): EngineOrt =>
  new EngineOrt('onnxruntime-web 1.30.0', async () => {
    const { env, InferenceSession, Tensor } = await import('onnxruntime-web/wasm')
    // More would need shared memory, and so headers that isolate the page from all others.
    env.wasm.numThreads = 1
    env.wasm.proxy = false
    env.wasm.wasmPaths = { wasm: wasmUrl }
    return { InferenceSession, Tensor, sessionOptions: SESSION_OPTIONS, writesInPlace: false }
  })
