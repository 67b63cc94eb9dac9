import { bytesOfElements } from '../../element-type.ts'
import { int8Field, int32Field } from '../../tflite/flatbuffer-writer.ts'
import { type WrittenOperator, type WrittenTensor, writeTflite } from '../../tflite/tflite-writer.ts'

/** Affine quantization of an int8 tensor. */
export interface Int8Quantization {
  readonly scale: number
  readonly zeroPoint: number
}

export const sameQuantization = (a: Int8Quantization, b: Int8Quantization): boolean =>
  a.scale === b.scale && a.zeroPoint === b.zeroPoint

/** A TFLite graph on the way, as the lowering of ONNX makes it. */
export class LoweredGraphBuilder {
  readonly #tensors: WrittenTensor[] = []
  readonly #operators: WrittenOperator[] = []

  /** @returns the tensor's index */
  tensor(tensor: Omit<WrittenTensor, 'data' | 'quantization'> & Partial<WrittenTensor>): number {
    return this.#tensors.push({ data: null, quantization: null, ...tensor }) - 1
  }

  int8(name: string, shape: readonly number[], { scale, zeroPoint }: Int8Quantization): number {
    const quantization = { scales: [scale], zeroPoints: [zeroPoint], dimension: 0 }
    return this.tensor({ name, elementType: 'int8', shape, quantization })
  }

  int32s(name: string, values: ArrayLike<number>, shape: readonly number[] = [values.length]): number {
    const data = new Uint8Array(bytesOfElements('int32', values.length))
    const view = new DataView(data.buffer)
    for (let at = 0; at < values.length; at++) view.setInt32(4 * at, values[at] ?? 0, true)
    return this.tensor({ name, elementType: 'int32', shape, data })
  }

  shapeOf(tensor: number): readonly number[] {
    return this.#tensors[tensor]?.shape ?? []
  }

  /** Says of a tensor that is already there how it is quantized. */
  quantize(tensor: number, { scale, zeroPoint }: Int8Quantization): void {
    const known = this.#tensors[tensor]
    if (known === undefined) return
    const stored = known.elementType === 'uint8' ? zeroPoint + 128 : zeroPoint
    this.#tensors[tensor] = { ...known, quantization: { scales: [scale], zeroPoints: [stored], dimension: 0 } }
  }

  /** @param options values of the fields of its options by number: bytes where they are flags or enumerations, else words */
  operator(code: number, inputs: readonly number[], output: number, options: readonly OptionField[] = []): void {
    const fields = options.map((option) =>
      option === null ? null : 'byte' in option ? int8Field(option.byte) : int32Field(option.word),
    )
    this.#operators.push({ code, inputs, outputs: [output], options: fields })
  }

  write(inputs: readonly number[], outputs: readonly number[]): Uint8Array {
    return writeTflite({ tensors: this.#tensors, operators: this.#operators, inputs, outputs })
  }
}

type OptionField = { readonly byte: number } | { readonly word: number } | null

/** A field of options. */
export const byte = (value: number): OptionField => ({ byte: value })
export const word = (value: number): OptionField => ({ word: value })
