import type { GraphEnds } from '../../contract/manifest-v2.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { Engine, EngineError, EngineErrorCode, EngineInput, EngineIo, EngineSession } from '../engine/engine.ts'
import { isSound, type NamedEnds, nameEnds } from '../engine/named-ends.ts'
import type { IoElementType, OpenEnd, Quantization, TensorIo } from '../engine/tensor-io.ts'
import { readResult, writeWindow } from '../engine/window-codec.ts'
import type { TinyGraph, TinyOptions } from './graph.ts'
import { loadTinyFile } from './load.ts'
import type { TinyTensor } from './tiny-tensor.ts'

/** A session whose graph may keep variables from window to window; they are saved and cleared on purpose. */
export interface TinySession extends EngineSession {
  /** What the graph has in memory. */
  readonly memory: TinyGraph['memory']
  /** @returns a copy of the variables inside the graph, empty for a graph without any */
  saveState(): Uint8Array
  /** @throws Error for a state of another length */
  restoreState(state: Uint8Array): void
  /** Variables as they were after loading. */
  resetState(): void
}

/** The engine of our own: TFLite graphs, and quantized ONNX graphs as `lowerOnnx` makes them, with the arithmetic of TensorFlow Lite Micro's reference kernels, byte for byte the same wherever
 *  WebAssembly runs. Of several inputs and outputs a bundle says which are which. */
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
    const ends = io.ends === undefined ? onlyEnds(loaded.value, io) : namedEnds(loaded.value, io, io.ends)
    if (!ends.ok) return failed('engine-load-failed', ends.error)
    const { output } = ends.value
    if (output.elementType !== 'float32' && output.quantization === null) {
      return failed('engine-load-failed', `quantization of ${output.elementType} output "${output.name}" is not known`)
    }
    return ok(new Session(loaded.value, ends.value))
  }
}

/** Ends and where they lie among the graph's. */
interface PlacedEnds extends Omit<NamedEnds, 'output'> {
  readonly output: TensorIo
}

/** Of a graph with one window and one result. */
function onlyEnds({ inputs, outputs }: TinyGraph, io: EngineIo): Result<PlacedEnds, string> {
  const [input] = inputs
  const [output] = outputs
  if (input === undefined || output === undefined || inputs.length !== 1 || outputs.length !== 1) {
    return err(`graph has ${inputs.length} inputs and ${outputs.length} outputs, expected one each`)
  }
  if (output.constant !== null) return err(`the output "${output.name}" is a constant`)
  const [from, to] = [end(input, io.input), end(output, io.output)]
  if (from === null || to === null) {
    const odd = from === null ? input : output
    return err(`"${odd.name}" is ${odd.elementType}, ends are float32, int8 or uint8`)
  }
  return ok({ input: from, output: to, states: [], constants: [] })
}

function namedEnds({ inputs, outputs }: TinyGraph, io: EngineIo, stated: GraphEnds): Result<PlacedEnds, string> {
  const named = nameEnds(inputs.map(openEnd), outputs.map(openEnd), stated, io)
  if (!named.ok) return named
  const { output, ...rest } = named.value
  const tensor = outputs.find(({ name }) => name === output.name)
  if (tensor === undefined || tensor.constant !== null) return err(`the output "${output.name}" is a constant`)
  return ok({ ...rest, output: { ...output, dims: tensor.shape, elements: tensor.elements } })
}

const openEnd = (tensor: TinyTensor): OpenEnd => ({
  ...{ name: tensor.name, elementType: tensor.elementType, dims: tensor.shape },
  quantization: quantizationOf(tensor),
})

const ARRAYS = { float32: Float32Array, int8: Int8Array, uint8: Uint8Array } as const
const isIoElementType = (type: string): type is IoElementType => Object.hasOwn(ARRAYS, type)

/** @returns null for a type that no end has */
function end(tensor: TinyTensor, stated: Quantization | undefined): TensorIo | null {
  const { name, elementType, shape, elements } = tensor
  if (!isIoElementType(elementType)) return null
  const quantization = elementType === 'float32' ? null : (stated ?? quantizationOf(tensor))
  return { ...{ name, elementType, dims: shape, elements }, quantization }
}

/** Of the whole tensor; null where the file tells none, or one a channel. */
function quantizationOf({ scales, zeroPoints }: TinyTensor): Quantization | null {
  const [scale] = scales
  return scale === undefined || scales.length > 1 ? null : { scale, zeroPoint: zeroPoints[0] ?? 0 }
}

/** What a run feeds back, and the bytes of 0 that it begins with. */
interface State {
  readonly name: string
  readonly from: EngineInput
  readonly kept: EngineInput
  readonly to: EngineInput
  readonly zero: number
}

class Session implements TinySession {
  readonly input: TensorIo
  readonly output: TensorIo
  readonly memory: TinyGraph['memory']
  /** Only of a graph that has variables or feeds something back: of others no run depends on another. */
  readonly reset?: () => void
  #graph: TinyGraph | null
  readonly #window: EngineInput
  readonly #result: EngineInput
  readonly #states: readonly State[]
  readonly #constants: readonly (readonly [to: Uint8Array, bytes: Uint8Array])[]

  constructor(graph: TinyGraph, { input, output, states, constants }: PlacedEnds) {
    this.input = input
    this.output = output
    this.memory = graph.memory
    this.#graph = graph
    const inputAt = (name: string): Uint8Array => graph.inputBytes(graph.inputs.findIndex((one) => one.name === name))
    const outputAt = (name: string): Uint8Array =>
      graph.outputBytes(graph.outputs.findIndex((one) => one.name === name))
    this.#window = view(inputAt(input.name), input)
    this.#result = view(outputAt(output.name), output)
    this.#constants = constants.map(({ name, data }) => [
      inputAt(name),
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    ])
    this.#states = states.map((state) => ({
      name: state.input.name,
      from: view(outputAt(state.output), state.input),
      kept: new ARRAYS[state.input.elementType](state.input.elements),
      to: view(inputAt(state.input.name), state.input),
      zero: state.input.quantization?.zeroPoint ?? 0,
    }))
    this.#forget()
    if (graph.memory.stateBytes > 0 || states.length > 0) this.reset = () => this.resetState()
  }

  /** All of a run happens before the call returns, so overlapping calls cannot meet. */
  async run(window: EngineInput): Promise<Result<Float32Array, EngineError>> {
    if (this.#graph === null) return failed('engine-disposed', 'session is disposed')
    const written = writeWindow(window, this.input, this.#window)
    if (!written.ok) return written
    // Inputs lie in the arena, where a run may write over them once they are read.
    for (const { to, kept } of this.#states) to.set(kept)
    for (const [to, bytes] of this.#constants) to.set(bytes)
    try {
      this.#graph.run()
    } catch (cause) {
      return failed('engine-run-failed', cause instanceof Error ? cause.message : String(cause), cause)
    }
    const broken = this.#states.find(({ from }) => !isSound(from))
    if (broken !== undefined) {
      this.#forget()
      return failed('engine-run-failed', `state "${broken.name}" is no number any more; it begins anew`)
    }
    for (const { kept, from } of this.#states) kept.set(from)
    return ok(readResult(this.#result, this.output))
  }

  #forget(): void {
    for (const { kept, zero } of this.#states) kept.fill(zero)
  }

  saveState(): Uint8Array {
    return this.#loaded().saveState()
  }

  restoreState(state: Uint8Array): void {
    this.#loaded().restoreState(state)
  }

  resetState(): void {
    this.#forget()
    this.#graph?.resetState()
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
