import type { Result } from '../../contract/result.ts'
import type { ModelFileError } from '../model-fault.ts'
import { catchFault } from '../onnx/onnx-fault.ts'
import { inferShapes, type ShapedGraph, type ShapedNode } from '../onnx/onnx-graph.ts'
import { elementCount, OpView } from '../onnx/onnx-op.ts'
import { readOnnx } from '../onnx/onnx-reader.ts'
import { windowOf } from '../onnx/onnx-shapes-spatial.ts'
import type { OnnxErrorCode, OnnxModel, OnnxTensor } from '../onnx/onnx-types.ts'
import { type Int8Quantization, LoweredGraphBuilder, type OptionField, sameQuantization } from './lowered-graph.ts'
import { centred, constantsOf, numbersOf, type QuantizedConstant, transposed } from './onnx-constants.ts'
import { catchTinyFault, type TinyErrorCode, TinyFault } from './tiny-fault.ts'

export type LoweringError = ModelFileError<TinyErrorCode | OnnxErrorCode>

/** BuiltinOperator of schema.fbs for what graphs are lowered to. */
const TFLITE = {
  ...{
    ADD: 0,
    AVERAGE_POOL_2D: 1,
    CONV_2D: 3,
    DEPTHWISE_CONV_2D: 4,
    DEQUANTIZE: 6,
    FULLY_CONNECTED: 9,
    MAX_POOL_2D: 17,
  },
  ...{ MUL: 18, RESHAPE: 22, SOFTMAX: 25, PAD: 34, TRANSPOSE: 39, MEAN: 40, SUB: 41, QUANTIZE: 114 },
} as const
const ACTIVATION = { none: 0, relu: 1, relu6: 3 } as const
const PADDING = { same: 0, valid: 1 } as const
const byte = (value: number): OptionField => ({ byte: value })
const word = (value: number): OptionField => ({ word: value })

/** A value in memory. Images are kept as TFLite has them, channels last; `dims` are as ONNX has them, channels first. */
interface Stored {
  readonly kind: 'stored'
  readonly tensor: number
  /** null for float32, and for an integer input of the graph until a DequantizeLinear tells */
  readonly quantization: Int8Quantization | null
  readonly float: boolean
  readonly dims: readonly number[]
  readonly channelsLast: boolean
}

/** A sum that waits for its QuantizeLinear, which says how the kernel has to store it. */
interface Pending {
  readonly kind: 'pending'
  readonly dims: readonly number[]
  readonly channelsLast: boolean
  readonly activation: number
  /** What the kernel can only give; another quantization costs one more step. */
  readonly own: Int8Quantization | null
  readonly emit: (output: number, activation: number) => void
}

interface Constant {
  readonly kind: 'constant'
  readonly constant: QuantizedConstant
}

type Value = Stored | Pending | Constant

/** Lowers a quantized ONNX graph onto the operators of the engine `tiny`, as a TFLite file of its own: QDQ graphs, in which every sum is between
 *  DequantizeLinear and QuantizeLinear, and QLinearConv and QLinearMatMul.
 *
 *  The arithmetic is that of TensorFlow Lite Micro's kernels: sums are the same integers as onnxruntime's, but onnxruntime rescales them by a float32
 *  factor and rounds half to even, and the kernels by a 31-bit factor, rounding half away from zero, twice. So an output may differ by
 *  one step of int8 a layer, and where such steps add up by more (the zoo's kws-1 on its golden vectors: two steps in a logit, 0.03 in
 *  a posterior; kws-2 0.02). An average over a window is rounded to its input's quantization first. Softmax is computed in float32 by
 *  both.
 *  @param bytes an ONNX file, not trusted
 *  @returns a TFLite file, what `readOnnx` and `inferShapes` refuse, or `tiny-unsupported-operator` | `tiny-unsupported-type` with the
 *    node, for what has no counterpart: it stays with onnxruntime
 *  @see https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html */
export function lowerOnnx(bytes: Uint8Array): Result<Uint8Array, LoweringError> {
  const model = readOnnx(bytes)
  if (!model.ok) return model
  const shaped = inferShapes(model.value)
  if (!shaped.ok) return shaped
  // Attributes are read by the rules of the shapes, which refuse what contradicts itself.
  const lowered = catchFault(() => catchTinyFault(() => new OnnxLowering(model.value, shaped.value).run()))
  return lowered.ok ? lowered.value : lowered
}

class OnnxLowering {
  readonly #graph: ShapedGraph
  readonly #opset: number
  readonly #constants: ReadonlyMap<string, OnnxTensor>
  readonly #values = new Map<string, Value>()
  readonly #consumers = new Map<string, number>()
  readonly #out = new LoweredGraphBuilder()
  /** What a value was turned into, by tensor and layout. */
  readonly #turned = new Map<string, Stored>()

  constructor(model: OnnxModel, graph: ShapedGraph) {
    this.#graph = graph
    this.#opset = model.opsets.get('') ?? 1
    this.#constants = constantsOf(model)
    for (const { node } of graph.nodes) {
      for (const name of node.inputs) this.#consumers.set(name, (this.#consumers.get(name) ?? 0) + 1)
    }
    for (const { name } of graph.outputs) this.#consumers.set(name, (this.#consumers.get(name) ?? 0) + 1)
  }

  run(): Uint8Array {
    const inputs = this.#graph.inputs.map(({ name, elementType, dims }) => {
      if (elementType !== 'int8' && elementType !== 'uint8' && elementType !== 'float32') {
        throw new TinyFault('tiny-unsupported-type', `input "${name}" is ${elementType}`)
      }
      const tensor = this.#out.tensor({ name, elementType, shape: dims })
      this.#values.set(name, {
        ...{ kind: 'stored', tensor, dims, channelsLast: false },
        ...{ quantization: null, float: elementType === 'float32' },
      })
      return tensor
    })
    for (const shaped of this.#graph.nodes) {
      const folded = shaped.outputs.every((output) => output === null || output.constant)
      if (folded && !FOLLOWED.has(shaped.node.opType)) continue
      const node = new LoweredNode(shaped, this.#opset)
      this.#values.set(node.outputName, this.#lower(node))
    }
    const outputs = this.#graph.outputs.map(({ name, elementType }) => this.#output(name, elementType))
    return this.#out.write(inputs, outputs)
  }

  #lower(node: LoweredNode): Value {
    if (node.shaped.node.domain !== '') return node.unsupported(`an operator of the domain ${node.shaped.node.domain}`)
    switch (node.opType) {
      case 'DequantizeLinear':
        return this.#dequantize(node)
      case 'QuantizeLinear':
        return this.#quantize(node)
      case 'Conv':
        return this.#convolution(node, this.#image(node, 0), this.#constant(node, 1), 2)
      case 'QLinearConv':
        return this.#quantizedOperator(node, (x, weights) =>
          this.#convolution(node, this.#channelsLast(x, node), weights, 8),
        )
      case 'Gemm':
        return this.#gemm(node)
      case 'MatMul':
        return this.#product(node, this.#plain(this.#sum(node, 0), node), this.#constant(node, 1), false, -1)
      case 'QLinearMatMul':
        return this.#quantizedOperator(node, (x, weights) =>
          this.#product(node, this.#plain(x, node), weights, false, -1),
        )
      case 'Relu':
        return this.#activate(node, ACTIVATION.relu)
      case 'Clip':
        return this.#activate(node, this.#clip(node))
      case 'Add':
        return this.#binary(node, TFLITE.ADD)
      case 'Sub':
        return this.#binary(node, TFLITE.SUB)
      case 'Mul':
        return this.#binary(node, TFLITE.MUL)
      case 'MaxPool':
        return this.#pool(node, TFLITE.MAX_POOL_2D)
      case 'AveragePool':
      case 'GlobalAveragePool':
        return this.#pool(node, TFLITE.AVERAGE_POOL_2D)
      case 'Reshape':
      case 'Flatten':
      case 'Squeeze':
      case 'Unsqueeze':
      case 'Identity':
      case 'Dropout':
        return this.#reshape(this.#plain(this.#stored(node, 0), node), node.output)
      case 'Transpose':
        return this.#transpose(node)
      case 'Softmax':
        return this.#softmax(node)
      default:
        return node.unsupported('the engine "tiny" has no counterpart')
    }
  }

  #dequantize(node: LoweredNode): Value {
    const name = node.inputName(0)
    const [scales, zeroPoints] = this.#parameters(node)
    const tensor = this.#constants.get(name)
    if (tensor !== undefined) {
      const stored =
        tensor.elementType === 'int32' ? numbersOf(tensor, node.where) : centred(tensor, zeroPoints, node.where)
      const axis = node.view.axis(node.view.int('axis', 1), Math.max(1, tensor.dims.length))
      return { kind: 'constant', constant: { dims: tensor.dims, stored, scales, axis } }
    }
    const value = this.#values.get(name)
    if (value?.kind === 'constant') return value
    if (value?.kind !== 'stored' || value.float) return node.unsupported('it reads what no QuantizeLinear has made')
    const quantization = this.#single(node, scales, zeroPoints, node.shaped.inputs[0]?.elementType ?? '')
    if (value.quantization !== null && !sameQuantization(value.quantization, quantization)) {
      node.unsupported('it reads with other parameters than those that were written with')
    }
    this.#out.quantize(value.tensor, quantization)
    this.#values.set(name, { ...value, quantization })
    return this.#asInt8({ ...value, quantization }, node)
  }

  /** uint8 is int8 with everything moved by 128; only ends of the graph are stored so. */
  #asInt8(value: Stored, node: LoweredNode): Stored {
    if (
      node.shaped.inputs[0]?.elementType !== 'uint8' ||
      !this.#graph.inputs.some(({ name }) => name === node.inputName(0))
    )
      return value
    const { quantization } = value
    if (quantization === null) return value
    return this.#once(`int8 ${value.tensor}`, () => {
      const tensor = this.#out.int8(`${node.inputName(0)} as int8`, this.#out.shapeOf(value.tensor), quantization)
      this.#out.operator(TFLITE.QUANTIZE, [value.tensor], tensor)
      return { ...value, tensor }
    })
  }

  #quantize(node: LoweredNode): Value {
    const [scales, zeroPoints] = this.#parameters(node)
    const type = node.shaped.outputs[0]?.elementType ?? ''
    const tensor = this.#constants.get(node.inputName(0))
    if (tensor !== undefined) {
      const axis = node.view.axis(node.view.int('axis', 1), Math.max(1, tensor.dims.length))
      return {
        kind: 'constant',
        constant: this.#quantizedConstant(node, tensor, scales, zeroPoints, axis, type),
      }
    }
    const quantization = this.#single(node, scales, zeroPoints, type)
    const value = this.#value(node, 0)
    if (value.kind === 'constant') return value
    if (value.kind === 'pending') return this.#finish(value, quantization, node.outputName)
    if (value.quantization !== null && sameQuantization(value.quantization, quantization)) return value
    const output = this.#out.int8(node.outputName, this.#out.shapeOf(value.tensor), quantization)
    this.#out.operator(TFLITE.QUANTIZE, [value.tensor], output)
    return { ...value, tensor: output, quantization, float: false }
  }

  #finish(pending: Pending, quantization: Int8Quantization, name: string): Stored {
    const { dims, channelsLast, own, activation } = pending
    const shape = channelsLast ? lastOf(dims) : dims
    let tensor = this.#out.int8(name, shape, own ?? quantization)
    pending.emit(tensor, activation)
    if (own !== null && !sameQuantization(own, quantization)) {
      const rescaled = this.#out.int8(`${name} rescaled`, shape, quantization)
      this.#out.operator(TFLITE.QUANTIZE, [tensor], rescaled)
      tensor = rescaled
    }
    return { kind: 'stored', tensor, quantization, float: false, dims, channelsLast }
  }

  #activate(node: LoweredNode, activation: number): Value {
    const value = this.#value(node, 0)
    // A sum that somebody else reads too would have to be there twice.
    const alone = this.#consumers.get(node.inputName(0)) === 1
    if (value.kind !== 'pending' || value.activation !== ACTIVATION.none || !alone) {
      node.unsupported('it does not directly follow the sum that it is an activation of')
    }
    return { ...value, activation }
  }

  #clip(node: LoweredNode): number {
    const bound = (at: number, attribute: string, otherwise: number): number => {
      const tensor = this.#constants.get(node.inputName(at))
      const listed = node.shaped.node.attributes.get(attribute)
      if (tensor !== undefined) return numbersOf(tensor, node.where)[0] ?? otherwise
      return listed?.kind === 'float' ? listed.value : otherwise
    }
    const [least, most] = [bound(1, 'min', Number.NEGATIVE_INFINITY), bound(2, 'max', Number.POSITIVE_INFINITY)]
    if (least !== 0) return node.unsupported(`it clips to [${least}, ${most}]`)
    if (most === 6) return ACTIVATION.relu6
    return most > 1e30 ? ACTIVATION.relu : node.unsupported(`it clips to [${least}, ${most}]`)
  }

  #convolution(node: LoweredNode, x: Stored, weights: QuantizedConstant, biasAt: number): Pending {
    const { dims, stored } = weights
    const [outputs = 0, depth = 0, rows = 0, columns = 0] = dims
    const [, channels = 0, height = 0, width = 0] = x.dims
    if (dims.length !== 4) node.unsupported(`weights of ${dims.length} dimensions; only images are convolved`)
    const depthwise = depth === 1 && channels > 1 && node.view.int('group', 1) === channels
    // ONNX: [outputs, depth, rows, columns]. TFLite: outputs first and depth last, or of depthwise ones [1, rows, columns, outputs].
    const turned = transposed(stored, dims, depthwise ? [1, 2, 3, 0] : [0, 2, 3, 1])
    const scales = this.#channelScales(node, weights, 0, outputs)
    const w = this.#weights(node, turned.values, turned.dims, scales, depthwise ? 3 : 0)
    const bias = this.#bias(node, biasAt, x, scales, outputs)
    const window = windowOf(node.view, [rows, columns])
    const from = this.#padded(node, x, [height, width], window, 'zero')
    const steps = [word(window.strides[1] ?? 1), word(window.strides[0] ?? 1)]
    const dilations = [word(window.dilations[1] ?? 1), word(window.dilations[0] ?? 1)]
    return this.#pending(node.output, true, null, (output, activation) =>
      depthwise
        ? this.#out.operator(TFLITE.DEPTHWISE_CONV_2D, [from.tensor, w, bias], output, [
            ...[byte(from.padding), ...steps, word(outputs / channels), byte(activation), ...dilations],
          ])
        : this.#out.operator(TFLITE.CONV_2D, [from.tensor, w, bias], output, [
            ...[byte(from.padding), ...steps, byte(activation), ...dilations],
          ]),
    )
  }

  /** The image under the padding that TFLite knows by name, or with its margin written out. */
  #padded(
    node: LoweredNode,
    x: Stored,
    sizes: readonly [number, number],
    window: ReturnType<typeof windowOf>,
    margin: 'zero' | 'none',
  ): { readonly tensor: number; readonly padding: number } {
    const same = sizes.map((size, axis) => {
      const stride = window.strides[axis] ?? 1
      const covered = ((window.kernel[axis] ?? 1) - 1) * (window.dilations[axis] ?? 1) + 1
      const all = Math.max(0, (Math.ceil(size / stride) - 1) * stride + covered - size)
      return [Math.floor(all / 2), all - Math.floor(all / 2)] as const
    })
    const stated = [0, 1].map((axis) => [window.pads[axis] ?? 0, window.pads[axis + 2] ?? 0] as const)
    const like = (others: readonly (readonly [number, number])[]) =>
      stated.every(([before, after], axis) => before === others[axis]?.[0] && after === others[axis]?.[1])
    if (window.autoPad === 'SAME_UPPER' || (window.autoPad === 'NOTSET' && like(same))) {
      return { tensor: x.tensor, padding: PADDING.same }
    }
    if (window.autoPad === 'VALID' || (window.autoPad === 'NOTSET' && stated.flat().every((pad) => pad === 0))) {
      return { tensor: x.tensor, padding: PADDING.valid }
    }
    const pads = window.autoPad === 'SAME_LOWER' ? same.map(([before, after]) => [after, before] as const) : stated
    if (margin === 'none' || x.quantization === null) node.unsupported(`a margin of ${stated.join(', ')}`)
    const [batch = 1, height = 0, width = 0, channels = 0] = this.#out.shapeOf(x.tensor)
    const [[top, bottom], [left, right]] = [pads[0] ?? [0, 0], pads[1] ?? [0, 0]]
    const shape = [batch, height + top + bottom, width + left + right, channels]
    const tensor = this.#out.int8(`${node.outputName} margin`, shape, x.quantization)
    const paddings = this.#out.int32s('paddings', [0, 0, top, bottom, left, right, 0, 0], [4, 2])
    this.#out.operator(TFLITE.PAD, [x.tensor, paddings], tensor)
    return { tensor, padding: PADDING.valid }
  }

  #gemm(node: LoweredNode): Pending {
    const { view } = node
    const scalar = (name: string): number => {
      const attribute = node.shaped.node.attributes.get(name)
      return attribute?.kind === 'float' ? attribute.value : 1
    }
    if (scalar('alpha') !== 1 || scalar('beta') !== 1 || view.int('transA', 0) !== 0) {
      node.unsupported('alpha, beta or a transposed input')
    }
    return this.#product(
      node,
      this.#plain(this.#sum(node, 0), node),
      this.#constant(node, 1),
      view.int('transB', 0) !== 0,
      2,
    )
  }

  /** A matrix of constants; TFLite has a row for each output. */
  #product(node: LoweredNode, x: Stored, weights: QuantizedConstant, byOutput: boolean, biasAt: number): Pending {
    const { dims, stored } = weights
    if (dims.length !== 2) node.unsupported(`weights of ${dims.length} dimensions`)
    const outputs = dims[byOutput ? 0 : 1] ?? 0
    const turned = byOutput ? { values: stored, dims } : transposed(stored, dims, [1, 0])
    const scales = this.#channelScales(node, weights, byOutput ? 0 : 1, outputs)
    const w = this.#weights(node, turned.values, turned.dims, scales, 0)
    const bias = this.#bias(node, biasAt, x, scales, outputs)
    const options = (activation: number) => [byte(activation), byte(0), byte(1)]
    return this.#pending(node.output, false, null, (output, activation) =>
      this.#out.operator(TFLITE.FULLY_CONNECTED, [x.tensor, w, bias], output, options(activation)),
    )
  }

  #binary(node: LoweredNode, code: number): Pending {
    const [a, b] = [this.#sum(node, 0), this.#sum(node, 1)]
    const images = a.dims.length === 4 && b.dims.length === 4 && (a.channelsLast || b.channelsLast)
    const [left, right] = [a, b].map((value) => (images ? this.#channelsLast(value, node) : this.#plain(value, node)))
    const operands = [left?.tensor ?? -1, right?.tensor ?? -1]
    return this.#pending(node.output, images, null, (output, activation) =>
      this.#out.operator(code, operands, output, [byte(activation)]),
    )
  }

  /** Over the whole image an average is a MEAN, which rescales its sum once; a smaller window gives its input's quantization. */
  #pool(node: LoweredNode, code: number): Pending {
    const x = this.#image(node, 0)
    const [, , height = 0, width = 0] = x.dims
    const kernel = node.opType.startsWith('Global') ? [height, width] : (node.view.intList('kernel_shape') ?? [])
    const window = windowOf(node.view, kernel)
    if (kernel.length !== 2) node.unsupported(`a window of ${kernel.length} dimensions`)
    if (node.view.int('ceil_mode', 0) !== 0) node.unsupported('a size that is rounded up')
    if (window.dilations.some((dilation) => dilation !== 1)) node.unsupported('dilations')
    const whole = kernel[0] === height && kernel[1] === width && window.pads.every((pad) => pad === 0)
    if (code === TFLITE.AVERAGE_POOL_2D && whole) {
      const axes = this.#out.int32s('axes', [1, 2])
      return this.#pending(node.output, true, null, (output, activation) => {
        if (activation !== ACTIVATION.none) node.unsupported('an activation of an average')
        this.#out.operator(TFLITE.MEAN, [x.tensor, axes], output, [byte(1)])
      })
    }
    if (node.view.int('count_include_pad', 0) !== 0 && window.pads.some((pad) => pad !== 0)) {
      node.unsupported('an average that counts its margin')
    }
    const { tensor, padding } = this.#padded(node, x, [height, width], window, 'none')
    const sizes = [window.strides[1], window.strides[0], kernel[1], kernel[0]].map((size) => word(size ?? 1))
    return this.#pending(node.output, true, x.quantization, (output, activation) =>
      this.#out.operator(code, [tensor], output, [byte(padding), ...sizes, byte(activation)]),
    )
  }

  /** Between channels first and last a Transpose moves nothing: the image is kept with its channels last anyhow. */
  #transpose(node: LoweredNode): Value {
    const value = this.#value(node, 0)
    const rank = value.kind === 'constant' ? value.constant.dims.length : value.dims.length
    const listed = node.view.intList('perm') ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis)
    if (value.kind === 'constant') {
      const { dims, stored, scales, axis } = value.constant
      const turned = transposed(stored, dims, listed)
      return {
        kind: 'constant',
        constant: { dims: turned.dims, stored: turned.values, scales, axis: listed.indexOf(axis) },
      }
    }
    const stored = this.#stored(node, 0)
    const dims = node.output
    if (stored.channelsLast && listed.join() === '0,2,3,1') return { ...stored, dims, channelsLast: false }
    if (!stored.channelsLast && listed.join() === '0,3,1,2') return { ...stored, dims, channelsLast: true }
    const plain = this.#plain(stored, node)
    const tensor = this.#like(plain, dims, 'transposed')
    this.#out.operator(TFLITE.TRANSPOSE, [plain.tensor, this.#out.int32s('permutation', listed)], tensor)
    return { ...plain, tensor, dims }
  }

  /** Along the last dimension, in float32. */
  #softmax(node: LoweredNode): Stored {
    const x = this.#real(this.#plain(this.#stored(node, 0), node), node.outputName)
    const rank = x.dims.length
    const axis = node.view.axis(node.view.int('axis', this.#opset < 13 ? 1 : -1), rank)
    // Before opset 13 all dimensions from the axis on were one; of two dimensions that is the last.
    if (axis !== rank - 1) node.unsupported(`axis ${axis} of ${rank} dimensions`)
    const tensor = this.#out.tensor({ name: node.outputName, elementType: 'float32', shape: x.dims })
    this.#out.operator(TFLITE.SOFTMAX, [x.tensor], tensor, [word(FLOAT32_ONE)])
    return { ...x, tensor }
  }

  #reshape(value: Stored, dims: readonly number[]): Stored {
    if (value.dims.join() === dims.join()) return value
    return { ...value, tensor: this.#renamed(value, dims), dims }
  }

  #renamed(value: Stored, shape: readonly number[]): number {
    const tensor = this.#like(value, shape, 'reshaped')
    this.#out.operator(TFLITE.RESHAPE, [value.tensor, this.#out.int32s('shape', shape)], tensor)
    return tensor
  }

  #like(value: Stored, shape: readonly number[], how: string): number {
    const name = `tensor ${value.tensor} ${how}`
    if (value.float) return this.#out.tensor({ name, elementType: 'float32', shape })
    if (value.quantization === null)
      throw new TinyFault('tiny-unsupported-type', `${name}: nothing tells its quantization`)
    return this.#out.int8(name, shape, value.quantization)
  }

  /** Both ends of a QLinear operator are stored, so its sum is stored at once. */
  #quantizedOperator(node: LoweredNode, sum: (x: Stored, weights: QuantizedConstant) => Pending): Value {
    const number = (at: number): readonly number[] => this.#numbers(node, at)
    const type = node.shaped.inputs[0]?.elementType ?? ''
    const quantization = this.#single(node, number(1), number(2), type)
    const value = this.#value(node, 0)
    if (value.kind !== 'stored' || value.float) node.unsupported('it reads what nobody has stored')
    if (value.quantization !== null && !sameQuantization(value.quantization, quantization)) {
      node.unsupported('it reads with other parameters than those that were written with')
    }
    this.#out.quantize(value.tensor, quantization)
    const known: Stored = { ...value, quantization }
    this.#values.set(node.inputName(0), known)
    const tensor = this.#constants.get(node.inputName(3)) ?? node.unsupported('computed weights')
    const stored = centred(tensor, number(5), node.where)
    const axis = node.opType === 'QLinearConv' ? 0 : 1
    const weights = { dims: tensor.dims, stored, scales: number(4), axis }
    const output = this.#single(node, number(6), number(7), node.shaped.outputs[0]?.elementType ?? '')
    return this.#finish(sum(this.#asInt8(known, node), weights), output, node.outputName)
  }

  #pending(
    dims: readonly number[],
    channelsLast: boolean,
    own: Int8Quantization | null,
    emit: Pending['emit'],
  ): Pending {
    return { kind: 'pending', dims, channelsLast, own, emit, activation: ACTIVATION.none }
  }

  #weights(
    node: LoweredNode,
    values: readonly number[],
    shape: readonly number[],
    scales: readonly number[],
    dimension: number,
  ): number {
    return this.#out.tensor({
      ...{ name: node.inputName(1), elementType: 'int8', shape, data: new Uint8Array(Int8Array.from(values).buffer) },
      quantization: { scales, zeroPoints: scales.map(() => 0), dimension },
    })
  }

  /** @returns one scale, or one for each output channel */
  #channelScales(
    node: LoweredNode,
    { scales, axis, dims }: QuantizedConstant,
    channelAxis: number,
    channels: number,
  ): readonly number[] {
    if (scales.length === 1) return scales
    if (scales.length !== channels || (dims.length > 1 && axis !== channelAxis)) {
      node.unsupported(`weights with ${scales.length} scales along axis ${axis}`)
    }
    return scales
  }

  /** In the scale of the sums: what the file stores, where its scale is that, else rounded anew. @returns -1 for none */
  #bias(node: LoweredNode, at: number, x: Stored, weightScales: readonly number[], channels: number): number {
    const name = at < 0 ? '' : node.inputName(at)
    if (name === '') return -1
    const value = this.#values.get(name)
    const tensor = this.#constants.get(name)
    const { stored, scales } =
      value?.kind === 'constant'
        ? value.constant
        : tensor !== undefined
          ? { stored: numbersOf(tensor, node.where), scales: tensor.elementType === 'int32' ? [] : [1] }
          : node.unsupported('a computed bias')
    if (stored.length !== channels) node.unsupported(`a bias of ${stored.length} for ${channels} channels`)
    const integers = stored.map((integer, channel) => {
      const sumScale = (x.quantization?.scale ?? 1) * (weightScales[weightScales.length === 1 ? 0 : channel] ?? 1)
      const scale = scales.length === 0 ? sumScale : (scales[scales.length === 1 ? 0 : channel] ?? 1)
      // Scales of sums are products that were rounded to float32 when the file was written.
      const same = Math.abs(scale / sumScale - 1) < 1e-5
      const rounded = same ? integer : Math.round((integer * scale) / sumScale)
      if (!(Math.abs(rounded) <= 0x7fffffff))
        node.unsupported(`a bias of ${integer * scale}, beyond 32 bits of the sums`)
      return rounded
    })
    return this.#out.int32s(name, integers)
  }

  /** An output as the graph declares it. */
  #output(name: string, elementType: string): number {
    const value = this.#values.get(name)
    if (value?.kind !== 'stored') {
      throw new TinyFault(
        'tiny-unsupported-operator',
        `output "${name}": no QuantizeLinear says how it is stored; run it on onnxruntime`,
      )
    }
    const plain = this.#plain(value, null)
    if (elementType === 'float32') return this.#real(plain, name).tensor
    if (elementType === 'int8' || plain.quantization === null) return plain.tensor
    const { scale, zeroPoint } = plain.quantization
    const quantization = { scales: [scale], zeroPoints: [zeroPoint + 128], dimension: 0 }
    const tensor = this.#out.tensor({ name, elementType: 'uint8', shape: plain.dims, quantization })
    this.#out.operator(TFLITE.QUANTIZE, [plain.tensor], tensor)
    return tensor
  }

  #real(value: Stored, name: string): Stored {
    if (value.float) return value
    const tensor = this.#out.tensor({
      name: `${name} as float32`,
      elementType: 'float32',
      shape: this.#out.shapeOf(value.tensor),
    })
    this.#out.operator(TFLITE.DEQUANTIZE, [value.tensor], tensor)
    return { ...value, tensor, quantization: null, float: true }
  }

  #image(node: LoweredNode, at: number): Stored {
    return this.#channelsLast(this.#sum(node, at), node)
  }

  #channelsLast(value: Stored, node: LoweredNode): Stored {
    if (value.channelsLast) return value
    if (value.dims.length !== 4) return node.unsupported(`${value.dims.length} dimensions, expected an image of four`)
    return this.#once(`last ${value.tensor}`, () => ({
      ...this.#turn(value, lastOf(value.dims), [0, 2, 3, 1]),
      channelsLast: true,
    }))
  }

  #plain(value: Stored, node: LoweredNode | null): Stored {
    if (!value.channelsLast) return value
    if (value.dims.length !== 4) return node?.unsupported('an image of other than four dimensions') ?? value
    return this.#once(`first ${value.tensor}`, () => ({
      ...this.#turn(value, value.dims, [0, 3, 1, 2]),
      channelsLast: false,
    }))
  }

  /** An image of one channel, or of one place, is the same in either order. */
  #turn(value: Stored, shape: readonly number[], permutation: readonly number[]): Stored {
    const [, channels = 0, height = 0, width = 0] = value.dims
    if (channels === 1 || height * width === 1) return { ...value, tensor: this.#renamed(value, shape) }
    const tensor = this.#like(value, shape, 'turned')
    this.#out.operator(TFLITE.TRANSPOSE, [value.tensor, this.#out.int32s('permutation', permutation)], tensor)
    return { ...value, tensor }
  }

  #once(key: string, make: () => Stored): Stored {
    const known = this.#turned.get(key)
    if (known !== undefined) return known
    const made = make()
    this.#turned.set(key, made)
    return made
  }

  /** A quantized operand of a kernel that sums; of constants a tensor is made. */
  #sum(node: LoweredNode, at: number): Stored {
    const value = this.#value(node, at)
    if (value.kind === 'constant') return this.#operand(node, value.constant, at)
    if (value.kind === 'pending' || value.float || value.quantization === null) {
      return node.unsupported(`input ${at} is computed in float32; quantize the graph throughout`)
    }
    return value
  }

  #operand(node: LoweredNode, { dims, stored, scales }: QuantizedConstant, at: number): Stored {
    const [scale] = scales
    if (scale === undefined || scales.length !== 1) return node.unsupported(`input ${at} has ${scales.length} scales`)
    const quantization = { scale, zeroPoint: 0 }
    const data = new Uint8Array(Int8Array.from(stored).buffer)
    const parameters = { scales, zeroPoints: [0], dimension: 0 }
    const tensor = this.#out.tensor({
      name: node.inputName(at),
      elementType: 'int8',
      shape: dims,
      data,
      quantization: parameters,
    })
    return { kind: 'stored', tensor, quantization, float: false, dims, channelsLast: false }
  }

  #stored(node: LoweredNode, at: number): Stored {
    const value = this.#value(node, at)
    return value.kind === 'stored' ? value : node.unsupported(`input ${at} has not been quantized`)
  }

  #constant(node: LoweredNode, at: number): QuantizedConstant {
    const value = this.#values.get(node.inputName(at))
    return value?.kind === 'constant' ? value.constant : node.unsupported(`input ${at} is no quantized constant`)
  }

  #value(node: LoweredNode, at: number): Value {
    return this.#values.get(node.inputName(at)) ?? node.unsupported(`input ${at} is a constant in float32, or missing`)
  }

  /** Scales and zero points of a QuantizeLinear or DequantizeLinear. */
  #parameters(node: LoweredNode): readonly [scales: readonly number[], zeroPoints: readonly number[]] {
    const scales = this.#numbers(node, 1)
    return [scales, node.inputName(2) === '' ? scales.map(() => 0) : this.#numbers(node, 2)]
  }

  #numbers(node: LoweredNode, at: number): readonly number[] {
    const tensor = this.#constants.get(node.inputName(at))
    return tensor === undefined
      ? node.unsupported(`input ${at} is computed, it has to be a constant`)
      : numbersOf(tensor, node.where)
  }

  #single(node: LoweredNode, scales: readonly number[], zeroPoints: readonly number[], type: string): Int8Quantization {
    const [scale, zeroPoint] = [scales[0], zeroPoints[0]]
    if (scale === undefined || zeroPoint === undefined || scales.length !== 1) {
      return node.unsupported('activations with a scale for each channel')
    }
    if (type !== 'int8' && type !== 'uint8') return node.unsupportedType(`activations of ${type}`)
    return { scale, zeroPoint: type === 'uint8' ? zeroPoint - 128 : zeroPoint }
  }

  /** Weights that the graph quantizes itself. @see https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html: half to even */
  #quantizedConstant(
    node: LoweredNode,
    tensor: OnnxTensor,
    scales: readonly number[],
    zeroPoints: readonly number[],
    axis: number,
    type: string,
  ): QuantizedConstant {
    if (type !== 'int8' || zeroPoints.some((zeroPoint) => zeroPoint !== 0))
      node.unsupportedType('constants quantized around other than 0')
    const inner = elementCount(tensor.dims.slice(axis + 1))
    const stored = numbersOf(tensor, node.where).map((value, at) => {
      const scale = scales[scales.length === 1 ? 0 : Math.floor(at / inner) % scales.length] ?? 1
      const quotient = Math.fround(value / scale)
      const floor = Math.floor(quotient)
      const even = floor + (quotient - floor > 0.5 || (quotient - floor === 0.5 && floor % 2 !== 0) ? 1 : 0)
      return Math.min(Math.max(even, -128), 127)
    })
    return { dims: tensor.dims, stored, scales, axis }
  }
}

/** Operators of constants alone that are followed; what others compute is shapes and the like, which the shapes' rules have read. */
const FOLLOWED: ReadonlySet<string> = new Set(['QuantizeLinear', 'DequantizeLinear', 'Transpose'])
/** SoftmaxOptions has its factor as float32: 1. */
const FLOAT32_ONE = 0x3f800000
const lastOf = ([batch = 1, channels = 1, ...places]: readonly number[]): readonly number[] => [
  batch,
  ...places,
  channels,
]

/** A node with what refusals name. */
class LoweredNode {
  readonly shaped: ShapedNode
  readonly view: OpView

  constructor(shaped: ShapedNode, opset: number) {
    this.shaped = shaped
    this.view = new OpView(shaped.node, shaped.inputs, opset)
  }

  get opType(): string {
    return this.shaped.node.opType
  }

  get where(): string {
    return `${this.opType} "${this.shaped.node.name || this.outputName}"`
  }

  get outputName(): string {
    return this.shaped.node.outputs[0] ?? ''
  }

  get output(): readonly number[] {
    return this.shaped.outputs[0]?.dims ?? []
  }

  inputName(at: number): string {
    return this.shaped.node.inputs[at] ?? ''
  }

  unsupported(what: string): never {
    throw new TinyFault('tiny-unsupported-operator', `${this.where}: ${what}; it stays with onnxruntime`)
  }

  unsupportedType(what: string): never {
    throw new TinyFault('tiny-unsupported-type', `${this.where}: ${what}; it stays with onnxruntime`)
  }
}
