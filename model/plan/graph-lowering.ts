import { bytesOfElements, type ElementType } from '../element-type.ts'
import type { ShapedGraph, ShapedNode } from '../onnx/onnx-graph.ts'
import { elementCount, type GraphValue } from '../onnx/onnx-op.ts'
import type { OnnxModel } from '../onnx/onnx-types.ts'
import { GraphLinks } from './graph-folding.ts'

/** One activation buffer; steps count kernels from 0, both ends inclusive. */
export interface ActivationBuffer {
  /** The value that defines it; later names of the same bytes are not listed. */
  readonly name: string
  readonly bytes: number
  readonly firstUse: number
  readonly lastUse: number
}

/** One constant as the device must hold it. */
export interface DeviceConstant {
  readonly name: string
  readonly elementType: ElementType
  readonly bytes: number
}

/** One kernel call of the schedule. */
export interface DeviceStep {
  readonly opType: string
  readonly name: string
  readonly macs: number
  /** Output channels with a multiplier and shift of their own; 0 where the weights are not 8-bit. */
  readonly requantizedChannels: number
  /** kernel elements times input channels of a convolution, for its im2col buffer; else 0. */
  readonly patchElements: number
}

/** What runs on the device once quantization pairs, renamings and fused operators are folded away. */
export interface LoweredGraph {
  /** Graph inputs first, then by producer. */
  readonly buffers: readonly ActivationBuffer[]
  /** How many of them are graph inputs. */
  readonly inputs: number
  readonly constants: readonly DeviceConstant[]
  readonly steps: readonly DeviceStep[]
  /** Reshapes and the like, which keep a node record though they move nothing. */
  readonly views: number
}

interface MutableBuffer {
  name: string
  bytes: number
  firstUse: number
  lastUse: number
}

/** How a value lies in memory; `parameters` names the quantization, '' when its elements are the value itself. */
interface Home {
  readonly elementType: ElementType
  readonly parameters: string
}

interface Stored extends Home {
  readonly buffer: MutableBuffer
}

/** Inputs that are operator parameters, not constants a kernel reads by element: scales, zero points, bounds, ratios. TFLite
 *  keeps them in its schema or in the kernel's options, and the published sizes do not count them. */
const METADATA_INPUTS: Readonly<Record<string, readonly number[]>> = {
  QuantizeLinear: [1, 2],
  DequantizeLinear: [1, 2],
  QLinearConv: [1, 2, 4, 5, 6, 7],
  QLinearMatMul: [1, 2, 4, 5, 6, 7],
  ConvInteger: [2, 3],
  MatMulInteger: [2, 3],
  QLinearAdd: [1, 2, 4, 5, 6, 7],
  QLinearMul: [1, 2, 4, 5, 6, 7],
  QGemm: [1, 2, 4, 5, 7, 8],
  QLinearAveragePool: [1, 2, 3, 4],
  QLinearGlobalAveragePool: [1, 2, 3, 4],
  QLinearSigmoid: [1, 2, 3, 4],
  QLinearLeakyRelu: [1, 2, 3, 4],
  QLinearSoftmax: [1, 2, 3, 4],
  Clip: [1, 2],
  Pad: [2],
  Dropout: [1, 2],
}
/** chosen: renamings and fusions in a row; real graphs have four. Beyond it a value counts as float, the safe side. */
const FOLLOWED_VIEWS_MAX = 64
const WEIGHTS_INPUT: Readonly<Record<string, number>> = {
  ...{ Conv: 1, ConvTranspose: 1, ConvInteger: 1, QLinearConv: 3, Gemm: 1, MatMul: 1, MatMulInteger: 1 },
  ...{ QLinearMatMul: 3, QGemm: 3 },
}
const EIGHT_BIT: ReadonlySet<ElementType> = new Set(['int8', 'uint8'])

/** Folds a graph to what a TFLite Micro device would run.
 *
 *  - Between QuantizeLinear and DequantizeLinear an element takes the quantized type; the pair itself costs nothing. A float
 *    value that is only quantized is stored quantized: that holds for a graph input too (the front end writes int8, as into
 *    a TFLite model) and for an output that is only dequantized (the reader scales twelve numbers, not the kernel).
 *  - A value read both quantized and as float is stored as float, and its QuantizeLinear is a kernel. So is one that
 *    changes quantization parameters.
 *  - Relu, Clip, bias and batch normalization directly after a kernel are part of it.
 *  - int64 constants (shapes, axes, pads) are held as int32.
 */
export function lowerGraph(model: OnnxModel, graph: ShapedGraph): LoweredGraph {
  return new Lowering(model, graph).run()
}

class Lowering {
  readonly #graph: ShapedGraph
  readonly #links: GraphLinks
  readonly #stored = new Map<string, Stored>()
  /** Constant values by name: which bytes they are, and of which type. */
  readonly #constantHomes = new Map<string, { key: string; elementType: ElementType }>()
  /** Bytes of small initializers, to see that two scales are equal though their names differ. */
  readonly #contents = new Map<string, string>()
  readonly #buffers: MutableBuffer[] = []
  readonly #constants = new Map<string, DeviceConstant>()
  readonly #steps: DeviceStep[] = []
  #views = 0

  constructor(model: OnnxModel, graph: ShapedGraph) {
    this.#graph = graph
    this.#links = new GraphLinks(graph)
    const remember = (name: string, elementType: ElementType, data: Uint8Array) => {
      this.#constantHomes.set(name, { key: name, elementType })
      // Per-tensor parameters of activations are scalars; longer ones are compared by name.
      if (data.length <= 8) this.#contents.set(name, `${elementType}:${data.join()}`)
    }
    for (const tensor of model.graph.initializers) remember(tensor.name, tensor.elementType, tensor.data)
    for (const node of model.graph.nodes) {
      const value = node.attributes.get('value')
      if (node.opType === 'Constant' && value?.kind === 'tensor') {
        remember(node.outputs[0]!, value.value.elementType, value.value.data)
      }
    }
  }

  run(): LoweredGraph {
    for (const input of this.#graph.inputs) this.#newBuffer(input, 0)
    for (const shaped of this.#graph.nodes) this.#place(shaped)
    const last = Math.max(0, this.#steps.length - 1)
    for (const output of this.#graph.outputs) {
      const stored = this.#stored.get(output.name)
      if (stored !== undefined) stored.buffer.lastUse = last
    }
    return {
      buffers: this.#buffers,
      inputs: this.#graph.inputs.length,
      constants: [...this.#constants.values()],
      steps: this.#steps,
      views: this.#views,
    }
  }

  #place(shaped: ShapedNode): void {
    const role = this.#links.role(shaped)
    if (role === 'constant') {
      this.#placeConstant(shaped)
      return
    }
    const source = this.#source(shaped)
    const parameters = role === 'quantize' ? this.#parameters(shaped) : ''
    const renames = role === 'view' || role === 'fused' || (role === 'quantize' && source?.parameters === parameters)
    if (source !== undefined && renames) {
      for (const output of shaped.outputs) if (output !== null) this.#stored.set(output.name, source)
      if (role === 'view' && shaped.node.opType !== 'DequantizeLinear' && shaped.node.opType !== 'Transpose')
        this.#views++
    } else this.#run(shaped, parameters)
    this.#holdConstants(shaped)
  }

  #run(shaped: ShapedNode, parameters: string): void {
    const step = this.#steps.length
    for (const input of shaped.inputs) {
      const stored = input === null ? undefined : this.#stored.get(input.name)
      if (stored !== undefined) stored.buffer.lastUse = step
    }
    for (const output of shaped.outputs) {
      if (output === null) continue
      if (parameters === '') this.#newBuffer(output, step)
      else this.#store(output, { elementType: output.elementType, parameters }, step)
    }
    this.#steps.push(this.#describe(shaped))
  }

  #newBuffer(value: GraphValue, step: number): void {
    this.#store(value, this.#homeOf(value) ?? { elementType: value.elementType, parameters: '' }, step)
  }

  #store(value: GraphValue, home: Home, step: number): void {
    const bytes = bytesOfElements(home.elementType, elementCount(value.dims))
    const buffer = { name: value.name, bytes, firstUse: step, lastUse: step }
    this.#buffers.push(buffer)
    this.#stored.set(value.name, { ...home, buffer })
  }

  /** The stored value that a folded node renames: its one input that is no constant. */
  #source(shaped: ShapedNode): Stored | undefined {
    const source = shaped.inputs.find((input) => input !== null && !input.constant)
    const stored = source ? this.#stored.get(source.name) : undefined
    // An int8 value is read through its DequantizeLinear: from here on the buffer is known in these parameters.
    if (stored === undefined || shaped.node.opType !== 'DequantizeLinear') return stored
    return { ...stored, parameters: this.#parameters(shaped) }
  }

  /** The quantized form a float value is only ever read in; null when some reader wants the float itself. */
  #homeOf(value: GraphValue, depth = 0): Home | null {
    if (depth > FOLLOWED_VIEWS_MAX) return null
    const readers = this.#links.consumers(value.name)
    if (readers.length === 0 || this.#links.isGraphOutput(value.name)) return null
    let home: Home | null = null
    for (const reader of readers) {
      const role = this.#links.role(reader)
      const output = reader.outputs[0]
      if (!output) return null
      let wanted: Home | null = null
      if (role === 'quantize') wanted = { elementType: output.elementType, parameters: this.#parameters(reader) }
      else if (role === 'fused' || (role === 'view' && reader.node.opType !== 'DequantizeLinear'))
        wanted = this.#homeOf(output, depth + 1)
      if (wanted === null || (home !== null && wanted.elementType !== home.elementType)) return null
      home ??= wanted
    }
    return home
  }

  #parameters(shaped: ShapedNode): string {
    const identity = (name: string | undefined) => (name ? (this.#contents.get(name) ?? name) : '0')
    const axis = shaped.node.attributes.get('axis')
    const scalar = elementCount(shaped.inputs[1]?.dims ?? []) === 1
    return [...shaped.node.inputs.slice(1, 3).map(identity), scalar || axis?.kind !== 'int' ? '' : axis.value].join('|')
  }

  /** A constant keeps its stored bytes through what only renames or dequantizes it. */
  #placeConstant(shaped: ShapedNode): void {
    const { node } = shaped
    const from = this.#constantHomes.get(node.inputs[0] ?? '')
    const output = shaped.outputs[0]
    for (const value of shaped.outputs) {
      if (value !== null && !this.#constantHomes.has(value.name)) {
        this.#constantHomes.set(value.name, { key: value.name, elementType: value.elementType })
      }
    }
    if (from === undefined || !output) return
    const renames = ['DequantizeLinear', 'Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Identity'].includes(node.opType)
    if (renames) this.#constantHomes.set(output.name, from)
    else if (node.opType === 'Transpose') {
      this.#constantHomes.set(output.name, { key: output.name, elementType: from.elementType })
    }
  }

  #holdConstants(shaped: ShapedNode): void {
    const metadata = METADATA_INPUTS[shaped.node.opType] ?? []
    for (const [index, input] of shaped.inputs.entries()) {
      if (input === null || !input.constant || metadata.includes(index)) continue
      // QLinearConcat repeats (X, scale, zero point) after its two output parameters.
      if (shaped.node.opType === 'QLinearConcat' && (index < 2 || (index - 2) % 3 !== 0)) continue
      const { key, elementType } = this.#constantHomes.get(input.name) ?? {
        key: input.name,
        elementType: input.elementType,
      }
      const held = elementType === 'int64' ? 'int32' : elementType
      this.#constants.set(key, { name: key, elementType: held, bytes: bytesOfElements(held, elementCount(input.dims)) })
    }
  }

  #describe(shaped: ShapedNode): DeviceStep {
    const { node } = shaped
    const output = shaped.outputs[0]
    const at = WEIGHTS_INPUT[node.opType]
    const weights = at === undefined ? null : (shaped.inputs[at] ?? null)
    const home = weights === null ? undefined : this.#constantHomes.get(weights.name)
    const convolution = weights !== null && weights.dims.length > 2 && node.opType.includes('Conv')
    const channelAxis = convolution ? 1 : (output?.dims.length ?? 1) - 1
    return {
      opType: node.opType,
      name: node.name || node.outputs[0] || '',
      macs: shaped.macs,
      requantizedChannels: home !== undefined && EIGHT_BIT.has(home.elementType) ? (output?.dims[channelAxis] ?? 0) : 0,
      patchElements: convolution ? shaped.inputs[0]!.dims[1]! * elementCount(weights.dims.slice(2)) : 0,
    }
  }
}
