import type { KernelCall, NodeContext, Prepared } from '../node-context.ts'
import { TINY_LIMITS } from '../tiny-limits.ts'
import type { TinyTensor } from '../tiny-tensor.ts'
import { copyBox, stridesOf } from './box.ts'
import { copyPlaced } from './placing.ts'

/** Operators that move elements and compute nothing. As in TFLite Micro scales are not converted: converters give both sides the same. */

/** ConcatenationOptions of the schema. */
const CONCATENATION = { axis: 0, activation: 1 } as const
/** StridedSliceOptions of the schema. */
const STRIDED_SLICE = { begin: 0, end: 1, ellipsis: 2, newAxis: 3, shrink: 4, offset: 5 } as const

/** RESHAPE, SQUEEZE and EXPAND_DIMS: the same elements under another shape, which the output states. Where the planner put both in one place nothing
 *  is left to do. */
export function prepareReshape(node: NodeContext): Prepared {
  node.expectPorts(1, 2, 1)
  const [input, output] = [node.input(0), node.output(0)]
  node.expectElements(output, input.elements)
  if (input.elementType !== output.elementType) node.malformed(`${input.elementType} to ${output.elementType}`)
  if (input.address === output.address) return { calls: [] }
  return { calls: [{ kernel: 'copyBytes', words: [input.address, output.address, input.bytes] }] }
}

export function prepareConcatenation(node: NodeContext): Prepared {
  if (node.outputs !== 1 || node.inputs < 1) node.malformed(`${node.inputs} inputs and ${node.outputs} outputs`)
  if ((node.options?.int8(CONCATENATION.activation) ?? 0) !== 0) node.unsupported('a fused activation')
  const output = node.output(0)
  const axis = axisOf(node, node.options?.int32(CONCATENATION.axis) ?? 0, output.shape.length)
  const inputs = Array.from({ length: node.inputs }, (_, at) => node.input(at))
  return { calls: alongAxis(node, output, inputs, axis, 'join') }
}

/** SPLIT takes the axis first; parts are equal, as the outputs' shapes say. */
export function prepareSplit(node: NodeContext): Prepared {
  if (node.inputs !== 2 || node.outputs < 1) node.malformed(`${node.inputs} inputs and ${node.outputs} outputs`)
  return split(node, node.input(1), node.input(0))
}

/** SPLIT_V takes sizes, which the outputs' shapes say too, and the axis last. */
export function prepareSplitV(node: NodeContext): Prepared {
  if (node.inputs !== 3 || node.outputs < 1) node.malformed(`${node.inputs} inputs and ${node.outputs} outputs`)
  return split(node, node.input(0), node.input(2))
}

function split(node: NodeContext, input: TinyTensor, axis: TinyTensor): Prepared {
  const [at = 0] = node.integers(axis, 1)
  const outputs = Array.from({ length: node.outputs }, (_, index) => node.output(index))
  return { calls: alongAxis(node, input, outputs, axisOf(node, at, input.shape.length), 'part') }
}

/** An axis as the file gives it: negative ones count from the end. */
export function axisOf(node: NodeContext, axis: number, rank: number): number {
  if (!(axis >= -rank && axis < rank)) node.malformed(`axis ${axis} of ${rank} dimensions`)
  return axis < 0 ? axis + rank : axis
}

/** Parts of a tensor along one axis, one after the other. */
function alongAxis(
  node: NodeContext,
  whole: TinyTensor,
  parts: readonly TinyTensor[],
  axis: number,
  direction: 'join' | 'part',
): KernelCall[] {
  const strides = stridesOf(whole.shape)
  let from = 0
  const calls = parts.flatMap((part) => {
    const size = part.shape[axis] ?? 0
    node.expectShape(
      part,
      whole.shape.map((dim, at) => (at === axis ? size : dim)),
    )
    const [at, ownStrides] = [from * (strides[axis] ?? 0), stridesOf(part.shape)]
    from += size
    return copyBox(
      node,
      direction === 'join'
        ? {
            ...{ source: part, sourceAt: 0, sourceStrides: ownStrides, sizes: part.shape },
            destination: whole,
            destinationAt: at,
            destinationStrides: strides,
          }
        : {
            ...{ source: whole, sourceAt: at, sourceStrides: strides, sizes: part.shape },
            destination: part,
            destinationAt: 0,
            destinationStrides: ownStrides,
          },
    )
  })
  if (from !== whole.shape[axis])
    node.malformed(`parts of ${from} along axis ${axis}, "${whole.name}" has ${whole.shape[axis]}`)
  return calls
}

/** PAD and PADV2: the output's zero point all over, or the value given, then the input into it. Paddings that are computed say where: what they add up to the output's shape says.
 *  @see pad_common.cc of TFLite Micro, which wants paddings constant */
export function preparePad(node: NodeContext): Prepared {
  node.expectPorts(2, 3, 1)
  const [input, output, value] = [node.input(0), node.output(0), node.optionalInput(2)]
  const { shape } = input
  if (node.input(1).constant === null) {
    const begins = node.input(1)
    const to = { source: input, destination: output, placed: 'destination', sizes: shape } as const
    return { calls: [...filledWith(node, output, value), copyPlaced(node, { ...to, begins, paired: true })] }
  }
  const padding = node.integers(node.input(1), 2 * TINY_LIMITS.dims)
  if (padding.length !== 2 * shape.length || padding.some((size) => size < 0)) {
    node.malformed(`padding by ${padding.join(', ')} of ${shape.length} dimensions`)
  }
  node.expectShape(
    output,
    shape.map((dim, axis) => dim + (padding[2 * axis] ?? 0) + (padding[2 * axis + 1] ?? 0)),
  )
  const strides = stridesOf(output.shape)
  const at = strides.reduce((sum, stride, axis) => sum + stride * (padding[2 * axis] ?? 0), 0)
  return {
    calls: [
      ...filledWith(node, output, value),
      ...copyBox(node, {
        ...{ source: input, sourceAt: 0, sourceStrides: stridesOf(shape), sizes: shape },
        ...{ destination: output, destinationAt: at, destinationStrides: strides },
      }),
    ],
  }
}

/** A value that is computed is copied to every place. */
function filledWith(node: NodeContext, output: TinyTensor, value: TinyTensor | null): KernelCall[] {
  if (value === null || value.constant !== null) return [filled(node, output, value)]
  node.expectElements(value, 1)
  return copyBox(node, {
    ...{ source: value, sourceAt: 0, sourceStrides: [0] },
    ...{ destination: output, destinationAt: 0, destinationStrides: [1], sizes: [output.elements] },
  })
}

/** The output full of the value: a byte over and over where all bytes of an element are alike. */
export function filled(node: NodeContext, output: TinyTensor, value: TinyTensor | null): KernelCall {
  const element = value === null ? zeroPointElement(output) : padElement(node, output, value)
  const [first = 0] = element
  if (element.every((byte) => byte === first)) {
    return { kernel: 'fillBytes', words: [output.address, first, output.bytes] }
  }
  const word = (at: number): number =>
    [0, 1, 2, 3].reduce((sum, byte) => sum + (element[at + byte] ?? 0) * 256 ** byte, 0)
  return { kernel: 'fillElements', words: [output.address, word(0), word(4), element.length, output.elements] }
}

/** @see pad_common.cc of TFLite Micro: of int8 and int16 the zero point, of other types 0 */
function zeroPointElement({ elementType, zeroPoints }: TinyTensor): readonly number[] {
  const [zero = 0] = zeroPoints
  if (elementType === 'int8' || elementType === 'uint8') return [zero & 0xff]
  return elementType === 'int16' ? [zero & 0xff, (zero >> 8) & 0xff] : [0]
}

function padElement(node: NodeContext, output: TinyTensor, value: TinyTensor): readonly number[] {
  if (value.elementType !== output.elementType) node.malformed(`pads ${output.elementType} with ${value.elementType}`)
  node.expectElements(value, 1)
  return [...node.constant(value)]
}

/** Begin, end and stride of each dimension, with bits for those that are left open or have one element.
 *  Those that are computed say where; how many the output's shape says.
 *  @see strided_slice_common.cc of TFLite Micro, which has neither ellipsis nor new axes and wants all of them constant */
export function prepareStridedSlice(node: NodeContext): Prepared {
  node.expectPorts(4, 4, 1)
  const [input, output] = [node.input(0), node.output(0)]
  const { options } = node
  const { shape } = input
  const bits = (field: number): number => options?.int32(field) ?? 0
  if (bits(STRIDED_SLICE.ellipsis) !== 0 || bits(STRIDED_SLICE.newAxis) !== 0 || bits(STRIDED_SLICE.offset) !== 0) {
    node.unsupported('an ellipsis, a new axis or ends counted from the begin')
  }
  if ([1, 2, 3].some((at) => node.input(at).constant === null)) return slicedFrom(node, bits)
  const [begins, ends, steps] = [1, 2, 3].map((at) => node.integers(node.input(at), TINY_LIMITS.dims))
  if (begins?.length !== shape.length || ends?.length !== shape.length || steps?.length !== shape.length) {
    node.unsupported(`begin, end or strides that are not one for each of ${shape.length} dimensions`)
  }
  const strides = stridesOf(shape)
  const shrunk = (axis: number): boolean => ((bits(STRIDED_SLICE.shrink) >> axis) & 1) === 1
  const slices = shape.map((dim, axis) => {
    const step = steps[axis] ?? 1
    if (step === 0) node.malformed(`a stride of 0 along dimension ${axis}`)
    const open = (field: number): boolean => ((bits(field) >> axis) & 1) === 1
    const within = (index: number): number => {
      const counted = index < 0 ? index + dim : index
      return step > 0 ? Math.min(Math.max(counted, 0), dim) : Math.min(Math.max(counted, -1), dim - 1)
    }
    const begin = open(STRIDED_SLICE.begin) ? (step > 0 ? 0 : dim - 1) : within(begins[axis] ?? 0)
    const end = shrunk(axis) ? begin + 1 : open(STRIDED_SLICE.end) ? (step > 0 ? dim : -1) : within(ends[axis] ?? 0)
    return { begin, step, size: Math.max(0, Math.ceil((end - begin) / step)) }
  })
  node.expectShape(
    output,
    slices.flatMap(({ size }, axis) => (shrunk(axis) ? [] : [size])),
  )
  const sizes = slices.map(({ size }, axis) => (shrunk(axis) ? 1 : size))
  const calls = copyBox(node, {
    ...{ source: input, sourceAt: slices.reduce((sum, { begin }, axis) => sum + begin * (strides[axis] ?? 0), 0) },
    sourceStrides: slices.map(({ step }, axis) => step * (strides[axis] ?? 0)),
    ...{ destination: output, destinationAt: 0, destinationStrides: stridesOf(sizes), sizes },
  })
  return { calls }
}

function slicedFrom(node: NodeContext, bits: (field: number) => number): Prepared {
  const [source, destination] = [node.input(0), node.output(0)]
  const rest = [...destination.shape]
  const bit = (field: number, axis: number): boolean => ((bits(field) >> axis) & 1) === 1
  const sizes = source.shape.map((_, axis) => (bit(STRIDED_SLICE.shrink, axis) ? 1 : (rest.shift() ?? 0)))
  if (rest.length > 0) node.malformed(`"${destination.name}" is [${destination.shape}], of [${source.shape}]`)
  node.expectType(node.input(2), 'int32', 'int64')
  node.expectElements(node.input(2), source.shape.length)
  const how = { begins: node.input(1), steps: node.input(3), fromEnd: true }
  const open = sizes.map((_, axis) => bit(STRIDED_SLICE.begin, axis))
  return { calls: [copyPlaced(node, { source, destination, placed: 'source', sizes, ...how, open })] }
}
