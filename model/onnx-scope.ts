import type { TensorDraft } from './mapped-tensor.ts'
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

/** What keeps the numbers of its first input, in another type, order or shape. */
const VIEWS: ReadonlySet<string> = new Set([
  ...['DequantizeLinear', 'QuantizeLinear', 'Identity', 'Cast', 'Transpose'],
  ...['Reshape', 'Squeeze', 'Unsqueeze', 'Flatten'],
])
const KEEPS_AXES: ReadonlySet<string> = new Set(['DequantizeLinear', 'QuantizeLinear', 'Identity', 'Cast'])
/** Chosen: quantize, dequantize, transpose, reshape and a cast or two; bounds the work for each operand. */
const VIEWS_MAX = 8

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

  /** Follows a value back through views.
   *  @param axis of the value; negative counts from the end */
  trace(name: string | undefined, axis: number | null): TracedConstant | null {
    let scope: OnnxScope = this
    let value = name ?? ''
    let along = axis
    for (let views = 0; views <= VIEWS_MAX && value !== ''; views++) {
      const found = scope.#resolve(value)
      if (found === null) return null
      if ('tensor' in found) return { constant: found, axis: along }
      const { node } = found
      if (!VIEWS.has(node.opType)) return null
      if (node.opType === 'Transpose') along = axisBefore(node, along)
      else if (!KEEPS_AXES.has(node.opType)) along = null
      scope = found.scope
      value = node.inputs[0] ?? ''
    }
    return null
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

function axisBefore(transpose: OnnxNode, axis: number | null): number | null {
  if (axis === null) return null
  const perm = transpose.attributes.get('perm')
  // Without a permutation the axes are reversed: the last comes from the first.
  return perm?.kind === 'ints' ? (perm.value.at(axis) ?? null) : -1 - axis
}
