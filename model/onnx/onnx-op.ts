import type { ElementType } from '../element-type.ts'
import { OnnxFault } from './onnx-fault.ts'
import type { OnnxAttribute, OnnxErrorCode, OnnxNode } from './onnx-types.ts'

/** One value of a graph with everything known statically. */
export interface GraphValue {
  readonly name: string
  readonly elementType: ElementType
  readonly dims: readonly number[]
  /** Known before the run: an initializer, or computed from such alone. */
  readonly constant: boolean
  /** Contents of a small constant integer tensor (shapes, axes, pads); null when unknown. */
  readonly ints: readonly number[] | null
}

/** What a shape rule says of one output. */
export interface InferredValue {
  readonly elementType: ElementType
  readonly dims: readonly number[]
  readonly ints?: readonly number[] | null
}

export interface Inferred {
  readonly outputs: readonly InferredValue[]
  /** Multiply-accumulates; biases, pooling and activations are not counted, as MLPerf Tiny counts. */
  readonly macs?: number
}

export type ShapeRule = (op: OpView) => Inferred

/** Integer contents are followed up to this many elements: chosen, shapes and pads have at most 16. */
export const KNOWN_INTS_MAX = 64

/** A node with its resolved inputs, as a shape rule sees it; every refusal names operator and node. */
export class OpView {
  readonly node: OnnxNode
  readonly inputs: readonly (GraphValue | null)[]
  /** Operator set version of the node's domain. */
  readonly opset: number

  constructor(node: OnnxNode, inputs: readonly (GraphValue | null)[], opset: number) {
    this.node = node
    this.inputs = inputs
    this.opset = opset
  }

  fail(code: OnnxErrorCode, what: string): never {
    throw new OnnxFault(code, `${this.node.opType} "${this.node.name || this.node.outputs[0]}": ${what}`)
  }

  mismatch(what: string): never {
    return this.fail('onnx-shape-mismatch', what)
  }

  unsupported(what: string): never {
    return this.fail('onnx-unsupported-op', what)
  }

  optional(index: number): GraphValue | null {
    return this.inputs[index] ?? null
  }

  input(index: number): GraphValue {
    return this.optional(index) ?? this.mismatch(`input ${index} is missing`)
  }

  /** Contents of an input that fixes a shape; one that only the run knows is refused. */
  ints(index: number): readonly number[] {
    return this.input(index).ints ?? this.fail('onnx-dynamic-shape', `input ${index} is not a known integer constant`)
  }

  optionalInts(index: number): readonly number[] | null {
    return this.optional(index) === null ? null : this.ints(index)
  }

  int(name: string, fallback: number): number {
    const attribute = this.#attribute(name, 'int')
    return attribute === null ? fallback : attribute.value
  }

  intList(name: string): readonly number[] | null {
    return this.#attribute(name, 'ints')?.value ?? null
  }

  string(name: string, fallback: string): string {
    const bytes = this.#attribute(name, 'string')?.value
    return bytes === undefined ? fallback : String.fromCharCode(...bytes.subarray(0, 64))
  }

  /** An axis counted from the front; `rank` is the number of positions it may take. */
  axis(value: number, rank: number): number {
    const axis = value < 0 ? value + rank : value
    if (!Number.isInteger(axis) || axis < 0 || axis >= rank) this.mismatch(`axis ${value} of ${rank} dimensions`)
    return axis
  }

  /** Axes from the front, distinct and ascending. */
  axes(values: readonly number[], rank: number): readonly number[] {
    const axes = [...new Set(values.map((value) => this.axis(value, rank)))].sort((a, b) => a - b)
    if (axes.length !== values.length) this.mismatch(`axes ${values.join(',')} repeat`)
    return axes
  }

  #attribute<K extends OnnxAttribute['kind']>(name: string, kind: K): Extract<OnnxAttribute, { kind: K }> | null {
    const attribute = this.node.attributes.get(name)
    if (attribute === undefined) return null
    if (attribute.kind !== kind) this.mismatch(`attribute ${name} is ${attribute.kind}, expected ${kind}`)
    return attribute as Extract<OnnxAttribute, { kind: K }>
  }
}

export const elementCount = (dims: readonly number[]): number => dims.reduce((product, dim) => product * dim, 1)

/** Output that has type and shape of input `index`. */
export const likeInput =
  (index: number): ShapeRule =>
  (op) => {
    const { elementType, dims } = op.input(index)
    return { outputs: [{ elementType, dims }] }
  }
