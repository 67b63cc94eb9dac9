import { bytesOfElements } from '../../element-type.ts'
import type { KernelCall, NodeContext } from '../node-context.ts'
import type { TinyTensor } from '../tiny-tensor.ts'

/** Copies blocks of elements one after the other to the output, each from its own offset.
 *  @param offsets in elements from the source's start; checked here
 *  @param block elements of each */
export function copyBlocks(
  node: NodeContext,
  from: TinyTensor,
  to: TinyTensor,
  offsets: readonly number[],
  block: number,
): KernelCall {
  const bytes = bytesOfElements(from.elementType, 1)
  if (from.elementType !== to.elementType || bytesOfElements(from.elementType, 2) !== 2 * bytes) {
    node.unsupportedType(`copies from ${from.elementType} to ${to.elementType}`)
  }
  node.expectElements(to, offsets.length * block)
  for (const offset of offsets) {
    if (!(offset >= 0 && offset + block <= from.elements)) node.malformed(`it reads outside "${from.name}"`)
  }
  const table = node.table(Int32Array.from(offsets, (offset) => offset * bytes))
  return { kernel: 'copyBlocks', words: [from.address, to.address, offsets.length, block * bytes, table] }
}

export const productOf = (sizes: readonly number[]): number => sizes.reduce((product, size) => product * size, 1)
