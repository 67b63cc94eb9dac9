/** Two networks of MLPerf Tiny by their published layers, as quantized ONNX with weights of a pattern, on which time does not depend: their trained files are not in the repository.
 *  @see the Keras models of anomaly_detection and of streaming_wakeword in the repository mlcommons/tiny */

const TYPES = { int8: 3, int32: 6, float32: 1 } as const
type Type = keyof typeof TYPES

// Protocol buffers: fields are a number and a wire type, 0 for a varint and 2 for bytes that their length precedes.
const varint = (value: number): number[] => {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
  return [...bytes, rest]
}
const number = (field: number, value: number): Uint8Array => Uint8Array.from([...varint(field * 8), ...varint(value)])
const bytes = (field: number, ...parts: readonly Uint8Array[]): Uint8Array => {
  const body = Buffer.concat(parts)
  return Buffer.concat([Uint8Array.from([...varint(field * 8 + 2), ...varint(body.length)]), body])
}
const text = (field: number, value: string): Uint8Array => bytes(field, new TextEncoder().encode(value))

const SCALE = 0.05
const WEIGHT_SCALE = 0.01
const pattern = (count: number): number[] => Array.from({ length: count }, (_, at) => ((at * 37 + 11) % 61) - 30)

class QuantizedLayers {
  readonly #nodes: Uint8Array[] = []
  readonly #initializers: Uint8Array[] = []
  readonly #input: Uint8Array
  #value: string
  #names = 0

  constructor(shape: readonly number[]) {
    this.#input = this.#end(11, 'input', shape)
    this.#value = this.#dequantized('input', SCALE)
  }

  #end(field: number, name: string, shape: readonly number[]): Uint8Array {
    const dims = shape.map((dim) => bytes(1, number(1, dim)))
    return bytes(field, text(1, name), bytes(2, bytes(1, number(1, TYPES.int8), bytes(2, ...dims))))
  }

  #constant(type: Type, dims: readonly number[], values: readonly number[]): string {
    const name = `c${++this.#names}`
    const array = { int8: Int8Array, int32: Int32Array, float32: Float32Array }[type].from(values)
    const sizes = dims.map((dim) => number(1, dim))
    this.#initializers.push(
      bytes(5, ...sizes, number(2, TYPES[type]), text(8, name), bytes(9, new Uint8Array(array.buffer))),
    )
    return name
  }

  #op(type: string, inputs: readonly string[], attributes: readonly Uint8Array[] = []): string {
    const output = `v${++this.#names}`
    this.#nodes.push(bytes(1, ...inputs.map((input) => text(1, input)), text(2, output), text(4, type), ...attributes))
    return output
  }

  #parameters(scale: number, zero = 0, type: 'int8' | 'int32' = 'int8'): string[] {
    return [this.#constant('float32', [], [scale]), this.#constant(type, [], [zero])]
  }

  #dequantized(value: string, scale: number, zero = 0, type: 'int8' | 'int32' = 'int8'): string {
    return this.#op('DequantizeLinear', [value, ...this.#parameters(scale, zero, type)])
  }

  #weights(type: 'int8' | 'int32', dims: readonly number[]): string {
    const stored = this.#constant(type, dims, pattern(dims.reduce((a, b) => a * b, 1)))
    // A bias is in the scale of the sums.
    return this.#dequantized(stored, type === 'int8' ? WEIGHT_SCALE : Math.fround(SCALE * WEIGHT_SCALE), 0, type)
  }

  #layer(value: string, relu: boolean): void {
    const made = relu ? this.#op('Relu', [value]) : value
    // What is not negative takes all of int8, as converters have it; onnxruntime joins layers of such.
    const zero = relu ? -128 : 0
    const stored = this.#op('QuantizeLinear', [made, ...this.#parameters(SCALE, zero)])
    this.#value = this.#dequantized(stored, SCALE, zero)
  }

  dense(inputs: number, outputs: number, relu = true): this {
    const operands = [this.#value, this.#weights('int8', [outputs, inputs]), this.#weights('int32', [outputs])]
    this.#layer(this.#op('Gemm', operands, [bytes(5, text(1, 'transB'), number(3, 1), number(20, 2))]), relu)
    return this
  }

  /** Without padding, along the first axis of the image. */
  conv(channels: number, filters: number, length: number, group: number, relu: boolean): this {
    const weights = this.#weights('int8', [filters, channels / group, length, 1])
    const operands = [this.#value, weights, this.#weights('int32', [filters])]
    const ints = (name: string, values: readonly number[]): Uint8Array =>
      bytes(5, text(1, name), ...values.map((value) => number(8, value)), number(20, 7))
    this.#layer(
      this.#op('Conv', operands, [
        ...[ints('kernel_shape', [length, 1]), ints('strides', [1, 1]), ints('pads', [0, 0, 0, 0])],
        bytes(5, text(1, 'group'), number(3, group), number(20, 2)),
      ]),
      relu,
    )
    return this
  }

  flatten(): this {
    this.#value = this.#op('Flatten', [this.#value], [bytes(5, text(1, 'axis'), number(3, 1), number(20, 2))])
    return this
  }

  model(outputs: number): Uint8Array {
    const output = this.#op('QuantizeLinear', [this.#value, ...this.#parameters(SCALE)])
    const graph = [
      ...this.#nodes,
      text(2, 'bench'),
      ...this.#initializers,
      this.#input,
      this.#end(12, output, [1, outputs]),
    ]
    return Buffer.concat([number(1, 8), bytes(7, ...graph), bytes(8, text(1, ''), number(2, 13))])
  }
}

/** Ten dense layers, 267 928 multiply-accumulates. */
export function anomalyDetector(): Uint8Array {
  const layers = new QuantizedLayers([1, 640])
  const sizes = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
  for (const [at, inputs] of sizes.slice(0, -1).entries()) layers.dense(inputs, sizes[at + 1]!, at + 2 < sizes.length)
  return layers.model(640)
}

/** Four depthwise separable convolutions over 30 frames of 40 bands, and a dense layer. */
export function streamingWakeWord(): Uint8Array {
  const layers = new QuantizedLayers([1, 40, 30, 1])
  const blocks = [
    [40, 128, 3],
    [128, 64, 5],
    [64, 64, 10],
    [64, 32, 15],
  ] as const
  for (const [channels, filters, length] of blocks) {
    layers.conv(channels, channels, length, channels, false).conv(channels, filters, 1, 1, true)
  }
  return layers.flatten().dense(32, 3, false).model(3)
}
