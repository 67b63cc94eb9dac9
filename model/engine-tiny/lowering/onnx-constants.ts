import { elementCount } from '../../onnx/onnx-op.ts'
import type { OnnxModel, OnnxTensor } from '../../onnx/onnx-types.ts'
import { tensorNumbers } from '../../tensor-numbers.ts'
import { TinyFault } from '../tiny-fault.ts'
import type { LoweredNode } from './lowered-node.ts'

/** A constant with how its numbers are to be read: real = scale × (stored − zero point), by index along an axis or all alike. */
export interface QuantizedConstant {
  readonly dims: readonly number[]
  /** int8, or int32 of a bias; of the file itself where nothing had to be changed. */
  readonly stored: Int8Array | Int32Array
  readonly scales: readonly number[]
  readonly axis: number
}

/** Constants of a graph by name: initializers and Constant nodes. */
export function constantsOf({ graph }: OnnxModel): ReadonlyMap<string, OnnxTensor> {
  const constants = new Map(graph.initializers.map((tensor) => [tensor.name, tensor]))
  for (const { opType, attributes, outputs } of graph.nodes) {
    const value = attributes.get('value')
    if (opType === 'Constant' && value?.kind === 'tensor' && outputs[0] !== undefined)
      constants.set(outputs[0], value.value)
  }
  return constants
}

/** @returns all elements as doubles */
export function numbersOf(tensor: OnnxTensor, where: string): readonly number[] {
  const numbers = tensorNumbers(tensor.elementType, tensor.data, tensor.elements)
  if (numbers === null)
    throw new TinyFault('tiny-unsupported-type', `${where}: "${tensor.name}" is ${tensor.elementType}`)
  return numbers
}

/** Stored integers as int8 around 0: of uint8 the middle is 128. */
export function centred(tensor: OnnxTensor, zeroPoints: readonly number[], where: string): Int8Array {
  const { elementType, data, elements } = tensor
  const middle = elementType === 'uint8' ? 128 : 0
  if (zeroPoints.some((zeroPoint) => zeroPoint !== middle)) {
    throw new TinyFault(
      'tiny-unsupported-type',
      `${where}: weights "${tensor.name}" have a zero point other than ${middle}; quantize them symmetrically`,
    )
  }
  if (elementType === 'int8') return new Int8Array(data.buffer, data.byteOffset, elements)
  const numbers = numbersOf(tensor, where)
  if (elementType !== 'uint8')
    throw new TinyFault('tiny-unsupported-type', `${where}: weights "${tensor.name}" are ${elementType}, not 8 bits`)
  return Int8Array.from(numbers, (value) => value - middle)
}

/** Weights of a kernel, which are of 8 bits. */
export function int8Of(node: LoweredNode, { stored }: QuantizedConstant): Int8Array {
  return stored instanceof Int8Array ? stored : node.unsupportedType('weights of int32')
}

export const bytesOf = ({ buffer, byteOffset, length }: Int8Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, length)

/** Moves the axes of a constant, of four dimensions at most. @param permutation of the output's axes, by axis of the input
 *  @returns the same elements where none has to move */
export function transposed(
  values: Int8Array,
  dims: readonly number[],
  permutation: readonly number[],
): { readonly values: Int8Array; readonly dims: readonly number[] } {
  const sizes = permutation.map((axis) => dims[axis] ?? 1)
  // Axes of one element lie anywhere.
  const moved = permutation.filter((axis) => dims[axis] !== 1)
  if (moved.every((axis, at) => at === 0 || axis > (moved[at - 1] ?? 0))) return { values, dims: sizes }
  const steps = permutation.map((axis) => elementCount(dims.slice(axis + 1)))
  while (steps.length < 4) steps.unshift(0)
  const [n0 = 1, n1 = 1, n2 = 1, n3 = 1] = [...Array.from({ length: 4 - sizes.length }, () => 1), ...sizes]
  const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = steps
  const out = new Int8Array(values.length)
  let to = 0
  for (let i = 0; i < n0; i++) {
    for (let j = 0; j < n1; j++) {
      for (let k = 0; k < n2; k++) {
        let from = i * s0 + j * s1 + k * s2
        for (let l = 0; l < n3; l++, from += s3) out[to++] = values[from] ?? 0
      }
    }
  }
  return { values: out, dims: sizes }
}
