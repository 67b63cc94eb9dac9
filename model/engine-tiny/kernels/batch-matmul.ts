import type { NodeContext, Prepared } from '../node-context.ts'
import { broadcastWalk } from './broadcast.ts'

/** BatchMatMulOptions of the schema: which operand lies turned. */
const MATMUL = { leftTurned: 0, rightTurned: 1 } as const
const MATMUL_TYPES = { int8: 0, int16: 1, float32: 2 } as const
const BATCH_DIMS = 4

/** Left [..., rows, depth], right [..., depth, columns], either one turned; batches are repeated where one has one. @see batch_matmul.cc of TFLite Micro: int16 is around 0 */
export function prepareBatchMatmul(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [left, right, output] = [node.input(0), node.input(1), node.output(0)]
  node.expectType(output, 'int8', 'int16', 'float32')
  for (const tensor of [left, right]) {
    node.expectType(tensor, output.elementType)
    if (tensor.shape.length < 2) node.malformed(`"${tensor.name}" is [${tensor.shape}], which is no matrix`)
  }
  const type = output.elementType as keyof typeof MATMUL_TYPES
  const turned = [MATMUL.leftTurned, MATMUL.rightTurned].map((field) => (node.options?.int8(field) ?? 0) !== 0)
  const [a = 0, b = 0] = left.shape.slice(-2)
  const [c = 0, d = 0] = right.shape.slice(-2)
  const [rows, depth] = turned[0] ? [b, a] : [a, b]
  const [inner, columns] = turned[1] ? [d, c] : [c, d]
  if (depth !== inner) node.malformed(`[${left.shape}] by [${right.shape}]: ${depth} is not ${inner}`)
  const batches = output.shape.slice(0, -2)
  node.expectShape(output, [...batches, rows, columns])
  const walk = broadcastWalk(node, left.shape.slice(0, -2), right.shape.slice(0, -2), batches)
  const own = <T>(six: readonly T[]): readonly T[] => six.slice(-BATCH_DIMS)
  node.expectWork(output.elements * depth)
  const places = [left, right, output].map(({ address }) => address)
  const strides = [
    own(walk.left).map((step) => step * rows * depth),
    own(walk.right).map((step) => step * depth * columns),
  ].flat()
  const steps = [...(turned[0] ? [1, rows] : [depth, 1]), ...(turned[1] ? [1, depth] : [columns, 1])]
  const words = [...places, ...own(walk.sizes), ...strides, rows, columns, depth, ...steps, MATMUL_TYPES[type]]
  return { calls: [{ kernel: 'batchMatmul', words: [...words, ...matmulFactors(node)] }] }
}

/** Zero points of left, right and output, multiplier and shift. */
function matmulFactors(node: NodeContext): readonly number[] {
  const tensors = [node.input(0), node.input(1), node.output(0)]
  const [left, right, output] = tensors as [(typeof tensors)[0], (typeof tensors)[0], (typeof tensors)[0]]
  if (output.elementType === 'float32') return [0, 0, 0, 0, 0]
  for (const tensor of tensors) {
    if (output.elementType === 'int16') node.expectSymmetric(tensor)
    else node.expectZeroPoint(tensor)
  }
  const scale = (tensor: typeof left): number => node.quantization(tensor).scale
  const factor = Math.fround(scale(left) * scale(right)) / scale(output)
  // A sum of 64 bits is moved to the right.
  if (output.elementType === 'int16' && factor >= 128) node.malformed('a factor of 128 or more')
  const { multiplier, shift } = node.multiplier(factor)
  return [...tensors.map((tensor) => node.quantization(tensor).zeroPoint), multiplier, shift]
}
