import type { TensorDraft } from '../mapped-tensor.ts'
import { KNOWN_INTS_MAX } from './onnx-op.ts'
import { intsOfTensor } from './onnx-shapes-layout.ts'
import type { OnnxNode, OnnxTensor } from './onnx-types.ts'

/** A constant of a graph, and what the map will say of it. */
export interface ConstantTensor {
  readonly tensor: OnnxTensor
  /** null where its bytes do not lie in one piece in the file. */
  readonly draft: TensorDraft | null
}

/** The constant that a value is a view of, and where an axis of the value lies in it (negative: from the end; null: nowhere). */
export interface TracedConstant {
  readonly constant: ConstantTensor
  readonly axis: number | null
}

/** The names of one graph; a graph inside a node sees those of the graphs around it. */
export class OnnxScope {
  readonly #outer: OnnxScope | null
  readonly #constants = new Map<string, ConstantTensor>()
  readonly #producers = new Map<string, OnnxNode>()

  constructor(outer: OnnxScope | null) {
    this.#outer = outer
  }

  /** The first of a name counts; no valid graph has two. */
  addConstant(name: string, constant: ConstantTensor): void {
    if (name !== '' && !this.#constants.has(name)) this.#constants.set(name, constant)
  }

  addNode(node: OnnxNode): void {
    for (const output of node.outputs) if (output !== '') this.#producers.set(output, node)
  }

  constant(name: string | undefined): ConstantTensor | null {
    const found = name === undefined || name === '' ? null : this.#resolve(name)
    return found !== null && 'tensor' in found ? found : null
  }

  producer(name: string): OnnxNode | null {
    const found = this.#resolve(name)
    return found !== null && 'node' in found ? found.node : null
  }

  /** Follows a value back through views, and through Concat to each of its parts.
   *  @param axis of the value; negative counts from the end */
  trace(name: string | undefined, axis: number | null): TracedConstant[] {
    const traced: TracedConstant[] = []
    const pending = [{ scope: this as OnnxScope, value: name ?? '', along: axis }]
    for (let at = 0; at < pending.length; at++) {
      const { scope, value, along } = pending[at]!
      const found = value === '' ? null : scope.#resolve(value)
      if (found === null) continue
      if ('tensor' in found) {
        traced.push({ constant: found, axis: along })
        continue
      }
      const { node } = found
      const axisOf = VIEWS.get(node.opType)
      if (axisOf === undefined) continue
      const before = axisOf(node, along, found.scope)
      const parts = node.opType === 'Concat' ? node.inputs.length : 1
      for (let part = 0; part < parts && pending.length < TRACED_MAX; part++) {
        pending.push({ scope: found.scope, value: node.inputs[part] ?? '', along: before })
      }
    }
    return traced
  }

  #resolve(name: string): ConstantTensor | { readonly node: OnnxNode; readonly scope: OnnxScope } | null {
    for (let scope: OnnxScope | null = this; scope !== null; scope = scope.#outer) {
      const constant = scope.#constants.get(name)
      if (constant !== undefined) return constant
      const node = scope.#producers.get(name)
      if (node !== undefined) return { node, scope }
    }
    return null
  }
}

/** Chosen: a recurrent layer takes its gates apart and puts them together in another order (14 steps in silero-vad); bounds the work for
 *  each operand. */
const TRACED_MAX = 32

/** Where an axis of a view lies in what it is a view of. */
type AxisBefore = (view: OnnxNode, axis: number | null, scope: OnnxScope) => number | null

const same: AxisBefore = (_view, axis) => axis
const lost: AxisBefore = () => null

const transposed: AxisBefore = (view, axis) => {
  if (axis === null) return null
  const perm = view.attributes.get('perm')
  // Without a permutation the axes are reversed: the last comes from the first.
  return perm?.kind === 'ints' ? (perm.value.at(axis) ?? null) : -1 - axis
}

/** Axes that Squeeze drops or Unsqueeze adds, ascending; null when unknown or counted from the end of an unknown rank. */
function listedAxes(view: OnnxNode, scope: OnnxScope): readonly number[] | null {
  const attribute = view.attributes.get('axes')
  const tensor = scope.constant(view.inputs[1])?.tensor
  const axes = attribute?.kind === 'ints' ? attribute.value : tensor === undefined ? null : intsOfTensor(tensor)
  if (axes === null || axes.length > KNOWN_INTS_MAX || axes.some((axis) => axis < 0)) return null
  return [...axes].sort((a, b) => a - b)
}

const unsqueezed: AxisBefore = (view, axis, scope) => {
  const added = listedAxes(view, scope)
  if (axis === null || axis < 0 || added === null || added.includes(axis)) return null
  return axis - added.filter((other) => other < axis).length
}

const squeezed: AxisBefore = (view, axis, scope) => {
  const dropped = listedAxes(view, scope)
  if (axis === null || axis < 0 || dropped === null) return null
  return dropped.reduce((at, other) => (other <= at ? at + 1 : at), axis)
}

/** What keeps the numbers of its input, or some of them, in another type, order or shape. */
const VIEWS: ReadonlyMap<string, AxisBefore> = new Map([
  ...['DequantizeLinear', 'QuantizeLinear', 'Identity', 'Cast', 'Slice', 'Concat'].map((op) => [op, same] as const),
  ['Transpose', transposed],
  ['Unsqueeze', unsqueezed],
  ['Squeeze', squeezed],
  ['Reshape', lost],
  ['Flatten', lost],
])
