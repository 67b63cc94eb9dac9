import { bytesOfElements } from '../../element-type.ts'
import type { KernelCall, NodeContext } from '../node-context.ts'
import type { TinyTensor } from '../tiny-tensor.ts'

/** Moves of data that know no number: boxes between strides, and blocks by their offsets. */

/** Bytes of one element of what is only moved: 1, 2, 4 or 8. Source and destination have the same type. */
export function movedElementBytes(node: NodeContext, from: TinyTensor, to: TinyTensor): number {
  if (from.elementType !== to.elementType) {
    node.malformed(`"${from.name}" is ${from.elementType}, "${to.name}" is ${to.elementType}`)
  }
  const bytes = bytesOfElements(from.elementType, 8) / 8
  if (bytes !== 1 && bytes !== 2 && bytes !== 4 && bytes !== 8) node.unsupportedType(`elements of ${from.elementType}`)
  return bytes
}

/** Bytes from one index to the next, for each dimension of a tensor in row-major order. */
export function rowMajorStrides(shape: readonly number[], elementBytes: number): number[] {
  const strides: number[] = []
  let stride = elementBytes
  for (const dim of shape.toReversed()) {
    strides.unshift(stride)
    stride *= dim
  }
  return strides
}

/** A box of elements in a tensor: where its first element is, in bytes, and how far apart the next ones are. */
export interface Box {
  readonly tensor: TinyTensor
  readonly offset: number
  readonly strides: readonly number[]
}

interface Axis {
  readonly size: number
  readonly from: number
  readonly to: number
}

const BOX_DIMS = 4

/** Copies a box, whose elements are all inside both tensors, or refuses.
 *  @param sizes one for each dimension; more than four that cannot be joined are copied by several calls */
export function boxCopies(
  node: NodeContext,
  sizes: readonly number[],
  from: Box,
  to: Box,
  elementBytes: number,
): KernelCall[] {
  for (const box of [from, to]) {
    const [least, most] = sizes.reduce(
      ([low, high], size, axis) => {
        const reach = (size - 1) * (box.strides[axis] ?? 0)
        return [low + Math.min(0, reach), high + Math.max(0, reach)]
      },
      [box.offset, box.offset + elementBytes],
    )
    if (sizes.some((size) => size < 1) || least < 0 || most > box.tensor.bytes) {
      node.malformed(`a box of [${sizes.join(', ')}] is outside "${box.tensor.name}"`)
    }
  }
  const axes = sizes.map((size, axis) => ({ size, from: from.strides[axis] ?? 0, to: to.strides[axis] ?? 0 }))
  const joined = join(axes)
  const outer = joined.slice(0, Math.max(0, joined.length - BOX_DIMS))
  const inner = joined.slice(outer.length)
  while (inner.length < BOX_DIMS) inner.unshift({ size: 1, from: 0, to: 0 })
  const words = (source: number, destination: number) => [
    ...[source, destination, elementBytes],
    ...inner.map((axis) => axis.size),
    ...inner.map((axis) => axis.from),
    ...inner.map((axis) => axis.to),
  ]
  return starts(outer, from.tensor.address + from.offset, to.tensor.address + to.offset).map(
    ([source, destination]) => ({
      kernel: 'copyStrided',
      words: words(source, destination),
    }),
  )
}

/** Axes of one index are none, and two of which one continues the other are one. */
function join(axes: readonly Axis[]): Axis[] {
  const out: Axis[] = []
  for (const axis of axes) {
    if (axis.size === 1) continue
    const before = out.at(-1)
    if (before && before.from === axis.size * axis.from && before.to === axis.size * axis.to) {
      out[out.length - 1] = { size: before.size * axis.size, from: axis.from, to: axis.to }
    } else out.push(axis)
  }
  return out
}

/** Where each inner box begins. */
function starts(outer: readonly Axis[], source: number, destination: number): (readonly [number, number])[] {
  const [axis, ...rest] = outer
  if (axis === undefined) return [[source, destination]]
  return Array.from({ length: axis.size }, (_, index) => index).flatMap((index) =>
    starts(rest, source + index * axis.from, destination + index * axis.to),
  )
}

/** Copies blocks of equal size one after the other to the output, each from its own offset.
 *  @param offsets in bytes from the source's start; checked here */
export function blockCopies(
  node: NodeContext,
  from: TinyTensor,
  to: TinyTensor,
  offsets: Int32Array,
  blockBytes: number,
): KernelCall[] {
  if (offsets.length * blockBytes !== to.bytes) {
    node.malformed(`"${to.name}" has ${to.bytes} bytes, its operands make ${offsets.length * blockBytes}`)
  }
  for (const offset of offsets) {
    if (offset < 0 || offset + blockBytes > from.bytes) node.malformed(`an index is outside "${from.name}"`)
  }
  return [
    {
      kernel: 'copyBlocks',
      words: [from.address, to.address, offsets.length, blockBytes, node.table(offsets)],
    },
  ]
}

/** An axis as the file gives it: negative ones count from the end.
 *  @param dims of the tensor that it is an axis of */
export function axisOf(node: NodeContext, axis: number, dims: number): number {
  const resolved = axis < 0 ? axis + dims : axis
  if (!(Number.isInteger(axis) && resolved >= 0 && resolved < dims))
    node.malformed(`axis ${axis} of ${dims} dimensions`)
  return resolved
}

export const productOf = (sizes: readonly number[]): number => sizes.reduce((product, size) => product * size, 1)
