import type { OnnxTensor } from '../../onnx/onnx-types.ts'
import { TinyFault } from '../tiny-fault.ts'
import { LoweredGraphBuilder } from './lowered-graph.ts'
import type { LoweredNode } from './lowered-node.ts'
import { lastOf, type Stored, TFLITE, type Value } from './lowered-value.ts'
import { bytesOf, numbersOf, type QuantizedConstant } from './onnx-constants.ts'

/** What a graph on its way to TFLite has computed so far, and the layouts that it is kept in. */
export class LoweredValues {
  readonly values = new Map<string, Value>()
  readonly out = new LoweredGraphBuilder()
  /** Tensors of the file, by name. */
  readonly constants: ReadonlyMap<string, OnnxTensor>
  /** Names of the graph's inputs. */
  readonly inputs: ReadonlySet<string>
  /** How many read a value, the ends of the graph included. */
  readonly consumers: ReadonlyMap<string, number>
  readonly opset: number
  /** What a value was turned into, by tensor and layout. */
  readonly #turned = new Map<string, Stored>()

  constructor(graph: Pick<LoweredValues, 'constants' | 'inputs' | 'consumers' | 'opset'>) {
    this.constants = graph.constants
    this.inputs = graph.inputs
    this.consumers = graph.consumers
    this.opset = graph.opset
  }

  value(node: LoweredNode, at: number): Value {
    return this.values.get(node.inputName(at)) ?? node.unsupported(`input ${at} is a constant in float32, or missing`)
  }

  stored(node: LoweredNode, at: number): Stored {
    const value = this.value(node, at)
    return value.kind === 'stored' ? value : node.unsupported(`input ${at} has not been quantized`)
  }

  /** A quantized operand of a kernel that sums; of constants a tensor is made. */
  sum(node: LoweredNode, at: number): Stored {
    const value = this.value(node, at)
    if (value.kind === 'constant') return this.operand(node, value.constant, at)
    if (value.kind === 'pending' || value.float || value.quantization === null) {
      return node.unsupported(`input ${at} is computed in float32; quantize the graph throughout`)
    }
    return value
  }

  operand(node: LoweredNode, { dims, stored, scales }: QuantizedConstant, at: number): Stored {
    const [scale] = scales
    if (scale === undefined || scales.length !== 1) return node.unsupported(`input ${at} has ${scales.length} scales`)
    const quantization = { scale, zeroPoint: 0 }
    const data = bytesOf(stored instanceof Int8Array ? stored : Int8Array.from(stored))
    const parameters = { scales, zeroPoints: [0], dimension: 0 }
    const tensor = this.out.tensor({
      name: node.inputName(at),
      elementType: 'int8',
      shape: dims,
      data,
      quantization: parameters,
    })
    return { kind: 'stored', tensor, quantization, float: false, dims, channelsLast: false }
  }

  constant(node: LoweredNode, at: number): QuantizedConstant {
    const value = this.values.get(node.inputName(at))
    return value?.kind === 'constant' ? value.constant : node.unsupported(`input ${at} is no quantized constant`)
  }

  numbers(node: LoweredNode, at: number): readonly number[] {
    const tensor = this.constants.get(node.inputName(at))
    return tensor === undefined
      ? node.unsupported(`input ${at} is computed, it has to be a constant`)
      : numbersOf(tensor, node.where)
  }

  image(node: LoweredNode, at: number): Stored {
    return this.channelsLast(this.sum(node, at), node)
  }

  channelsLast(value: Stored, node: LoweredNode): Stored {
    if (value.channelsLast) return value
    if (value.dims.length !== 4) return node.unsupported(`${value.dims.length} dimensions, expected an image of four`)
    return this.once(`last ${value.tensor}`, () => ({
      ...this.turn(value, lastOf(value.dims), [0, 2, 3, 1]),
      channelsLast: true,
    }))
  }

  plain(value: Stored, node: LoweredNode | null): Stored {
    if (!value.channelsLast) return value
    if (value.dims.length !== 4) return node?.unsupported('an image of other than four dimensions') ?? value
    return this.once(`first ${value.tensor}`, () => ({
      ...this.turn(value, value.dims, [0, 3, 1, 2]),
      channelsLast: false,
    }))
  }

  /** An image of one channel, or of one place, is the same in either order. */
  turn(value: Stored, shape: readonly number[], permutation: readonly number[]): Stored {
    const [, channels = 0, height = 0, width = 0] = value.dims
    if (channels === 1 || height * width === 1) return { ...value, tensor: this.renamed(value, shape) }
    const tensor = this.like(value, shape, 'turned')
    this.out.operator(TFLITE.TRANSPOSE, [value.tensor, this.out.int32s('permutation', permutation)], tensor)
    return { ...value, tensor }
  }

  once(key: string, make: () => Stored): Stored {
    const known = this.#turned.get(key)
    if (known !== undefined) return known
    const made = make()
    this.#turned.set(key, made)
    return made
  }

  like(value: Stored, shape: readonly number[], how: string): number {
    const name = `tensor ${value.tensor} ${how}`
    if (value.float) return this.out.tensor({ name, elementType: 'float32', shape })
    if (value.quantization === null)
      throw new TinyFault('tiny-unsupported-type', `${name}: nothing tells its quantization`)
    return this.out.int8(name, shape, value.quantization)
  }

  renamed(value: Stored, shape: readonly number[]): number {
    const tensor = this.like(value, shape, 'reshaped')
    this.out.operator(TFLITE.RESHAPE, [value.tensor, this.out.int32s('shape', shape)], tensor)
    return tensor
  }

  real(value: Stored, name: string): Stored {
    if (value.float) return value
    const tensor = this.out.tensor({
      name: `${name} as float32`,
      elementType: 'float32',
      shape: this.out.shapeOf(value.tensor),
    })
    this.out.operator(TFLITE.DEQUANTIZE, [value.tensor], tensor)
    return { ...value, tensor, quantization: null, float: true }
  }
}
