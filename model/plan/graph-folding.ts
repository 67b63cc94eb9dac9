import type { ShapedGraph, ShapedNode } from '../onnx/onnx-graph.ts'
import { elementCount, type GraphValue } from '../onnx/onnx-op.ts'

/** Which nodes of an ONNX graph are no work on a device: quantization pairs, renamings, and what kernels fuse. */

/** How a node appears on the device. */
export type Role =
  /** Runs, and writes a buffer of its own. */
  | 'kernel'
  /** Its output is its input under another name (Reshape) or another reading (DequantizeLinear). */
  | 'view'
  /** Part of the kernel that made its input: activation, bias, batch normalization. */
  | 'fused'
  /** QuantizeLinear with constant parameters: renames its input if that is stored in these very parameters, else runs. */
  | 'quantize'
  /** All inputs constant: computed before deployment. */
  | 'constant'

const RENAMES = new Set(['Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Identity', 'Dropout'])
/** Kernels that TFLite and CMSIS-NN give a fused activation. */
const FUSES_ACTIVATION = new Set([
  ...['Conv', 'ConvTranspose', 'Gemm', 'MatMul', 'Add', 'Sub', 'Mul', 'Div', 'AveragePool', 'MaxPool', 'Concat'],
  ...['BatchNormalization', 'QLinearConv', 'QLinearMatMul'],
])
const TAKES_BIAS = new Set(['Conv', 'ConvTranspose', 'Gemm', 'MatMul'])
const SPATIAL = new Set([
  ...[
    'Conv',
    'ConvTranspose',
    'ConvInteger',
    'QLinearConv',
    'MaxPool',
    'AveragePool',
    'GlobalAveragePool',
    'GlobalMaxPool',
  ],
  ...['QLinearAveragePool', 'QLinearGlobalAveragePool'],
])
/** Element-wise or quantization: layout passes through them unchanged. */
const LAYOUT_BLIND = new Set([
  'QuantizeLinear',
  'DequantizeLinear',
  'Relu',
  'Clip',
  'LeakyRelu',
  'HardSwish',
  'Sigmoid',
  'Pad',
])
const CHANNEL_MOVES = new Set(['0,2,1', '0,2,3,1', '0,3,1,2', '0,2,3,4,1', '0,4,1,2,3'])

/** Who makes and who reads each value. */
export class GraphLinks {
  readonly #producers = new Map<string, ShapedNode>()
  readonly #consumers = new Map<string, ShapedNode[]>()
  readonly #graphOutputs: ReadonlySet<string>
  readonly #roles = new Map<ShapedNode, Role>()

  constructor(graph: ShapedGraph) {
    this.#graphOutputs = new Set(graph.outputs.map((output) => output.name))
    for (const shaped of graph.nodes) {
      for (const output of shaped.outputs) if (output !== null) this.#producers.set(output.name, shaped)
      for (const name of new Set(shaped.node.inputs)) {
        const known = this.#consumers.get(name)
        if (known === undefined) this.#consumers.set(name, [shaped])
        else known.push(shaped)
      }
    }
    // In graph order, so that a chain of fusions asks only for roles already decided.
    for (const shaped of graph.nodes) this.#roles.set(shaped, this.#decide(shaped))
  }

  role(shaped: ShapedNode): Role {
    return this.#roles.get(shaped) ?? 'kernel'
  }

  consumers(name: string): readonly ShapedNode[] {
    return this.#consumers.get(name) ?? []
  }

  isGraphOutput(name: string): boolean {
    return this.#graphOutputs.has(name)
  }

  #decide(shaped: ShapedNode): Role {
    const { node, inputs, outputs } = shaped
    if (outputs.every((output) => output === null || output.constant)) return 'constant'
    if (node.opType === 'QuantizeLinear') return constantParameters(shaped) ? 'quantize' : 'kernel'
    if (node.opType === 'DequantizeLinear') return constantParameters(shaped) ? 'view' : 'kernel'
    if (RENAMES.has(node.opType)) return 'view'
    if (node.opType === 'Transpose') return this.#isLayoutView(shaped) ? 'view' : 'kernel'
    const data = inputs.find((input) => input !== null && !input.constant)
    return data && this.#fuses(shaped, data) ? 'fused' : 'kernel'
  }

  /** A node is fused when it alone reads, unquantized, what a kernel that can take it has just made. */
  #fuses(shaped: ShapedNode, data: GraphValue): boolean {
    const producer = this.#producers.get(data.name)
    if (producer === undefined || this.consumers(data.name).length !== 1 || this.isGraphOutput(data.name)) return false
    const role = this.role(producer)
    if (role !== 'kernel' && role !== 'fused') return false
    switch (shaped.node.opType) {
      case 'Relu':
      case 'Clip':
        return FUSES_ACTIVATION.has(producer.node.opType)
      case 'BatchNormalization':
        return TAKES_BIAS.has(producer.node.opType)
      case 'Add':
        return TAKES_BIAS.has(producer.node.opType) && isBias(shaped, data, producer.node.opType)
      default:
        return false
    }
  }

  /** A Transpose that moves no two elements past each other, or only turns channels-first into channels-last at a
   *  convolution or pool: ONNX wants the one, TFLite and CMSIS-NN work in the other throughout, so a device never runs it.
   *  Any other Transpose is real work with a buffer; when in doubt it is counted, which errs to the safe side. */
  #isLayoutView(shaped: ShapedNode): boolean {
    const x = shaped.inputs[0]
    if (x === null || x === undefined) return false
    const listed = shaped.node.attributes.get('perm')
    const perm = listed?.kind === 'ints' ? listed.value : x.dims.map((_, axis) => x.dims.length - 1 - axis)
    const moved = perm.filter((axis) => x.dims[axis] !== 1)
    if (moved.every((axis, i) => i === 0 || axis > moved[i - 1]!)) return true
    return (
      CHANNEL_MOVES.has(perm.join()) && (this.#madeBySpatial(x.name) || this.#readBySpatial(shaped.node.outputs[0]!))
    )
  }

  #madeBySpatial(name: string): boolean {
    for (let producer = this.#producers.get(name); producer !== undefined; ) {
      if (SPATIAL.has(producer.node.opType)) return true
      if (!LAYOUT_BLIND.has(producer.node.opType)) return false
      producer = this.#producers.get(producer.node.inputs[0]!)
    }
    return false
  }

  #readBySpatial(name: string): boolean {
    const pending = [name]
    for (let at = 0; at < pending.length; at++) {
      const readers = this.consumers(pending[at]!)
      if (readers.length === 0) return false
      for (const { node } of readers) {
        if (LAYOUT_BLIND.has(node.opType)) pending.push(node.outputs[0]!)
        else if (!SPATIAL.has(node.opType)) return false
      }
    }
    return true
  }
}

const constantParameters = (shaped: ShapedNode): boolean =>
  shaped.inputs.slice(1).every((input) => input === null || input.constant)

/** One number for every output channel, added to the result: what a kernel's bias operand is. */
function isBias(add: ShapedNode, data: GraphValue, producer: string): boolean {
  const bias = add.inputs.find((input) => input?.constant)
  const out = add.outputs[0]
  if (!bias || !out || out.dims.join() !== data.dims.join()) return false
  const axis = producer.startsWith('Conv') ? 1 : data.dims.length - 1
  const fromEnd = data.dims.length - axis
  return elementCount(bias.dims) === data.dims[axis] && (bias.dims.at(-fromEnd) ?? 1) === data.dims[axis]
}
