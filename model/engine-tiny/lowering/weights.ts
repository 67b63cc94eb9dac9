import type { LoweredNode } from './lowered-node.ts'
import type { Stored } from './lowered-value.ts'
import type { LoweredValues } from './lowered-values.ts'
import { bytesOf, numbersOf, type QuantizedConstant } from './onnx-constants.ts'

/** Constants of convolutions and products, as TFLite has them. */

/** @returns the tensor of int8 weights, with one scale, or one for each index along `dimension` */
export function weightTensor(
  graph: LoweredValues,
  node: LoweredNode,
  values: Int8Array,
  shape: readonly number[],
  scales: readonly number[],
  dimension: number,
): number {
  return graph.out.tensor({
    ...{ name: node.inputName(1), elementType: 'int8', shape, data: bytesOf(values) },
    quantization: { scales, zeroPoints: scales.map(() => 0), dimension },
  })
}

/** @returns one scale, or one for each output channel */
export function channelScales(
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
export function biasTensor(
  graph: LoweredValues,
  node: LoweredNode,
  at: number,
  x: Stored,
  weightScales: readonly number[],
  channels: number,
): number {
  const name = at < 0 ? '' : node.inputName(at)
  if (name === '') return -1
  const value = graph.values.get(name)
  const tensor = graph.constants.get(name)
  const { stored, scales } =
    value?.kind === 'constant'
      ? value.constant
      : tensor !== undefined
        ? { stored: numbersOf(tensor, node.where), scales: tensor.elementType === 'int32' ? [] : [1] }
        : node.unsupported('a computed bias')
  if (stored.length !== channels) node.unsupported(`a bias of ${stored.length} for ${channels} channels`)
  const integers = new Int32Array(channels)
  for (let channel = 0; channel < channels; channel++) {
    const integer = stored[channel] ?? 0
    const sumScale = (x.quantization?.scale ?? 1) * (weightScales[weightScales.length === 1 ? 0 : channel] ?? 1)
    const scale = scales.length === 0 ? sumScale : (scales[scales.length === 1 ? 0 : channel] ?? 1)
    // Scales of sums are products that were rounded to float32 when the file was written.
    const same = Math.abs(scale / sumScale - 1) < 1e-5
    const rounded = same ? integer : Math.round((integer * scale) / sumScale)
    if (!(Math.abs(rounded) <= 0x7fffffff)) node.unsupported(`a bias of ${integer * scale}, beyond 32 bits of the sums`)
    integers[channel] = rounded
  }
  return graph.out.int32s(name, integers)
}
