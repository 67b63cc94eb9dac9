import { type ByteRange, bytesOfElements } from '../element-type.ts'
import { type TfliteErrorCode, TfliteFault } from '../tflite/tflite-fault.ts'
import { TFLITE_LIMITS } from '../tflite/tflite-limits.ts'
import { tfliteOperatorName } from '../tflite/tflite-operators.ts'
import type { TfliteModel, TfliteOperator, TfliteSubgraph, TfliteTensor } from '../tflite/tflite-types.ts'
import type { ActivationBuffer, DeviceConstant, DeviceStep } from './graph-lowering.ts'
import { macsOf, operatorElements, patchElementsOf, requantizedChannelsOf } from './tflite-macs.ts'

/** Where a tensor's elements are while the graph runs. */
export type TensorPlace =
  /** In a buffer of the plan, alone or under several names. */
  | { readonly kind: 'arena'; readonly buffer: number }
  | { readonly kind: 'constant'; readonly range: ByteRange }
  /** A variable tensor, or the handle of a resource variable. */
  | { readonly kind: 'state'; readonly state: number }
  /** Neither read nor made by any operator, or only a description. */
  | { readonly kind: 'unused' }

/** What is kept from one run to the next. */
export interface StateRegion {
  /** Name of the tensor, or of the resource variable. */
  readonly name: string
  readonly bytes: number
  /** Container and name of a resource variable, whose handles may be in several subgraphs; null for a variable tensor. */
  readonly resource: { readonly container: string; readonly sharedName: string } | null
}

/** A kernel call, and which operator of subgraph 0 it is. */
export interface TfliteStep extends DeviceStep {
  readonly operator: number
}

/** Working memory of a kernel, which lives while it runs. */
export interface ScratchBuffer {
  readonly operator: number
  /** Index into the plan's buffers. */
  readonly buffer: number
}

/** Bytes of working memory that the kernel of an operator wants, a number for each buffer. */
export type ScratchOf = (operator: TfliteOperator, index: number) => readonly number[]

/** Subgraph 0 as it runs: what is in the arena and when. */
export interface LoweredTflite {
  /** Graph inputs first, then by producer, then scratch. */
  readonly buffers: readonly ActivationBuffer[]
  /** How many of them are graph inputs. */
  readonly inputs: number
  /** The tensor that defines each buffer, in the same order; for scratch beyond the last tensor. */
  readonly definedBy: readonly number[]
  readonly constants: readonly DeviceConstant[]
  readonly states: readonly StateRegion[]
  readonly steps: readonly TfliteStep[]
  /** RESHAPE and the like, which keep a node record though they move nothing. */
  readonly views: number
  /** By tensor of subgraph 0. */
  readonly places: readonly TensorPlace[]
  readonly scratch: readonly ScratchBuffer[]
}

const CALL_ONCE = 129
const VAR_HANDLE = 142
const READ_VARIABLE = 143
const ASSIGN_VARIABLE = 144
/** Done when the graph is loaded; nothing of them is left to run. */
const AT_LOAD: ReadonlySet<number> = new Set([CALL_ONCE, VAR_HANDLE])
/** RESHAPE, SQUEEZE, EXPAND_DIMS: the output is the input under another shape. */
const RENAMES: ReadonlySet<number> = new Set([22, 43, 70])
/** CALL, IF, WHILE, and those of StableHLO. */
const CONTROL_FLOW: ReadonlySet<number> = new Set([31, 118, 119, 200, 206, 209])
const VAR_HANDLE_OPTIONS = { container: 0, sharedName: 1 } as const

interface MutableBuffer {
  name: string
  bytes: number
  firstUse: number
  lastUse: number
}

/** Sorts the tensors of subgraph 0 into arena, constants and state, as TensorFlow Lite Micro does: what is neither constant nor variable
 *  nor a handle is a buffer, from the kernel that makes it to the last that reads it. RESHAPE, SQUEEZE and EXPAND_DIMS of a buffer are that
 *  buffer: no kernel writes into what it reads, so the two names never differ. Of constants and state they copy, since those are
 *  read-only or may change before the copy is read.
 *  @throws TfliteFault for whatever no schedule can run, or whose size only the run fixes
 *  @see tensorflow/lite/micro/micro_allocation_info.cc
 */
export function lowerTflite(model: TfliteModel, scratchOf: ScratchOf): LoweredTflite {
  const subgraph = model.subgraphs[0]
  if (subgraph === undefined) throw new TfliteFault('tflite-bad-graph', 'no subgraph')
  return new TfliteLowering(model, subgraph, scratchOf).run()
}

class TfliteLowering {
  readonly #model: TfliteModel
  readonly #subgraph: TfliteSubgraph
  readonly #scratchOf: ScratchOf
  readonly #places: TensorPlace[]
  readonly #buffers: MutableBuffer[] = []
  readonly #definedBy: number[] = []
  readonly #constants = new Map<string, DeviceConstant>()
  readonly #states: { name: string; bytes: number; resource: StateRegion['resource'] }[] = []
  readonly #resources = new Map<string, number>()
  readonly #steps: TfliteStep[] = []
  readonly #wanted: { readonly operator: number; readonly step: number; readonly bytes: number }[] = []
  #views = 0

  constructor(model: TfliteModel, subgraph: TfliteSubgraph, scratchOf: ScratchOf) {
    this.#model = model
    this.#subgraph = subgraph
    this.#scratchOf = scratchOf
    this.#places = subgraph.tensors.map(() => ({ kind: 'unused' }))
  }

  run(): LoweredTflite {
    const { inputs, outputs, operators } = this.#subgraph
    for (const input of new Set(inputs)) {
      if (this.#stored(input) !== null)
        this.#fail('tflite-bad-graph', input, 'is an input of the graph and a constant or variable')
      this.#make(input, 0, 'an input of the graph')
    }
    for (const [index, operator] of operators.entries()) this.#operate(operator, index)
    const last = Math.max(0, this.#steps.length - 1)
    for (const output of outputs) {
      const place = this.#read(output, 'an output of the graph')
      if (place.kind === 'arena') this.#buffers[place.buffer]!.lastUse = last
    }
    const scratch = this.#wanted.map(({ operator, step, bytes }, at) => ({
      operator,
      buffer: this.#newBuffer(`scratch of operator ${operator}`, bytes, step, this.#subgraph.tensors.length + at),
    }))
    return {
      buffers: this.#buffers,
      inputs: new Set(inputs).size,
      definedBy: this.#definedBy,
      constants: [...this.#constants.values()],
      states: this.#states,
      steps: this.#steps,
      views: this.#views,
      places: this.#places,
      scratch,
    }
  }

  #operate(operator: TfliteOperator, index: number): void {
    const name = `${tfliteOperatorName(operator)} (operator ${index})`
    const { builtinCode, inputs, outputs } = operator
    if (CONTROL_FLOW.has(builtinCode)) {
      throw new TfliteFault('tflite-unsupported-op', `${name}: control flow, whose memory depends on the data`)
    }
    if (builtinCode === VAR_HANDLE) {
      this.#handle(operator, name)
      return
    }
    const from = inputs.map((tensor) => (tensor < 0 ? null : this.#read(tensor, name)))
    if (AT_LOAD.has(builtinCode)) return
    const source = from[0]
    const [view, only] = [outputs[0], outputs.length === 1]
    if (RENAMES.has(builtinCode) && source?.kind === 'arena' && only && view !== undefined && view >= 0) {
      this.#rename(view, source, name)
      return
    }
    const step = this.#steps.length
    for (const place of from) if (place?.kind === 'arena') this.#buffers[place.buffer]!.lastUse = step
    for (const output of outputs) if (output >= 0) this.#make(output, step, name)
    if (builtinCode === READ_VARIABLE) this.#keep(inputs[0], outputs[0], name)
    if (builtinCode === ASSIGN_VARIABLE) this.#keep(inputs[0], inputs[1], name)
    for (const bytes of this.#scratchOf(operator, index)) this.#wanted.push({ operator: index, step, bytes })
    const shapes = operatorElements(operator, this.#subgraph.tensors, name)
    this.#steps.push({
      opType: tfliteOperatorName(operator),
      // An operator of TFLite has no name of its own; its first output is how converters know it.
      name: this.#subgraph.tensors[outputs[0] ?? -1]?.name ?? '',
      operator: index,
      macs: macsOf(shapes),
      requantizedChannels: requantizedChannelsOf(shapes),
      patchElements: patchElementsOf(shapes),
    })
  }

  /** @returns where a tensor that somebody reads is */
  #read(tensor: number, reader: string): TensorPlace {
    const known = this.#places[tensor]!
    if (known.kind !== 'unused') return known
    const stored = this.#stored(tensor) ?? this.#empty(tensor)
    if (stored === null) this.#fail('tflite-bad-graph', tensor, `is read by ${reader} before anything makes it`)
    this.#places[tensor] = stored
    return stored
  }

  /** @returns the place of a constant or variable tensor, entered where it counts; null for a tensor that somebody has to make */
  #stored(tensor: number): TensorPlace | null {
    const described = this.#subgraph.tensors[tensor]!
    const range = described.buffer === 0 ? null : (this.#model.buffers[described.buffer] ?? null)
    if (described.variable) {
      const state = this.#states.push({ name: described.name, bytes: this.#bytes(tensor), resource: null }) - 1
      return { kind: 'state', state }
    }
    if (range === null) return null
    const { elementType, sparse } = described
    if (elementType !== null && !sparse && range.length !== this.#bytes(tensor)) {
      this.#fail(
        'tflite-shape-mismatch',
        tensor,
        `has ${range.length} bytes of data, its type and shape make ${this.#bytes(tensor)}`,
      )
    }
    // Several tensors may share one buffer of the file, and several buffers the same bytes.
    const key = `${range.offset}:${range.length}`
    if (!this.#constants.has(key)) {
      this.#constants.set(key, { name: described.name, elementType: elementType ?? 'uint8', bytes: range.length })
    }
    return { kind: 'constant', range }
  }

  /** A constant without elements, such as the shape that makes a scalar, has no data in the file. */
  #empty(tensor: number): TensorPlace | null {
    const { shape } = this.#subgraph.tensors[tensor]!
    return shape.includes(0) ? { kind: 'constant', range: { offset: 0, length: 0 } } : null
  }

  #make(tensor: number, step: number, maker: string): void {
    const { name } = this.#writable(tensor, maker)
    this.#places[tensor] = { kind: 'arena', buffer: this.#newBuffer(name, this.#bytes(tensor), step, tensor) }
  }

  #rename(view: number, source: TensorPlace & { kind: 'arena' }, name: string): void {
    this.#writable(view, name)
    const [bytes, of] = [this.#bytes(view), this.#buffers[source.buffer]!.bytes]
    if (bytes !== of) this.#fail('tflite-shape-mismatch', view, `has ${bytes} bytes, but ${name} makes it of ${of}`)
    this.#places[view] = source
    this.#views++
  }

  #writable(tensor: number, maker: string): TfliteTensor {
    const described = this.#subgraph.tensors[tensor]!
    if (this.#places[tensor]!.kind !== 'unused' || this.#stored(tensor) !== null) {
      this.#fail('tflite-bad-graph', tensor, `is made by ${maker}, but is made before or is a constant or variable`)
    }
    return described
  }

  #newBuffer(name: string, bytes: number, step: number, definedBy: number): number {
    if (this.#buffers.length >= TFLITE_LIMITS.plannedBuffers) {
      throw new TfliteFault('tflite-too-large', `more than ${TFLITE_LIMITS.plannedBuffers} buffers to plan`)
    }
    this.#definedBy.push(definedBy)
    return this.#buffers.push({ name, bytes, firstUse: step, lastUse: step }) - 1
  }

  /** A handle is no bytes: it says which variable is meant. */
  #handle({ outputs, options }: TfliteOperator, name: string): void {
    const tensor = outputs[0]
    if (tensor === undefined || tensor < 0) throw new TfliteFault('tflite-bad-graph', `${name} makes nothing`)
    this.#writable(tensor, name)
    const text = (field: number): string => options?.string(field, TFLITE_LIMITS.nameBytes) ?? ''
    const resource = { container: text(VAR_HANDLE_OPTIONS.container), sharedName: text(VAR_HANDLE_OPTIONS.sharedName) }
    const key = JSON.stringify([resource.container, resource.sharedName])
    const known = this.#resources.get(key)
    const state = known ?? this.#states.push({ name: resource.sharedName, bytes: 0, resource }) - 1
    this.#resources.set(key, state)
    this.#places[tensor] = { kind: 'state', state }
  }

  /** A resource variable has the size of what is read from and assigned to it. */
  #keep(handle: number | undefined, value: number | undefined, name: string): void {
    const place = handle === undefined ? undefined : this.#places[handle]
    const state = place?.kind === 'state' ? this.#states[place.state] : undefined
    if (!state?.resource || value === undefined || value < 0) {
      throw new TfliteFault('tflite-bad-graph', `${name} is not given a variable and a value`)
    }
    const bytes = this.#bytes(value)
    if (state.bytes !== 0 && state.bytes !== bytes) {
      this.#fail('tflite-shape-mismatch', value, `has ${bytes} bytes, the variable "${state.name}" ${state.bytes}`)
    }
    state.bytes = bytes
  }

  #bytes(tensor: number): number {
    const { shape, elementType } = this.#subgraph.tensors[tensor]!
    if (elementType === null) {
      this.#fail('tflite-unsupported-type', tensor, 'is of a type whose elements have no fixed width')
    }
    let elements = 1
    for (const dim of shape) {
      if (dim < 0)
        this.#fail('tflite-dynamic-shape', tensor, `has shape [${shape}], of which only the run knows a dimension`)
      elements *= dim
      if (elements > TFLITE_LIMITS.elements) this.#fail('tflite-too-large', tensor, `has shape [${shape}]`)
    }
    return bytesOfElements(elementType, elements)
  }

  #fail(code: TfliteErrorCode, tensor: number, what: string): never {
    throw new TfliteFault(code, `tensor ${tensor} "${this.#subgraph.tensors[tensor]?.name}" ${what}`)
  }
}
