import type { NodeContext } from '../node-context.ts'
import { TINY_LIMITS } from '../tiny-limits.ts'

/** Two operands read together: sizes from the outermost, and how far each moves in elements. */
export interface BroadcastWalk {
  readonly sizes: readonly number[]
  readonly left: readonly number[]
  readonly right: readonly number[]
}

/** Strides with which two shapes make a third; a dimension of 1, or one that is missing in front, is repeated.
 *  @returns six of each; dimensions that both run through together are one */
export function broadcastWalk(
  node: NodeContext,
  left: readonly number[],
  right: readonly number[],
  output: readonly number[],
): BroadcastWalk {
  const rank = Math.max(left.length, right.length)
  const at = (shape: readonly number[], axis: number): number => shape[axis - rank + shape.length] ?? 1
  const walk: { size: number; left: number; right: number }[] = []
  const made: number[] = []
  let [leftStride, rightStride] = [1, 1]
  for (let axis = rank - 1; axis >= 0; axis--) {
    const [a, b] = [at(left, axis), at(right, axis)]
    if (a !== b && a !== 1 && b !== 1) node.malformed(`[${left.join(', ')}] and [${right.join(', ')}] do not fit`)
    const size = Math.max(a, b)
    made.unshift(size)
    const inner = walk[0]
    const step = { size, left: a === 1 ? 0 : leftStride, right: b === 1 ? 0 : rightStride }
    leftStride *= a
    rightStride *= b
    if (size === 1) continue
    if (inner !== undefined && step.left === inner.size * inner.left && step.right === inner.size * inner.right) {
      inner.size *= size
    } else {
      walk.unshift(step)
    }
  }
  if (made.length !== output.length || made.some((size, axis) => size !== output[axis])) {
    node.malformed(
      `[${left.join(', ')}] and [${right.join(', ')}] make [${made.join(', ')}], not [${output.join(', ')}]`,
    )
  }
  while (walk.length < TINY_LIMITS.dims) walk.unshift({ size: 1, left: 0, right: 0 })
  return {
    sizes: walk.map((step) => step.size),
    left: walk.map((step) => step.left),
    right: walk.map((step) => step.right),
  }
}
