import { bytesOfElements } from '../../element-type.ts'
import type { KernelCall, NodeContext, Prepared } from '../node-context.ts'
import { TINY_LIMITS } from '../tiny-limits.ts'
import type { TinyTensor } from '../tiny-tensor.ts'
import { stridesOf } from './box.ts'

/** Copies whose place is computed while the graph runs. Their sizes are those that the file states: no run can make another shape. */

/** A box that lies along all dimensions of the side where its place is computed. */
export interface PlacedBox {
  readonly source: TinyTensor
  readonly destination: TinyTensor
  /** Which of the two is larger than the box, or as large. */
  readonly placed: 'source' | 'destination'
  /** Of the box, one for each dimension of the placed side; no larger than that. */
  readonly sizes: readonly number[]
  /** Where it begins, an integer of 32 or 64 bits for each dimension; those of 64 bits are read as far as 32. */
  readonly begins: TinyTensor
  /** Whether every second of `begins` counts, as of paddings. */
  readonly paired?: boolean
  /** Steps of the placed side, one for each dimension; all 1 by default. */
  readonly steps?: TinyTensor
  /** For each dimension: whether negative begins count from its end. */
  readonly fromEnd?: boolean
  /** For each dimension: whether it begins at its end, whatever the begin says. */
  readonly open?: readonly boolean[]
}

/** Where a begin or a step would reach outside, the nearest that does not is taken: the reference kernels do not have these, or read what lies there. */
export function copyPlaced(node: NodeContext, box: PlacedBox): KernelCall {
  const { source, destination, sizes, begins, steps } = box
  const whole = box.placed === 'source' ? source : destination
  const bytes = elementBytes(node, source, destination)
  node.expectType(begins, 'int32', 'int64')
  node.expectElements(begins, whole.shape.length * (box.paired ? 2 : 1))
  if (steps) {
    node.expectType(steps, 'int32')
    node.expectElements(steps, whole.shape.length)
  }
  if (sizes.length !== whole.shape.length || sizes.some((size, axis) => size < 1 || size > (whole.shape[axis] ?? 0))) {
    node.malformed(`a box of [${sizes.join(', ')}] does not fit into [${whole.shape.join(', ')}]`)
  }
  const part = box.placed === 'source' ? destination : source
  node.expectElements(
    part,
    sizes.reduce((product, size) => product * size, 1),
  )
  const [inside, beside] = [stridesOf(whole.shape), stridesOf(sizes)]
  const [from, to] = box.placed === 'source' ? [inside, beside] : [beside, inside]
  const axes = sizes.flatMap((size, axis) => [
    ...[size, bytes * (from[axis] ?? 0), bytes * (to[axis] ?? 0), whole.shape[axis] ?? 0],
    ...[(box.fromEnd ? 1 : 0) + (box.open?.[axis] ? 2 : 0), 1],
  ])
  const apart = bytesOfElements(begins.elementType, 1) * (box.paired ? 2 : 1)
  const words = [source.address, destination.address, bytes, sizes.length, begins.address, apart, steps?.address ?? 0]
  return { kernel: 'copyPlaced', words: [...words, box.placed === 'source' ? 1 : 0, ...axes] }
}

/** Bytes of an element that is copied. */
function elementBytes(node: NodeContext, source: TinyTensor, destination: TinyTensor): number {
  const bytes = bytesOfElements(source.elementType, 1)
  if (source.elementType !== destination.elementType || bytesOfElements(source.elementType, 2) !== 2 * bytes) {
    node.unsupportedType(`copies from ${source.elementType} to ${destination.elementType}`)
  }
  return bytes
}

/** MirrorPadOptions of the schema: 0 reflects without the edge, 1 with it. */
const MIRROR = { mode: 0 } as const

/** Input, paddings of int32 or int64, constant or computed. @see mirror_pad.cc of TFLite Micro, which has it for int8 and float32 */
export function prepareMirrorPad(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, paddings, output] = [node.input(0), node.input(1), node.output(0)]
  const { shape } = input
  node.expectType(paddings, 'int32', 'int64')
  node.expectElements(paddings, 2 * shape.length)
  const mode = node.options?.int8(MIRROR.mode) ?? 0
  if (mode !== 0 && mode !== 1) node.malformed(`mode ${mode}`)
  const bytes = elementBytes(node, input, output)
  if (output.shape.length !== shape.length) node.malformed(`[${shape}] and [${output.shape}]`)
  // One less than the dimension is all that a reflection has.
  const most = shape.map((dim) => dim - (mode === 0 ? 1 : 0))
  if (paddings.constant !== null) {
    const sizes = node.integers(paddings, 2 * TINY_LIMITS.dims)
    if (sizes.some((size, at) => size < 0 || size > (most[at >> 1] ?? 0)))
      node.malformed(`paddings [${sizes}] of [${shape}]`)
    node.expectShape(
      output,
      shape.map((dim, axis) => dim + (sizes[2 * axis] ?? 0) + (sizes[2 * axis + 1] ?? 0)),
    )
  } else if (
    shape.some(
      (dim, axis) => (output.shape[axis] ?? 0) < dim || (output.shape[axis] ?? 0) > dim + 2 * (most[axis] ?? 0),
    )
  ) {
    node.malformed(`no paddings make [${output.shape}] of [${shape}]`)
  }
  const [from, to] = [stridesOf(shape), stridesOf(output.shape)]
  const axes = shape.flatMap((dim, axis) => [
    dim,
    output.shape[axis] ?? 0,
    bytes * (from[axis] ?? 0),
    bytes * (to[axis] ?? 0),
  ])
  const words = [
    input.address,
    output.address,
    bytes,
    shape.length,
    paddings.address,
    bytesOfElements(paddings.elementType, 1),
    1 - mode,
  ]
  return { calls: [{ kernel: 'mirrorPad', words: [...words, ...axes] }] }
}

/** Operand, update, begins: the operand with the update in it. @see dynamic_update_slice.cc of TFLite Micro, which moves a begin too to where the update fits */
export function prepareDynamicUpdateSlice(node: NodeContext): Prepared {
  node.expectPorts(3, 3, 1)
  const [operand, update, begins, output] = [node.input(0), node.input(1), node.input(2), node.output(0)]
  node.expectShape(output, operand.shape)
  elementBytes(node, operand, output)
  const placed = copyPlaced(node, {
    source: update,
    destination: output,
    placed: 'destination',
    sizes: update.shape,
    begins,
  })
  return { calls: [{ kernel: 'copyBytes', words: [operand.address, output.address, operand.bytes] }, placed] }
}
