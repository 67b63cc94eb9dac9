import { type ContractError, contractError } from '../../contract/errors.ts'
import type { GraphEnds } from '../../contract/manifest-v2.ts'
import type { Result } from '../../contract/result.ts'
import type { Quantization, TensorIo } from './tensor-io.ts'

export type EngineErrorCode =
  /** The graph is not one this engine can open: malformed, an operator it lacks, ends it does not serve. */
  | 'engine-load-failed'
  /** The engine failed inside a run; the session may still be used. */
  | 'engine-run-failed'
  /** The window does not fit the graph's input: element count, or type without quantization parameters. */
  | 'engine-bad-input'
  /** `run` after `dispose`. */
  | 'engine-disposed'

export interface EngineError {
  readonly code: EngineErrorCode
  readonly detail: string
  /** The foreign exception, for logs; never for decisions. */
  readonly cause?: unknown
}

/** What the contract calls a failure of an engine: a model that cannot be loaded is another matter than one that fails when it runs. */
export const engineFailure = ({ code, detail }: EngineError): ContractError =>
  contractError(code === 'engine-load-failed' ? 'model-load-failed' : 'inference-failed', detail)

/** A window of features: real values, or already quantized as the graph's input wants them. Any shape whose element count
 *  matches: [1,1,49,10] and [1,49,10,1] are the same flat layout. */
export type EngineInput = Float32Array | Int8Array | Uint8Array

/** One loaded graph with one window in and one result out. What else it has, `EngineIo.ends` names when it is loaded: what it feeds back from one
 *  run to the next is the session's own, as variables inside a graph are. */
export interface EngineSession {
  readonly input: TensorIo
  readonly output: TensorIo
  /** Runs one window. An output whose shape the file leaves open has that of a trial run. The input is read before the call returns; the result is the caller's to keep. Overlapping calls are
   *  allowed and finish in order.
   *  @returns real values, dequantized where the graph's output is int8; or `engine-bad-input` | `engine-run-failed` |
   *  `engine-disposed` */
  run(window: EngineInput): Promise<Result<Float32Array, EngineError>>
  /** Forgets what earlier runs have left in the graph, as after a gap in what it hears. Absent: no run depends on another. */
  readonly reset?: () => void
  /** Frees the graph. Calling it twice is allowed. */
  dispose(): Promise<void>
}

/** Quantization of the graph's ends where the file does not tell it; what the bundle states wins over what the graph says. */
export interface EngineIo {
  readonly input?: Quantization
  readonly output?: Quantization
  /** of a graph that has more than one window and one result, or leaves more than the batch open */
  readonly ends?: GraphEnds
}

/** Opens graphs; one adapter per runtime, each held to `test/contract/engine.suite.ts`. */
export interface Engine {
  /** Names runtime and version, for reports and golden vectors: "onnxruntime-node 1.30.0". */
  readonly name: string
  /** @param graph an ONNX file; the session may keep a view of the bytes while loading, not after
   *  @returns the session, or `engine-load-failed` */
  load(graph: Uint8Array, io?: EngineIo): Promise<Result<EngineSession, EngineError>>
}
