import type { InferenceSession, InferenceSessionFactory, Tensor, TensorConstructor } from 'onnxruntime-node'
import { present } from '../../contract/present.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { Engine, EngineError, EngineErrorCode, EngineInput, EngineIo, EngineSession } from './engine.ts'
import { isSound, type NamedEnds, nameEnds } from './named-ends.ts'
import { readGraphIo, readOpenEnds, type TensorIo } from './tensor-io.ts'
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
    const ends = io.ends === undefined ? onlyEnds(graph, io) : namedEnds(graph, io, io.ends)
    if (!ends.ok) return failed('engine-load-failed', ends.error)
    const { output } = ends.value
    if (output.elementType !== 'float32' && output.quantization === null) {
      return failed('engine-load-failed', `quantization of ${output.elementType} output "${output.name}" is not known`)
    }
    try {
      const runtime = await this.#runtime()
      const session = await runtime.InferenceSession.create(graph, runtime.sessionOptions)
      const dims = output.dims ?? (await tryOnce(session, runtime.Tensor, ends.value))
      const fixed = { ...output, dims, elements: dims.reduce((product, dim) => product * dim, 1) }
      return ok(new OrtSession(session, runtime, ends.value, fixed))
    } catch (cause) {
      return failed('engine-load-failed', messageOf(cause), cause)
    }
  }
}

/** Of a graph with one window and one result, whose shapes it tells itself. */
function onlyEnds(graph: Uint8Array, io: EngineIo): Result<NamedEnds, string> {
  const ends = readGraphIo(graph)
  if (!ends.ok) return err(`${ends.error.code}: ${ends.error.detail}`)
  const { inputs, outputs } = ends.value
  const [input] = inputs
  const [output] = outputs
  if (input === undefined || output === undefined || inputs.length !== 1 || outputs.length !== 1) {
    return err(`graph has ${inputs.length} inputs and ${outputs.length} outputs, expected one each`)
  }
  return ok({
    input: withQuantization(input, io.input),
    output: withQuantization(output, io.output),
    states: [],
    constants: [],
  })
}

function namedEnds(graph: Uint8Array, io: EngineIo, stated: NonNullable<EngineIo['ends']>): Result<NamedEnds, string> {
  const ends = readOpenEnds(graph)
  return ends.ok
    ? nameEnds(ends.value.inputs, ends.value.outputs, stated, io)
    : err(`${ends.error.code}: ${ends.error.detail}`)
}

/** Memory of one run: tensors over arrays of ours, which ONNX Runtime reads and writes in place. */
interface Slot {
  readonly window: EngineInput
  readonly result: EngineInput
  readonly feeds: Record<string, Tensor>
  readonly fetches: Record<string, Tensor>
}

/** What a run feeds back, from `next` to `now` when it has ended well. */
interface State {
  readonly name: string
  readonly now: EngineInput
  readonly next: EngineInput
  /** what stands for 0 */
  readonly zero: number
}

class OrtSession implements EngineSession {
  readonly input: TensorIo
  readonly output: TensorIo
  /** Only of a graph that feeds something back. */
  readonly reset?: () => void
  readonly #session: InferenceSession
  readonly #runtime: OrtRuntime
  readonly #ends: NamedEnds
  readonly #slot: Slot
  readonly #states: readonly State[]
  /** end of the newest run, where one begins with what the last has left */
  #last: Promise<unknown> = Promise.resolve()
  #slotBusy = false
  #running = 0
  #disposed = false
  #released = false

  constructor(session: InferenceSession, runtime: OrtRuntime, ends: NamedEnds, output: TensorIo) {
    this.#session = session
    this.#runtime = runtime
    this.#ends = ends
    this.input = ends.input
    this.output = output
    const slot = newSlot(runtime.Tensor, ends, output)
    this.#states = ends.states.map(({ input, output: name }) => {
      const state = { name, now: arrayOf(input), next: arrayOf(input), zero: input.quantization?.zeroPoint ?? 0 }
      slot.feeds[input.name] = new runtime.Tensor(input.elementType, state.now, input.dims)
      slot.fetches[name] = new runtime.Tensor(input.elementType, state.next, input.dims)
      return state
    })
    this.#slot = slot
    this.#forget()
    if (this.#states.length > 0) {
      // Behind the runs that were asked for before it, before those that come.
      this.reset = () => {
        this.#last = this.#last.then(() => this.#forget())
      }
    }
  }

  run(window: EngineInput): Promise<Result<Float32Array, EngineError>> {
    if (this.#states.length === 0) return this.#runNow(window)
    const copy = window.slice()
    const run = this.#last.then(() => this.#runNow(copy))
    this.#last = run
    return run
  }

  async #runNow(window: EngineInput): Promise<Result<Float32Array, EngineError>> {
    if (this.#disposed) return failed('engine-disposed', 'session is disposed')
    // One slot serves the usual caller; a call that overlaps another gets memory of its own rather than a queue.
    const shared = !this.#slotBusy
    const slot = shared ? this.#slot : newSlot(this.#runtime.Tensor, this.#ends, this.output)
    const written = writeWindow(window, this.input, slot.window)
    if (!written.ok) return written
    if (shared) this.#slotBusy = true
    this.#running++
    try {
      const result = await this.#results(slot)
      const broken = this.#states.find(({ next }) => !isSound(next))
      if (broken !== undefined) {
        this.#forget()
        return failed('engine-run-failed', `state "${broken.name}" is no number any more; it begins anew`)
      }
      for (const { now, next } of this.#states) now.set(next)
      return ok(readResult(result, this.output))
    } catch (cause) {
      return failed('engine-run-failed', messageOf(cause), cause)
    } finally {
      if (shared) this.#slotBusy = false
      this.#running--
      if (this.#disposed) await this.#releaseWhenIdle()
    }
  }

  /** Runs, with what is fed back in `next` afterwards. */
  async #results(slot: Slot): Promise<EngineInput> {
    if (this.#runtime.writesInPlace) {
      await this.#session.run(slot.feeds, slot.fetches)
      return slot.result
    }
    const results = await this.#session.run(slot.feeds)
    const dataOf = (name: string) => present(results[name], 'an output of a run').data as EngineInput
    for (const { name, next } of this.#states) next.set(dataOf(name))
    return dataOf(this.output.name)
  }

  #forget(): void {
    for (const { now, zero } of this.#states) now.fill(zero)
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
const arrayOf = ({ elementType, elements }: Pick<TensorIo, 'elementType' | 'elements'>): EngineInput =>
  new ARRAYS[elementType](elements)

function newSlot(TensorOf: TensorConstructor, ends: NamedEnds, output: TensorIo): Slot {
  const window = arrayOf(ends.input)
  const result = arrayOf(output)
  return {
    window,
    result,
    feeds: {
      ...constantFeeds(TensorOf, ends),
      [ends.input.name]: new TensorOf(ends.input.elementType, window, ends.input.dims),
    },
    fetches: { [output.name]: new TensorOf(output.elementType, result, output.dims) },
  }
}

const constantFeeds = (TensorOf: TensorConstructor, { constants }: NamedEnds): Record<string, Tensor> =>
  Object.fromEntries(
    constants.map(({ name, elementType, data, dims }) => [name, new TensorOf(elementType, data, dims)]),
  )

/** The shape of a result that the file leaves open, from a run of zeros. */
async function tryOnce(
  session: InferenceSession,
  TensorOf: TensorConstructor,
  ends: NamedEnds,
): Promise<readonly number[]> {
  const { input, output, states } = ends
  const feeds = constantFeeds(TensorOf, ends)
  for (const end of [input, ...states.map((state) => state.input)]) {
    feeds[end.name] = new TensorOf(end.elementType, arrayOf(end), end.dims)
  }
  const results = await session.run(feeds, [output.name])
  const dims = results[output.name]?.dims
  if (dims === undefined) throw new Error(`the graph gives no output "${output.name}"`)
  return dims
}

const withQuantization = (io: TensorIo, stated: EngineIo['input']): TensorIo =>
  stated === undefined || io.elementType === 'float32' ? io : { ...io, quantization: stated }

function failed(code: EngineErrorCode, detail: string, cause?: unknown): { ok: false; error: EngineError } {
  return err(cause === undefined ? { code, detail } : { code, detail, cause })
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
