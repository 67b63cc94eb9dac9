import type { FixedElementType } from '../element-type.ts'
import type { FlatTable } from '../tflite/flatbuffer-wire.ts'
import { activationRange, type QuantizedMultiplier, quantizedMultiplier, quantizedMultipliers } from './multiplier.ts'
import { TinyFault } from './tiny-fault.ts'
import type { TinyTensor } from './tiny-tensor.ts'
import type { KernelName } from './tiny-wasm.ts'

/** One call of a kernel: its words are written into the memory when the graph is loaded, and never again. */
export interface KernelCall {
  readonly kernel: KernelName
  /** Integers of 32 bits, signed or not. */
  readonly words: readonly number[]
}

export interface Prepared {
  /** In order; a node that only moves data may take several. */
  readonly calls: readonly KernelCall[]
  /** What the kernels may write besides their outputs, while they run; at the address in SCRATCH_WORD. */
  readonly scratchBytes?: number
}

const FLOAT32_MAX = 3.402_823_466_385_288_6e38
/** By ActivationFunctionType of the schema. */
const FLOAT_RANGES: readonly (readonly [number, number] | undefined)[] = [
  [-FLOAT32_MAX, FLOAT32_MAX],
  [0, FLOAT32_MAX],
  [-1, 1],
  [0, 6],
]

/** Below this a factor takes thirty places to the left at most, rounded up as it may be. */
const FACTOR_MAX = 2 ** 30 - 1

/** What a kernel's preparation gets: the node's tensors and options, and the place for its tables. It checks all that the kernel relies on:
 *  whatever it lets through, the kernel runs. */
export class NodeContext {
  /** "node 3, CONV_2D": goes in front of every message. */
  readonly where: string
  readonly options: FlatTable | null
  readonly #file: Uint8Array
  readonly #inputs: readonly (TinyTensor | null)[]
  readonly #outputs: readonly TinyTensor[]
  readonly #workMax: number
  readonly #place: (bytes: Uint8Array) => number

  /** @param place keeps bytes in the memory's records, 16-byte aligned, and tells their address
   *  @param workMax what the node may multiply and add, or compare */
  constructor(
    where: string,
    node: {
      readonly options: FlatTable | null
      readonly inputs: readonly (TinyTensor | null)[]
      readonly outputs: readonly TinyTensor[]
    },
    graph: {
      readonly file: Uint8Array
      readonly workMax: number
      readonly place: (bytes: Uint8Array) => number
    },
  ) {
    this.where = where
    this.options = node.options
    this.#inputs = node.inputs
    this.#outputs = node.outputs
    this.#file = graph.file
    this.#workMax = graph.workMax
    this.#place = graph.place
  }

  get inputs(): number {
    return this.#inputs.length
  }

  get outputs(): number {
    return this.#outputs.length
  }

  input(at: number): TinyTensor {
    return this.#inputs[at] ?? this.malformed(`input ${at} is missing`)
  }

  /** null for one left out. */
  optionalInput(at: number): TinyTensor | null {
    return this.#inputs[at] ?? null
  }

  output(at: number): TinyTensor {
    return this.#outputs[at] ?? this.malformed(`output ${at} is missing`)
  }

  /** @throws TinyFault unless the node has so many inputs and outputs; optional inputs may be left out at the end */
  expectPorts(inputsLeast: number, inputsMost: number, outputs: number): void {
    if (this.inputs < inputsLeast || this.inputs > inputsMost || this.outputs !== outputs) {
      const range = inputsLeast === inputsMost ? `${inputsLeast}` : `${inputsLeast} to ${inputsMost}`
      this.malformed(`${this.inputs} inputs and ${this.outputs} outputs, expected ${range} and ${outputs}`)
    }
  }

  expectType(tensor: TinyTensor, ...types: readonly FixedElementType[]): void {
    if (types.includes(tensor.elementType)) return
    const detail = `"${tensor.name}" is ${tensor.elementType}, this engine has it for ${types.join(', ')}`
    // What is quantized already is told the way back.
    if (['int8', 'int16', 'uint8'].includes(tensor.elementType) && types.every((type) => type === 'float32')) {
      throw new TinyFault(
        'tiny-unsupported-type',
        `${this.where}: ${detail}; keep it float32, with DEQUANTIZE before and QUANTIZE behind, or run the graph on onnxruntime as ONNX`,
      )
    }
    this.unsupportedType(detail)
  }

  expectShape(tensor: TinyTensor, shape: readonly number[]): void {
    if (tensor.shape.length !== shape.length || tensor.shape.some((dim, axis) => dim !== shape[axis])) {
      this.malformed(`"${tensor.name}" is [${tensor.shape.join(', ')}], its operands make [${shape.join(', ')}]`)
    }
  }

  expectElements(tensor: TinyTensor, elements: number): void {
    if (tensor.elements !== elements) {
      this.malformed(`"${tensor.name}" has ${tensor.elements} elements, its operands make ${elements}`)
    }
  }

  /** Bounds what a kernel does whose work is more than its elements: a file of a few bytes may ask for days. */
  expectWork(operations: number): void {
    if (operations > this.#workMax) {
      throw new TinyFault('tiny-too-large', `${this.where}: ${operations} operations, at most ${this.#workMax}`)
    }
  }

  /** Scale and zero point of a tensor that has one of each. */
  quantization(tensor: TinyTensor): { readonly scale: number; readonly zeroPoint: number } {
    const [scale] = tensor.scales
    if (scale === undefined || tensor.scales.length !== 1) {
      this.unsupportedType(`"${tensor.name}" needs one scale, it has ${tensor.scales.length}`)
    }
    return { scale, zeroPoint: tensor.zeroPoints[0] ?? 0 }
  }

  /** A factor by which a kernel multiplies. */
  multiplier(factor: number): QuantizedMultiplier {
    const { multipliers, shifts } = this.multipliers(Float64Array.of(factor))
    return { multiplier: multipliers[0] ?? 0, shift: shifts[0] ?? 0 }
  }

  /** Factors by which a kernel multiplies, each channel by its own. */
  multipliers(factors: Float64Array): { readonly multipliers: Int32Array; readonly shifts: Int32Array } {
    // By index: an iterator over a typed array costs more than what is looked at, in code that runs once.
    for (let at = 0; at < factors.length; at++) {
      const factor = factors[at] ?? 0
      if (!(factor >= 0 && factor < FACTOR_MAX)) this.#oddFactor(factor)
    }
    return quantizedMultipliers(factors)
  }

  /** One below 2^31. */
  largeMultiplier(factor: number): QuantizedMultiplier {
    if (!(factor >= 0 && factor < 2 ** 31)) this.#oddFactor(factor)
    return quantizedMultiplier(factor)
  }

  #oddFactor(factor: number): never {
    this.malformed(`scales make a factor of ${factor}`)
  }

  /** @throws TinyFault unless the zero point is one of int8, so that an element less it fits 16 bits */
  expectZeroPoint(tensor: TinyTensor): void {
    const { zeroPoint } = this.quantization(tensor)
    if (zeroPoint < -128 || zeroPoint > 127) this.malformed(`"${tensor.name}" has the zero point ${zeroPoint}`)
  }

  /** Least and largest integer of an output under its fused activation.
   *  @param field of the options, that holds the activation */
  activation(field: number, output: TinyTensor): readonly [number, number] {
    const activation = this.options?.int8(field) ?? 0
    return (
      activationRange(activation, output) ?? this.unsupported(`fused activation ${activation} on ${output.elementType}`)
    )
  }

  /** Least and largest float32 of an output under its fused activation, as words. @see CalculateActivationRange of kernel_util.h */
  floatActivation(field: number): readonly [number, number] {
    const activation = this.options?.int8(field) ?? 0
    const range = FLOAT_RANGES[activation]
    if (range === undefined) this.unsupported(`fused activation ${activation} on float32`)
    return [float32Word(range[0]), float32Word(range[1])]
  }

  /** @throws TinyFault unless the tensor is quantized around 0, as all of 16 bits are that products are summed of */
  expectSymmetric(tensor: TinyTensor): void {
    const { zeroPoint } = this.quantization(tensor)
    if (zeroPoint !== 0) this.unsupportedType(`"${tensor.name}" is ${tensor.elementType} around ${zeroPoint}, not 0`)
  }

  /** Values of a constant of int32 or int64, at most `most` of them. */
  integers(tensor: TinyTensor, most: number): number[] {
    if (tensor.constant === null) this.unsupported(`"${tensor.name}" is computed, it has to be a constant`)
    if (tensor.elements > most) this.malformed(`"${tensor.name}" has ${tensor.elements} elements, at most ${most}`)
    this.expectType(tensor, 'int32', 'int64')
    const view = this.#view(tensor)
    const values: number[] = []
    const isInt32 = tensor.elementType === 'int32'
    for (let at = 0; at < tensor.elements; at++) {
      values.push(isInt32 ? view.getInt32(4 * at, true) : Number(view.getBigInt64(8 * at, true)))
    }
    return values
  }

  /** Bytes of a constant. */
  constant(tensor: TinyTensor): Uint8Array {
    const { constant } = tensor
    if (constant === null) this.unsupported(`"${tensor.name}" is computed, it has to be a constant`)
    return this.#file.subarray(constant.offset, constant.offset + constant.length)
  }

  /** Where weights of a byte are: those of int8 in the file, those of int4, which are two to a byte, the lower first, unpacked among the tables.
   *  @see UnpackDenseInt4IntoInt8 of TensorFlow Lite, which TFLite Micro does at every run */
  weightBytes(weights: TinyTensor): number {
    this.expectType(weights, 'int8', 'int4')
    if (weights.elementType === 'int8') return weights.address
    const packed = this.constant(weights)
    const bytes = new Int8Array(2 * packed.length)
    for (let at = 0; at < packed.length; at++) {
      const both = packed[at] ?? 0
      bytes[2 * at] = (both << 28) >> 28
      bytes[2 * at + 1] = (both << 24) >> 28
    }
    return this.table(bytes)
  }

  #view(tensor: TinyTensor): DataView {
    const bytes = this.constant(tensor)
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  /** Keeps a table for the kernel, little-endian as the memory is.
   *  @returns its address, a multiple of 16 */
  table(values: Int32Array | Int16Array | Int8Array | Uint8Array | Float32Array): number {
    return this.#place(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  }

  malformed(detail: string): never {
    throw new TinyFault('tiny-malformed', `${this.where}: ${detail}`)
  }

  unsupportedType(detail: string): never {
    throw new TinyFault(
      'tiny-unsupported-type',
      `${this.where}: ${detail}; quantize the graph to int8, or run it on onnxruntime as ONNX`,
    )
  }

  unsupported(detail: string): never {
    throw new TinyFault(
      'tiny-unsupported-operator',
      `${this.where}: ${detail}; convert without it, or run it on onnxruntime as ONNX`,
    )
  }
}

/** A float32 among the words of a kernel. */
export const float32Word = (value: number): number => {
  const view = new DataView(new ArrayBuffer(4))
  view.setFloat32(0, value)
  return view.getInt32(0)
}
