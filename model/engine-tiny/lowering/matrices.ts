import { byte } from './lowered-graph.ts'
import type { LoweredNode } from './lowered-node.ts'
import { ACTIVATION, type Pending, pendingSum, type Stored, TFLITE, type Value } from './lowered-value.ts'
import type { LoweredValues } from './lowered-values.ts'
import { int8Of, numbersOf, type QuantizedConstant, transposed } from './onnx-constants.ts'
import { biasTensor, channelScales, weightTensor } from './weights.ts'

/** Products with matrices, sums of two values, and the activations of both. */

export function gemm(graph: LoweredValues, node: LoweredNode): Pending {
  const { view } = node
  const scalar = (name: string): number => {
    const attribute = node.shaped.node.attributes.get(name)
    return attribute?.kind === 'float' ? attribute.value : 1
  }
  if (scalar('alpha') !== 1 || scalar('beta') !== 1 || view.int('transA', 0) !== 0) {
    node.unsupported('alpha, beta or a transposed input')
  }
  return product(
    graph,
    node,
    graph.plain(graph.sum(node, 0), node),
    graph.constant(node, 1),
    view.int('transB', 0) !== 0,
    2,
  )
}

/** A matrix of constants; TFLite has a row for each output. */
export function product(
  graph: LoweredValues,
  node: LoweredNode,
  x: Stored,
  weights: QuantizedConstant,
  byOutput: boolean,
  biasAt: number,
): Pending {
  const { dims } = weights
  const bytes = int8Of(node, weights)
  if (dims.length !== 2) node.unsupported(`weights of ${dims.length} dimensions`)
  const outputs = dims[byOutput ? 0 : 1] ?? 0
  const turned = byOutput ? { values: bytes, dims } : transposed(bytes, dims, [1, 0])
  const scales = channelScales(node, weights, byOutput ? 0 : 1, outputs)
  const w = weightTensor(graph, node, turned.values, turned.dims, scales, 0)
  const bias = biasTensor(graph, node, biasAt, x, scales, outputs)
  const options = (activation: number) => [byte(activation), byte(0), byte(1)]
  return pendingSum(node.output, false, null, (output, activation) =>
    graph.out.operator(TFLITE.FULLY_CONNECTED, [x.tensor, w, bias], output, options(activation)),
  )
}

export function binary(graph: LoweredValues, node: LoweredNode, code: number): Pending {
  const [a, b] = [graph.sum(node, 0), graph.sum(node, 1)]
  const images = a.dims.length === 4 && b.dims.length === 4 && (a.channelsLast || b.channelsLast)
  const [left, right] = [a, b].map((value) => (images ? graph.channelsLast(value, node) : graph.plain(value, node)))
  const operands = [left?.tensor ?? -1, right?.tensor ?? -1]
  return pendingSum(node.output, images, null, (output, activation) =>
    graph.out.operator(code, operands, output, [byte(activation)]),
  )
}

export function clip(graph: LoweredValues, node: LoweredNode): number {
  const bound = (at: number, attribute: string, otherwise: number): number => {
    const tensor = graph.constants.get(node.inputName(at))
    const listed = node.shaped.node.attributes.get(attribute)
    if (tensor !== undefined) return numbersOf(tensor, node.where)[0] ?? otherwise
    return listed?.kind === 'float' ? listed.value : otherwise
  }
  const [least, most] = [bound(1, 'min', Number.NEGATIVE_INFINITY), bound(2, 'max', Number.POSITIVE_INFINITY)]
  if (least !== 0) return node.unsupported(`it clips to [${least}, ${most}]`)
  if (most === 6) return ACTIVATION.relu6
  return most > 1e30 ? ACTIVATION.relu : node.unsupported(`it clips to [${least}, ${most}]`)
}

export function activate(graph: LoweredValues, node: LoweredNode, activation: number): Value {
  const value = graph.value(node, 0)
  // A sum that somebody else reads too would have to be there twice.
  const alone = graph.consumers.get(node.inputName(0)) === 1
  if (value.kind !== 'pending' || value.activation !== ACTIVATION.none || !alone) {
    node.unsupported('it does not directly follow the sum that it is an activation of')
  }
  return { ...value, activation }
}
