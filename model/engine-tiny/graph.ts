import type { Result } from '../../contract/result.ts'
import { type ByteRange, bytesOfElements } from '../element-type.ts'
import type { ModelFileError } from '../model-fault.ts'
import { planArena } from '../plan/arena-planner.ts'
import type { TensorPlace } from '../plan/tflite-lowering.ts'
import { planTflite, type TflitePlan } from '../plan/tflite-planner.ts'
import { catchTfliteFault, type TfliteErrorCode } from '../tflite/tflite-fault.ts'
import { tfliteOperatorName } from '../tflite/tflite-operators.ts'
import { readTflite } from '../tflite/tflite-reader.ts'
import type { TfliteModel, TfliteOperator, TfliteSubgraph, TfliteTensor } from '../tflite/tflite-types.ts'
import { GuardedRun } from './guarded-run.ts'
import { type KernelCall, NodeContext, type Prepared } from './node-context.ts'
import { TINY_OPERATORS } from './operators.ts'
import { catchTinyFault, type TinyErrorCode, TinyFault } from './tiny-fault.ts'
import {
  ALIGNMENT_BYTES,
  aligned,
  CONSTANTS,
  CONSTANTS_WORD,
  GLOBAL_BYTES,
  SCRATCH_WORD,
  TINY_LIMITS,
} from './tiny-limits.ts'
import { elementsOf, type TinyTensor } from './tiny-tensor.ts'
import { type TinyWasm, tinyWasm } from './tiny-wasm.ts'

export type TinyError = ModelFileError<TinyErrorCode | TfliteErrorCode>

/** How much memory a loaded graph has, part by part. */
export interface TinyMemory {
  /** The file, whose weights are used where they are. */
  readonly fileBytes: number
  /** Variables, kept from run to run. */
  readonly stateBytes: number
  /** Activations, at the planner's addresses. */
  readonly arenaBytes: number
  /** Parameters, multipliers and tables of the kernels. */
  readonly recordBytes: number
  /** The largest working memory of any kernel. */
  readonly scratchBytes: number
}

export interface TinyOptions {
  /** What the caller gives activations; loading fails where the plan needs more. */
  readonly arenaBytesMax?: number
  /** What one node may multiply and add, or compare; TINY_LIMITS.work by default. */
  readonly workMax?: number
  /** For tests: this byte between all buffers and in dead memory, and after each node a check that nothing but its outputs has changed; slow. */
  readonly guard?: number
}

/** A graph that is loaded: from here on nothing is allocated, and no run can fail. */
export interface TinyGraph {
  /** As the file declares them. */
  readonly inputs: readonly TinyTensor[]
  readonly outputs: readonly TinyTensor[]
  readonly memory: TinyMemory
  /** Bytes of an input, to be written before each run: other tensors use the same memory while the graph runs. */
  inputBytes(at: number): Uint8Array
  /** Bytes of an output after a run, until the next. */
  outputBytes(at: number): Uint8Array
  run(): void
  /** A copy of the variables, `stateBytes` long. */
  saveState(): Uint8Array
  /** @throws Error for another length than `stateBytes` */
  restoreState(state: Uint8Array): void
  /** Variables as they are after loading. */
  resetState(): void
}

const CALL_ONCE = 129
const VAR_HANDLE = 142
const READ_VARIABLE = 143
const ASSIGN_VARIABLE = 144

/** Loads subgraph 0 of a TFLite file: reads, plans, checks and lays out one memory, of which nothing grows afterwards.
 *
 *      [globals][file][state][arena][records][scratch]
 *
 *  @param bytes a TFLite file, not trusted
 *  @returns the graph, or why it cannot run; whatever the file says, no kernel reads outside its inputs or writes outside its outputs
 *  @throws Error when the platform has no WebAssembly SIMD */
export function loadTiny(bytes: Uint8Array, options: TinyOptions = {}): Result<TinyGraph, TinyError> {
  const model = readTflite(bytes)
  if (!model.ok) return model
  const plan = planTflite(model.value)
  if (!plan.ok) return plan
  // The options of an operator are read while it is prepared, so both kinds of faults come up there.
  const loaded = catchTfliteFault(() =>
    catchTinyFault(() => new TinyLoader(bytes, model.value, plan.value, options).load()),
  )
  return loaded.ok ? loaded.value : loaded
}

class TinyLoader {
  readonly #file: Uint8Array
  readonly #model: TfliteModel
  readonly #subgraph: TfliteSubgraph
  readonly #plan: TflitePlan
  readonly #guard: number | null
  readonly #workMax: number
  readonly #arena: { readonly bytes: number; readonly offsets: readonly number[] }
  readonly #stateOffsets: readonly number[]
  readonly #stateAt: number
  readonly #arenaAt: number
  readonly #recordsAt: number
  #end: number
  readonly #records: { readonly at: number; readonly bytes: Uint8Array }[] = []
  readonly #tensors: (TinyTensor | null)[]

  constructor(file: Uint8Array, model: TfliteModel, plan: TflitePlan, options: TinyOptions) {
    const [subgraph] = model.subgraphs
    if (subgraph === undefined) throw new TinyFault('tiny-malformed', 'no subgraph')
    this.#file = file
    this.#model = model
    this.#subgraph = subgraph
    this.#plan = plan
    this.#guard = options.guard ?? null
    this.#workMax = options.workMax ?? TINY_LIMITS.work
    this.#arena = this.#guard !== null ? guardedArena(plan) : plannedArena(plan)
    if (plan.arenaBytes > TINY_LIMITS.arenaBytes) tooLarge('the arena', plan.arenaBytes, TINY_LIMITS.arenaBytes)
    const given = options.arenaBytesMax ?? plan.arenaBytes
    if (plan.arenaBytes > given) tooLarge('the arena', plan.arenaBytes, given)
    let stateBytes = 0
    this.#stateOffsets = plan.states.map((state) => {
      const offset = stateBytes
      stateBytes = aligned(offset + state.bytes)
      return offset
    })
    if (stateBytes > TINY_LIMITS.stateBytes) tooLarge('the state', stateBytes, TINY_LIMITS.stateBytes)
    this.#stateAt = aligned(GLOBAL_BYTES + file.length)
    this.#arenaAt = this.#stateAt + stateBytes
    this.#recordsAt = aligned(this.#arenaAt + this.#arena.bytes)
    this.#end = this.#recordsAt
    this.#tensors = subgraph.tensors.map(() => null)
  }

  load(): TinyGraph {
    const { inputs, outputs, operators } = this.#subgraph
    const nodes = operators.map((operator, index) => this.#node(operator, index))
    const calls = nodes.map(({ prepared }) => prepared.calls.map((call) => this.#call(call)))
    const scratchAt = this.#end
    const scratchBytes = Math.max(0, ...nodes.map(({ prepared }) => prepared.scratchBytes ?? 0))
    if (scratchBytes > TINY_LIMITS.recordBytes) tooLarge('scratch', scratchBytes, TINY_LIMITS.recordBytes)
    const wasm = tinyWasm(scratchAt + scratchBytes)
    const all = new Uint8Array(wasm.memory)
    all.set(this.#file, GLOBAL_BYTES)
    for (const { at, bytes } of this.#records) all.set(bytes, at)
    const globals = new DataView(wasm.memory, 0, GLOBAL_BYTES)
    globals.setUint32(SCRATCH_WORD, scratchAt, true)
    for (const [at, constant] of CONSTANTS.entries()) globals.setUint32(CONSTANTS_WORD + 4 * at, constant, true)
    const memory: TinyMemory = {
      fileBytes: this.#file.length,
      stateBytes: this.#arenaAt - this.#stateAt,
      arenaBytes: this.#plan.arenaBytes,
      recordBytes: scratchAt - this.#recordsAt,
      scratchBytes,
    }
    const guards =
      this.#guard !== null
        ? new GuardedRun(all, {
            guard: this.#guard,
            arena: { offset: this.#arenaAt, length: this.#arena.bytes },
            inputs: inputs.map((tensor) => placed(this.#tensor(tensor))),
            nodes: nodes.map(({ where, writes, prepared }) => ({
              where,
              writes: [...writes, { offset: scratchAt, length: prepared.scratchBytes ?? 0 }],
            })),
          })
        : null
    return new LoadedGraph({
      wasm,
      memory,
      calls,
      guards,
      inputs: inputs.map((tensor) => this.#tensor(tensor)),
      outputs: outputs.map((tensor) => this.#tensor(tensor)),
      state: all.subarray(this.#stateAt, this.#arenaAt),
      initialState: this.#initialState(operators),
    })
  }

  /** What a node calls and which bytes it may write. */
  #node(operator: TfliteOperator, index: number): PreparedNode {
    const where = `node ${index}, ${tfliteOperatorName(operator)}`
    const { builtinCode } = operator
    const writes = operator.outputs.filter((tensor) => tensor >= 0)
    switch (builtinCode) {
      case CALL_ONCE:
      case VAR_HANDLE:
        return { where, prepared: { calls: [] }, writes: [] }
      case READ_VARIABLE:
      case ASSIGN_VARIABLE:
        return this.#moveVariable(operator, where)
      default: {
        const known = TINY_OPERATORS.get(builtinCode)
        if (known === undefined) {
          throw new TinyFault(
            'tiny-unsupported-operator',
            `${where}: the engine "tiny" has no such operator; convert the graph without it, or run it on onnxruntime as ONNX`,
          )
        }
        const inputs = operator.inputs.map((tensor) => (tensor < 0 ? null : this.#tensor(tensor)))
        const outputs = writes.map((tensor) => this.#tensor(tensor))
        const context = new NodeContext(
          where,
          { options: operator.options, inputs, outputs },
          { file: this.#file, workMax: this.#workMax, place: (bytes) => this.#record(bytes) },
        )
        // A variable among the inputs is what the kernel keeps from run to run.
        const kept = operator.inputs.filter(
          (tensor) => tensor >= 0 && this.#subgraph.tensors[tensor]?.variable === true,
        )
        return {
          where,
          prepared: known(context),
          writes: [...outputs, ...kept.map((tensor) => this.#tensor(tensor))].map(placed),
        }
      }
    }
  }

  /** READ_VARIABLE and ASSIGN_VARIABLE copy; the planner has checked handle and size. */
  #moveVariable({ builtinCode, inputs, outputs }: TfliteOperator, where: string): PreparedNode {
    const reading = builtinCode === READ_VARIABLE
    const value = this.#tensor((reading ? outputs[0] : inputs[1]) ?? -1)
    const variable = { offset: this.#variable(inputs[0] ?? -1, where), length: value.bytes }
    const [from, to] = reading ? [variable, placed(value)] : [placed(value), variable]
    const words = [from.offset, to.offset, value.bytes]
    return { where, prepared: { calls: [{ kernel: 'copyBytes', words }] }, writes: [to] }
  }

  #variable(handle: number, where: string): number {
    const place = this.#plan.places[handle]
    if (place?.kind !== 'state') throw new TinyFault('tiny-malformed', `${where}: no variable`)
    return this.#stateAt + (this.#stateOffsets[place.state] ?? 0)
  }

  /** The variables before the first run: zero points, then what the subgraphs of CALL_ONCE assign, in order.
   *  @see micro_resource_variable.cc and micro_interpreter_graph.cc of TFLite Micro */
  #initialState(operators: readonly TfliteOperator[]): Uint8Array {
    const state = new Uint8Array(this.#arenaAt - this.#stateAt)
    const fill = (at: number, { bytes, elementType, zeroPoints }: TinyTensor): void => {
      if (elementType === 'int8') state.fill((zeroPoints[0] ?? 0) & 0xff, at, at + bytes)
    }
    for (const [index, tensor] of this.#subgraph.tensors.entries()) {
      if (!tensor.variable || this.#plan.places[index]?.kind !== 'state') continue
      const variable = this.#tensor(index)
      fill(variable.address - this.#stateAt, variable)
    }
    for (const { builtinCode, inputs } of [...operators].reverse()) {
      // The first assignment counts, so it comes last here.
      if (builtinCode !== ASSIGN_VARIABLE) continue
      fill(this.#variable(inputs[0] ?? -1, 'ASSIGN_VARIABLE') - this.#stateAt, this.#tensor(inputs[1] ?? -1))
    }
    for (const [index, { builtinCode, options }] of operators.entries()) {
      if (builtinCode !== CALL_ONCE) continue
      this.#initialise(state, options?.int32(0) ?? 0, `node ${index}, CALL_ONCE`)
    }
    return state
  }

  /** Only what converters write is run here: constants assigned to variables. */
  #initialise(state: Uint8Array, called: number, where: string): void {
    const subgraph = this.#model.subgraphs[called]
    if (subgraph === undefined || called === 0) {
      throw new TinyFault('tiny-malformed', `${where}: it calls subgraph ${called} of ${this.#model.subgraphs.length}`)
    }
    const plan = planTflite({ ...this.#model, subgraphs: [subgraph] })
    if (!plan.ok) throw new TinyFault('tiny-malformed', `${where}: ${plan.error.code}: ${plan.error.detail}`)
    for (const { builtinCode, inputs } of subgraph.operators) {
      if (builtinCode === VAR_HANDLE) continue
      const [handle = -1, value = -1] = inputs
      const from = plan.value.places[value]
      const to = plan.value.places[handle]
      const variable = to?.kind === 'state' ? plan.value.states[to.state] : undefined
      if (builtinCode !== ASSIGN_VARIABLE || from?.kind !== 'constant' || !variable?.resource) {
        throw new TinyFault(
          'tiny-unsupported-operator',
          `${where}: its subgraph does more than assign constants to variables; keep the initial values constant`,
        )
      }
      const { container, sharedName } = variable.resource
      const at = this.#plan.states.findIndex(
        ({ resource }) => resource?.container === container && resource.sharedName === sharedName,
      )
      const known = this.#plan.states[at]
      // A variable that the graph never touches is assigned in vain.
      if (known === undefined || known.bytes === 0) continue
      if (known.bytes !== from.range.length) {
        throw new TinyFault(
          'tiny-malformed',
          `${where}: "${sharedName}" is given ${from.range.length} bytes, it has ${known.bytes}`,
        )
      }
      const { offset, length } = from.range
      state.set(this.#file.subarray(offset, offset + length), this.#stateOffsets[at])
    }
  }

  #tensor(index: number): TinyTensor {
    const known = this.#tensors[index]
    if (known) return known
    const tensor = this.#subgraph.tensors[index]
    const place = this.#plan.places[index]
    if (tensor === undefined || place === undefined) throw new TinyFault('tiny-malformed', `no tensor ${index}`)
    const made = this.#describe(tensor, index, place)
    this.#tensors[index] = made
    return made
  }

  #describe(tensor: TfliteTensor, index: number, place: TensorPlace): TinyTensor {
    const { name, shape, elementType, quantization } = tensor
    const what = `tensor ${index} "${name}"`
    const elements = elementsOf(shape)
    if (elementType === null || tensor.sparse) {
      throw new TinyFault('tiny-unsupported-type', `${what} is sparse or of no fixed width; convert it dense and typed`)
    }
    if (elements === null) throw new TinyFault('tiny-malformed', `${what} has the shape [${shape.join(', ')}]`)
    if (shape.length > TINY_LIMITS.dims) {
      throw new TinyFault('tiny-too-large', `${what} has ${shape.length} dimensions, at most ${TINY_LIMITS.dims}`)
    }
    const bytes = bytesOfElements(elementType, elements)
    if (bytes > TINY_LIMITS.tensorBytes) tooLarge(what, bytes, TINY_LIMITS.tensorBytes)
    const { scales = [], zeroPoints = [], dimension = 0 } = quantization ?? {}
    if (scales.some((scale) => !(scale > 0 && Number.isFinite(scale)))) {
      throw new TinyFault('tiny-malformed', `${what} has a scale that is not positive`)
    }
    if (zeroPoints.some((zeroPoint) => zeroPoint < -0x8000 || zeroPoint > 0xffff)) {
      throw new TinyFault('tiny-malformed', `${what} has a zero point outside its type`)
    }
    const constant = place.kind === 'constant' ? place.range : null
    return {
      ...{
        name,
        shape,
        elementType,
        elements,
        bytes,
        scales,
        zeroPoints,
        dimension,
        constant,
        variable: tensor.variable,
      },
      address: this.#address(place, what),
    }
  }

  #address(place: TensorPlace, what: string): number {
    switch (place.kind) {
      case 'constant':
        return GLOBAL_BYTES + place.range.offset
      case 'state':
        return this.#stateAt + (this.#stateOffsets[place.state] ?? 0)
      case 'arena':
        return this.#arenaAt + (this.#arena.offsets[place.buffer] ?? 0)
      case 'unused':
        throw new TinyFault('tiny-malformed', `${what} is used, but nothing makes it`)
    }
  }

  #call({ kernel, words }: KernelCall): Call {
    const view = new Uint8Array(4 * words.length)
    const data = new DataView(view.buffer)
    for (let at = 0; at < words.length; at++) {
      const word = words[at] ?? Number.NaN
      if (!Number.isInteger(word) || word < -0x80000000 || word > 0xffffffff) {
        throw new TinyFault('tiny-malformed', `${kernel}: ${word} is no word of 32 bits`)
      }
      data.setInt32(4 * at, word | 0, true)
    }
    return { kernel, words: this.#record(view) }
  }

  /** Keeps bytes for the kernels. @returns their address, a multiple of 16 */
  #record(bytes: Uint8Array): number {
    const at = this.#end
    this.#end = aligned(at + bytes.length)
    if (this.#end - this.#recordsAt > TINY_LIMITS.recordBytes) {
      tooLarge('the kernels', this.#end - this.#recordsAt, TINY_LIMITS.recordBytes)
    }
    this.#records.push({ at, bytes })
    return at
  }
}

interface PreparedNode {
  readonly where: string
  readonly prepared: Prepared
  readonly writes: readonly ByteRange[]
}

interface Call {
  readonly kernel: KernelCall['kernel']
  readonly words: number
}

const placed = ({ address, bytes }: TinyTensor): ByteRange => ({ offset: address, length: bytes })

function tooLarge(what: string, bytes: number, most: number): never {
  throw new TinyFault('tiny-too-large', `${what} needs ${bytes} bytes, ${bytes - most} more than the ${most} there are`)
}

const plannedArena = (plan: TflitePlan) => ({
  bytes: plan.arenaBytes,
  offsets: plan.placements.map(({ offset }) => offset),
})

/** The same buffers, each with room around it. */
function guardedArena(plan: TflitePlan): { readonly bytes: number; readonly offsets: readonly number[] } {
  const { arenaBytes, placements } = planArena(
    plan.placements.map((buffer) => ({ ...buffer, bytes: aligned(buffer.bytes) + 2 * ALIGNMENT_BYTES })),
  )
  return { bytes: arenaBytes, offsets: placements.map(({ offset }) => offset + ALIGNMENT_BYTES) }
}

interface LoadedParts {
  readonly wasm: TinyWasm
  readonly memory: TinyMemory
  /** By node. */
  readonly calls: readonly (readonly Call[])[]
  readonly guards: GuardedRun | null
  readonly inputs: readonly TinyTensor[]
  readonly outputs: readonly TinyTensor[]
  readonly state: Uint8Array
  readonly initialState: Uint8Array
}

class LoadedGraph implements TinyGraph {
  readonly inputs: readonly TinyTensor[]
  readonly outputs: readonly TinyTensor[]
  readonly memory: TinyMemory
  readonly #parts: LoadedParts
  readonly #bytes: Uint8Array
  readonly #flat: readonly (readonly [(words: number) => void, number])[]

  constructor(parts: LoadedParts) {
    this.#parts = parts
    this.#bytes = new Uint8Array(parts.wasm.memory)
    this.inputs = parts.inputs
    this.outputs = parts.outputs
    this.memory = parts.memory
    this.#flat = parts.calls.flat().map(({ kernel, words }) => [parts.wasm.kernels[kernel], words] as const)
    this.resetState()
  }

  inputBytes(at: number): Uint8Array {
    return this.#view(this.inputs[at], `input ${at}`)
  }

  outputBytes(at: number): Uint8Array {
    return this.#view(this.outputs[at], `output ${at}`)
  }

  #view(tensor: TinyTensor | undefined, what: string): Uint8Array {
    if (tensor === undefined) throw new Error(`the graph has no ${what}`)
    return this.#bytes.subarray(tensor.address, tensor.address + tensor.bytes)
  }

  run(): void {
    const { calls, guards, wasm } = this.#parts
    if (guards === null) {
      for (const [kernel, words] of this.#flat) kernel(words)
      return
    }
    guards.run((node) => {
      for (const { kernel, words } of calls[node] ?? []) wasm.kernels[kernel](words)
    })
  }

  saveState(): Uint8Array {
    return this.#parts.state.slice()
  }

  restoreState(state: Uint8Array): void {
    if (state.length !== this.#parts.state.length) {
      throw new Error(`state of ${state.length} bytes, the graph has ${this.#parts.state.length}`)
    }
    this.#parts.state.set(state)
  }

  resetState(): void {
    this.#parts.state.set(this.#parts.initialState)
  }
}
