import type { MappedTensor } from '../model/mapped-tensor.ts'
import { readTensorMap } from '../model/tensor-map.ts'

/** How a retrained network differs from the deployed one. */
export type WeightChanges = {
  /** int8 weights that differ, of how many */
  readonly weights: number
  readonly weightsTotal: number
  /** int32 biases that differ, of how many */
  readonly biases: number
  readonly biasesTotal: number
  /** largest change of a weight, in int8 steps */
  readonly largestStep: number
  /** Whether every byte that is no weight and no bias is the same: scales, zero points, names, graph. */
  readonly onlyWeightsAndBiases: boolean
}

const tensorsOf = (network: Uint8Array): readonly MappedTensor[] => {
  const map = readTensorMap(network)
  if (!map.ok) throw new Error(`${map.error.code}: ${map.error.detail}`)
  return map.value.tensors
}

/** Counts what differs between two int8 networks of the zoo.
 *  @param base ONNX file of the deployed network; @param result of the one trained from it
 *  @throws Error when a file is no network, or tensors differ in name, type or place: then there is nothing to count */
export const weightChanges = (base: Uint8Array, result: Uint8Array): WeightChanges => {
  const [from, to] = [tensorsOf(base), tensorsOf(result)]
  // Copies made so, since a Buffer's own slice() would be a view and blank the caller's bytes.
  const rest = [Uint8Array.from(base), Uint8Array.from(result)] as const
  const counts = { weights: 0, weightsTotal: 0, biases: 0, biasesTotal: 0, largestStep: 0 }
  if (from.length !== to.length) throw new Error(`${from.length} tensors became ${to.length}`)
  from.forEach((tensor, index) => {
    const other = to[index]!
    const same = ({ name, elementType, range }: MappedTensor) => `${name} ${elementType} ${range.length}`
    if (same(tensor) !== same(other)) throw new Error(`${same(tensor)} became ${same(other)}`)
    const old = base.subarray(tensor.range.offset, tensor.range.offset + tensor.range.length)
    const now = result.subarray(other.range.offset, other.range.offset + other.range.length)
    if (tensor.role === 'weight' && tensor.elementType === 'int8') {
      const [a, b] = [Int8Array.from(old), Int8Array.from(now)]
      counts.weightsTotal += a.length
      a.forEach((value, i) => {
        if (value !== b[i]) counts.weights += 1
        counts.largestStep = Math.max(counts.largestStep, Math.abs(value - b[i]!))
      })
    } else if (tensor.role === 'bias' && tensor.elementType === 'int32') {
      counts.biasesTotal += old.length / 4
      for (let at = 0; at < old.length; at += 4) {
        if (old.subarray(at, at + 4).some((byte, i) => byte !== now[at + i])) counts.biases += 1
      }
    } else return
    rest[0].fill(0, tensor.range.offset, tensor.range.offset + tensor.range.length)
    rest[1].fill(0, other.range.offset, other.range.offset + other.range.length)
  })
  const onlyWeightsAndBiases =
    rest[0].length === rest[1].length && rest[0].every((byte, index) => byte === rest[1][index])
  return { ...counts, onlyWeightsAndBiases }
}
