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

/** Calls that copy a box, one where no more than four dimensions stay apart; the first and the last element of either side are in its tensor,
 *  or the node is refused. */
export function copyBox(node: NodeContext, box: Box): KernelCall[] {
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
  const walk: Step[] = []
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    const [size, from, to] = [sizes[axis] ?? 1, box.sourceStrides[axis] ?? 0, box.destinationStrides[axis] ?? 0]
    const inner = walk[0]
    if (size === 1) continue
    if (inner !== undefined && from === inner.size * inner.from && to === inner.size * inner.to) inner.size *= size
    else walk.unshift({ size, from, to })
  }
  const outer = walk.splice(0, Math.max(0, walk.length - DIMS))
  if (walk.length === 0) walk.push({ size: 1, from: 1, to: 1 })
  while (walk.length < DIMS) walk.unshift({ size: 1, from: 0, to: 0 })
  const [first, to] = [source.address + bytes * box.sourceAt, destination.address + bytes * box.destinationAt]
  return starts(outer).map((at) => ({
    kernel: 'copyStrided',
    words: [
      ...[first + bytes * at.from, to + bytes * at.to, bytes],
      ...walk.map((step) => step.size),
      ...walk.map((step) => bytes * step.from),
      ...walk.map((step) => bytes * step.to),
    ],
  }))
}

interface Step {
  size: number
  from: number
  to: number
}

/** Where each box of the inner dimensions begins, in elements. */
function starts([axis, ...inner]: readonly Step[]): { readonly from: number; readonly to: number }[] {
  if (axis === undefined) return [{ from: 0, to: 0 }]
  const within = starts(inner)
  return Array.from({ length: axis.size }, (_, index) => index).flatMap((index) =>
    within.map(({ from, to }) => ({ from: from + index * axis.from, to: to + index * axis.to })),
  )
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
