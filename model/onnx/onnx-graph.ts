import type { Result } from '../../contract/result.ts'
import { catchFault, OnnxFault } from './onnx-fault.ts'
import { ONNX_LIMITS } from './onnx-limits.ts'
import { elementCount, type GraphValue, OpView, type ShapeRule } from './onnx-op.ts'
import { intsOfTensor, LAYOUT_RULES } from './onnx-shapes-layout.ts'
import { MATH_RULES } from './onnx-shapes-math.ts'
import { SPATIAL_RULES } from './onnx-shapes-spatial.ts'
import type { OnnxError, OnnxModel, OnnxNode, OnnxValueInfo } from './onnx-types.ts'

export interface ShapedNode {
  readonly node: OnnxNode
  /** null where an optional input is left out. */
  readonly inputs: readonly (GraphValue | null)[]
  /** One for every output the node names; null where it leaves one out. */
  readonly outputs: readonly (GraphValue | null)[]
  /** Multiply-accumulates of one run. */
  readonly macs: number
}

/** A graph in which every value has a type and a static shape. */
export interface ShapedGraph {
  readonly inputs: readonly GraphValue[]
  readonly outputs: readonly GraphValue[]
  readonly nodes: readonly ShapedNode[]
}

const RULES: ReadonlyMap<string, ShapeRule> = new Map(
  Object.entries({ ...SPATIAL_RULES, ...MATH_RULES, ...LAYOUT_RULES }),
)

/** Infers type and shape of every value, for one window: a symbolic first dimension of an input is a batch of 1.
 *
 *  What it cannot know it refuses; it never guesses, since the numbers decide whether a model is sent to a board. Declared
 *  output shapes are checked against the inferred ones.
 *  @returns the graph with shapes, or `onnx-unsupported-op` | `onnx-dynamic-shape` | `onnx-shape-mismatch` | `onnx-bad-graph` |
 *  `onnx-too-large`
 */
export function inferShapes(model: OnnxModel): Result<ShapedGraph, OnnxError> {
  return catchFault(() => infer(model))
}

function infer(model: OnnxModel): ShapedGraph {
  const { graph, opsets } = model
  const values = new Map<string, GraphValue>()
  const define = (value: GraphValue) => {
    if (value.name === '' || values.has(value.name)) {
      throw new OnnxFault('onnx-bad-graph', `value "${value.name}" is defined twice or has no name`)
    }
    values.set(value.name, value)
  }
  for (const tensor of graph.initializers) {
    const { name, elementType, dims } = tensor
    define({ name, elementType, dims, constant: true, ints: intsOfTensor(tensor) })
  }
  // Before IR version 4 every initializer was listed as an input too; it is a constant all the same.
  const inputs = graph.inputs.filter((info) => !values.has(info.name)).map(inputValue)
  for (const input of inputs) define(input)

  const nodes: ShapedNode[] = []
  let computed = 0
  for (const node of graph.nodes) {
    const shaped = inferNode(node, values, opsets.get(node.domain) ?? 0)
    for (const output of shaped.outputs) if (output !== null) define(output)
    computed += shaped.outputs.length
    if (computed > ONNX_LIMITS.values) throw new OnnxFault('onnx-too-large', `more than ${ONNX_LIMITS.values} values`)
    nodes.push(shaped)
  }
  if (graph.outputs.length === 0) throw new OnnxFault('onnx-bad-graph', 'graph without outputs')
  return { inputs, outputs: graph.outputs.map((info) => outputValue(info, values)), nodes }
}

function inferNode(node: OnnxNode, values: ReadonlyMap<string, GraphValue>, opset: number): ShapedNode {
  const inputs = node.inputs.map((name) => {
    if (name === '') return null
    const value = values.get(name)
    if (value !== undefined) return value
    throw new OnnxFault('onnx-bad-graph', `${node.opType} "${node.name}" reads "${name}" before it is defined`)
  })
  const op = new OpView(node, inputs, opset)
  const rule = RULES.get(node.domain === '' ? node.opType : `${node.domain}:${node.opType}`)
  if (rule === undefined) return op.unsupported(`operator of domain "${node.domain}" is not known`)
  if (opset === 0) op.fail('onnx-bad-graph', `no opset imported for domain "${node.domain}"`)
  const { outputs, macs } = rule(op)
  // A shape is known before the run even when the values are not.
  const constant = node.opType === 'Shape' || inputs.every((input) => input === null || input.constant)
  return {
    node,
    inputs,
    outputs: node.outputs.map((name, index) => {
      if (name === '') return null
      const output = outputs[index] ?? op.unsupported(`output ${index}`)
      if (elementCount(output.dims) > ONNX_LIMITS.elements) op.fail('onnx-too-large', `output [${output.dims}]`)
      return {
        name,
        elementType: output.elementType,
        dims: output.dims,
        constant,
        ints: (constant && output.ints) || null,
      }
    }),
    macs: macs ?? 0,
  }
}

function inputValue(info: OnnxValueInfo): GraphValue {
  const { name, elementType } = info
  if (elementType === null || elementType === 'string') {
    throw new OnnxFault('onnx-unsupported-type', `input "${name}" is no tensor of numbers`)
  }
  if (info.dims === null) throw new OnnxFault('onnx-dynamic-shape', `input "${name}" has no shape`)
  const dims = info.dims.map((dim, axis) => {
    if (dim !== null) return dim
    if (axis === 0) return 1
    throw new OnnxFault('onnx-dynamic-shape', `input "${name}" leaves dimension ${axis} open`)
  })
  return { name, elementType, dims, constant: false, ints: null }
}

function outputValue(info: OnnxValueInfo, values: ReadonlyMap<string, GraphValue>): GraphValue {
  const value = values.get(info.name)
  if (value === undefined) throw new OnnxFault('onnx-bad-graph', `output "${info.name}" is never computed`)
  const declared = info.dims
  if (declared === null) return value
  const agrees =
    declared.length === value.dims.length && declared.every((dim, axis) => dim === null || dim === value.dims[axis])
  if (!agrees) {
    throw new OnnxFault(
      'onnx-shape-mismatch',
      `output "${info.name}" declares [${declared}] but computes [${value.dims}]`,
    )
  }
  return value
}
