import {
  type MappedTensor,
  normalAxis,
  orderedMap,
  outranks,
  quantizationOf,
  subgraphPath,
  type TensorDraft,
} from '../mapped-tensor.ts'
import { tensorNumbers } from '../tensor-numbers.ts'
import { operandsOf } from './onnx-operands.ts'
import { type ConstantTensor, OnnxScope } from './onnx-scope.ts'
import type { OnnxGraph, OnnxModel, OnnxNode, OnnxTensor } from './onnx-types.ts'

/** Maps the constants of an ONNX file: initializers and tensor attributes, of all subgraphs. Those that the file keeps as varints are
 *  in no one place and are left out. */
export function mapOnnx(model: OnnxModel): MappedTensor[] {
  const map = new OnnxTensorMap()
  map.collect(model.graph, '', null)
  map.describe()
  return orderedMap(map.drafts)
}

/** Chosen: longer names of nodes and attributes are left out of paths, since every tensor below would repeat them. */
const LABEL_MAX = 128
const short = (name: string, otherwise: string): string => (name !== '' && name.length <= LABEL_MAX ? name : otherwise)

/** What a later version of the file is likely to call the same attribute. */
const labelOf = (node: OnnxNode, index: number, attribute: string): string =>
  `${short(node.name, `#${index}`)}.${short(attribute, '#')}`

class OnnxTensorMap {
  readonly drafts: TensorDraft[] = []
  readonly #nodes: (readonly [node: OnnxNode, scope: OnnxScope])[] = []
  readonly #decoded = new Set<TensorDraft>()
  #graphs = 0

  /** Finds the constants and names of a graph and of those inside it. */
  collect(graph: OnnxGraph, path: string, outer: OnnxScope | null): void {
    const scope = new OnnxScope(outer)
    for (const tensor of graph.initializers) scope.addConstant(tensor.name, this.#constant(tensor, path + tensor.name))
    for (const [index, node] of graph.nodes.entries()) {
      scope.addNode(node)
      this.#nodes.push([node, scope])
      for (const [key, attribute] of node.attributes) {
        const label = labelOf(node, index, key)
        const at = path + label
        if (attribute.kind === 'tensor') {
          const value = node.opType === 'Constant' && key === 'value'
          const name = value ? (node.outputs[0] ?? '') : ''
          const constant = this.#constant(attribute.value, name === '' ? at : path + name)
          if (value) scope.addConstant(name, constant)
        } else if (attribute.kind === 'tensors') {
          for (const [place, tensor] of attribute.value.entries()) this.#constant(tensor, `${at}.${place}`)
        } else if (attribute.kind === 'graph' || attribute.kind === 'graphs') {
          for (const inner of attribute.kind === 'graph' ? [attribute.value] : attribute.value) {
            this.collect(inner, subgraphPath(path, label, ++this.#graphs), scope)
          }
        }
      }
    }
  }

  /** Gives every constant what its readers say of it; after all of them are known, since a graph may read one of an outer graph. */
  describe(): void {
    for (const [node, scope] of this.#nodes) {
      for (const { input, role, axis, scales, zeroPoints } of operandsOf(node)) {
        for (const traced of scope.trace(node.inputs[input], axis)) {
          const { draft } = traced.constant
          if (draft === null) continue
          if (scales !== undefined) this.#quantize(draft, node, scope, scales, zeroPoints ?? -1, traced.axis)
          if (!outranks(role, draft.role)) continue
          draft.role = role
          // A vector has no channels of its own: a matrix product sums over it.
          draft.outputAxis = draft.shape.length < 2 ? null : normalAxis(traced.axis, draft.shape.length)
        }
      }
      if (node.opType === 'DequantizeLinear') {
        const draft = scope.constant(node.inputs[0])?.draft
        if (draft) this.#quantize(draft, node, scope, 1, 2, intAttribute(node, 'axis', 1))
      } else if (node.opType === 'Add') describeAddedBias(node, scope)
    }
  }

  /** Sets a tensor's quantization from constant inputs of a node that reads it; of several readers whose numbers fit the first
   *  counts. Numbers are decoded once for a tensor at most: many nodes may name the same long lists. */
  #quantize(
    draft: TensorDraft,
    node: OnnxNode,
    scope: OnnxScope,
    scaleInput: number,
    zeroInput: number,
    axis: number | null,
  ): void {
    if (this.#decoded.has(draft)) return
    const scale = scope.constant(node.inputs[scaleInput])?.tensor
    const zero = scope.constant(node.inputs[zeroInput])?.tensor
    const zeroNamed = (node.inputs[zeroInput] ?? '') !== ''
    // A zero point that only the run knows is not 0.
    if (scale === undefined || (zeroNamed && zero === undefined)) return
    const along = normalAxis(axis, draft.shape.length)
    const channels = along === null ? undefined : draft.shape[along]
    const fits = (tensor: OnnxTensor): boolean => tensor.elements === 1 || isVector(tensor, channels)
    if (!fits(scale) || (zero !== undefined && !fits(zero))) return
    this.#decoded.add(draft)
    const scales = numbersOf(scale)
    const zeroPoints = zero === undefined ? [] : numbersOf(zero)
    if (scales === null || zeroPoints === null) return
    draft.quantization = quantizationOf(draft.shape, scales, zeroPoints, along ?? 0)
  }

  #constant(tensor: OnnxTensor, name: string): ConstantTensor {
    const { elementType, dims, range } = tensor
    // The reader gives no tensor of strings; the type says it too.
    if (range === null || range.length === 0 || elementType === 'string') return { tensor, draft: null }
    const draft: TensorDraft = {
      name,
      elementType,
      shape: dims,
      range,
      quantization: null,
      role: 'other',
      outputAxis: null,
    }
    this.drafts.push(draft)
    return { tensor, draft }
  }
}

const isVector = ({ dims, elements }: OnnxTensor, length: number | undefined): boolean =>
  elements === length && dims.filter((dim) => dim !== 1).length <= 1

const numbersOf = ({ elementType, data, elements }: OnnxTensor): number[] | null =>
  tensorNumbers(elementType, data, elements)

const intAttribute = (node: OnnxNode, name: string, fallback: number): number => {
  const attribute = node.attributes.get(name)
  return attribute?.kind === 'int' ? attribute.value : fallback
}

const TAKES_BIAS: ReadonlySet<string> = new Set(['Conv', 'ConvTranspose', 'MatMul'])

/** A vector added to what a convolution or a matrix product has just made: exporters write fully connected layers so. */
function describeAddedBias(node: OnnxNode, scope: OnnxScope): void {
  const [a = '', b = ''] = node.inputs
  for (const [sum, added] of [
    [a, b],
    [b, a],
  ] as const) {
    if (!TAKES_BIAS.has(scope.producer(sum)?.opType ?? '')) continue
    for (const { constant } of scope.trace(added, null)) {
      const { draft } = constant
      if (draft?.role === 'other' && draft.shape.filter((dim) => dim !== 1).length <= 1) draft.role = 'bias'
    }
  }
}
