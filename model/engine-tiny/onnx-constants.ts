import { elementCount } from '../onnx/onnx-op.ts'
import type { OnnxModel, OnnxTensor } from '../onnx/onnx-types.ts'
import { tensorNumbers } from '../tensor-numbers.ts'
import { TinyFault } from './tiny-fault.ts'

/** A constant with how its numbers are to be read: real = scale × (stored − zero point), by index along an axis or all alike. */
export interface QuantizedConstant {
  readonly dims: readonly number[]
  readonly stored: readonly number[]
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
export function centred(tensor: OnnxTensor, zeroPoints: readonly number[], where: string): readonly number[] {
  const middle = tensor.elementType === 'uint8' ? 128 : 0
  if (zeroPoints.some((zeroPoint) => zeroPoint !== middle)) {
    throw new TinyFault(
      'tiny-unsupported-type',
      `${where}: weights "${tensor.name}" have a zero point other than ${middle}; quantize them symmetrically`,
    )
  }
  return numbersOf(tensor, where).map((value) => value - middle)
}

/** Moves the axes of a constant. @param permutation of the output's axes, by axis of the input */
export function transposed(
  values: readonly number[],
  dims: readonly number[],
  permutation: readonly number[],
): { readonly values: readonly number[]; readonly dims: readonly number[] } {
  const strides = dims.map((_, axis) => elementCount(dims.slice(axis + 1)))
  const sizes = permutation.map((axis) => dims[axis] ?? 1)
  const steps = permutation.map((axis) => strides[axis] ?? 0)
  const out: number[] = []
  const walk = (axis: number, at: number): void => {
    if (axis === sizes.length) {
      out.push(values[at] ?? 0)
      return
    }
    for (let index = 0; index < (sizes[axis] ?? 1); index++) walk(axis + 1, at + index * (steps[axis] ?? 0))
  }
  walk(0, 0)
  return { values: out, dims: sizes }
}
