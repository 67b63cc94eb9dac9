import { bytesOfElements } from '../../element-type.ts'
import type { KernelCall, NodeContext } from '../node-context.ts'
import type { TinyTensor } from '../tiny-tensor.ts'

/** What is copied: elements of a box, from strides to strides. All numbers count elements; strides may be negative or 0. */
export interface Box {
  readonly source: TinyTensor
  readonly sourceAt: number
  readonly sourceStrides: readonly number[]
  readonly destination: TinyTensor
  readonly destinationAt: number
  readonly destinationStrides: readonly number[]
  readonly sizes: readonly number[]
}

/** Dimensions of `copyStrided`. */
const DIMS = 4

/** How far apart neighbours are along each dimension of a tensor. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides: number[] = []
  let stride = 1
  for (const size of [...shape].reverse()) {
    strides.unshift(stride)
    stride *= size
  }
  return strides
}

/** A call that copies a box; the first and the last element of either side are in its tensor, or the node is refused. */
export function copyBox(node: NodeContext, box: Box): KernelCall {
  const { source, destination, sizes } = box
  const bytes = bytesOfElements(source.elementType, 1)
  if (
    source.elementType !== destination.elementType ||
    bytesOfElements(source.elementType, 2) !== 2 * bytes ||
    bytes > 8
  ) {
    node.unsupportedType(`copies from ${source.elementType} to ${destination.elementType}`)
  }
  expectInside(node, source, box.sourceAt, box.sourceStrides, sizes)
  expectInside(node, destination, box.destinationAt, box.destinationStrides, sizes)
  const walk: { size: number; from: number; to: number }[] = []
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    const [size, from, to] = [sizes[axis] ?? 1, box.sourceStrides[axis] ?? 0, box.destinationStrides[axis] ?? 0]
    const inner = walk[0]
    if (size === 1) continue
    if (inner !== undefined && from === inner.size * inner.from && to === inner.size * inner.to) inner.size *= size
    else walk.unshift({ size, from, to })
  }
  if (walk.length > DIMS)
    node.unsupported(`it moves data along ${walk.length} dimensions that do not join, at most ${DIMS}`)
  if (walk.length === 0) walk.push({ size: 1, from: 1, to: 1 })
  while (walk.length < DIMS) walk.unshift({ size: 1, from: 0, to: 0 })
  const words = [
    ...[source.address + bytes * box.sourceAt, destination.address + bytes * box.destinationAt, bytes],
    ...walk.map((step) => step.size),
    ...walk.map((step) => bytes * step.from),
    ...walk.map((step) => bytes * step.to),
  ]
  return { kernel: 'copyStrided', words }
}

function expectInside(
  node: NodeContext,
  tensor: TinyTensor,
  at: number,
  strides: readonly number[],
  sizes: readonly number[],
): void {
  let [least, most] = [at, at]
  for (const [axis, size] of sizes.entries()) {
    const reach = (size - 1) * (strides[axis] ?? 0)
    if (reach < 0) least += reach
    else most += reach
  }
  if (least < 0 || most >= tensor.elements || sizes.some((size) => size < 1)) {
    node.malformed(`it reaches elements ${least} to ${most} of "${tensor.name}", which has ${tensor.elements}`)
  }
}
