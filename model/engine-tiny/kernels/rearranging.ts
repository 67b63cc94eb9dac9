import { bytesOfElements } from '../../element-type.ts'
import type { KernelCall, NodeContext, Prepared } from '../node-context.ts'
import { TINY_LIMITS } from '../tiny-limits.ts'
import type { TinyTensor } from '../tiny-tensor.ts'
import { copyBlocks, productOf } from './blocks.ts'
import { copyBox, stridesOf } from './box.ts'
import { axisOf } from './moving.ts'
import { copyPlaced } from './placing.ts'

/** Operators that only move elements. What decides where to has to be constant, as TFLite Micro wants it of all but GATHER. */

/** Input, begin, size; a size of -1 goes to the end. A begin that is computed is kept where the output's shape fits.
 *  @see reference/slice.h */
export function prepareSlice(node: NodeContext): Prepared {
  node.expectPorts(3, 3, 1)
  const [input, output] = [node.input(0), node.output(0)]
  if (node.input(1).constant === null) return sliceFrom(node)
  const begin = node.integers(node.input(1), TINY_LIMITS.dims)
  // A size that is computed can only be what the output's tensor says: a run cannot make another.
  const size = node.input(2).constant === null ? output.shape : node.integers(node.input(2), TINY_LIMITS.dims)
  if (begin.length !== input.shape.length || size.length !== input.shape.length) {
    node.malformed(`begin [${begin}] and size [${size}] of [${input.shape}]`)
  }
  const sizes = input.shape.map((dim, axis) => (size[axis] === -1 ? dim - (begin[axis] ?? 0) : (size[axis] ?? 0)))
  for (const [axis, dim] of input.shape.entries()) {
    const [from, count] = [begin[axis] ?? 0, sizes[axis] ?? 0]
    if (from < 0 || count < 1 || from + count > dim)
      node.malformed(`begin [${begin}] and size [${size}] of [${input.shape}]`)
  }
  node.expectShape(output, sizes)
  const strides = stridesOf(input.shape)
  return {
    calls: copyBox(node, {
      ...{ source: input, sourceAt: begin.reduce((sum, from, axis) => sum + from * (strides[axis] ?? 0), 0) },
      ...{ sourceStrides: strides, sizes },
      ...{ destination: output, destinationAt: 0, destinationStrides: stridesOf(sizes) },
    }),
  }
}

function sliceFrom(node: NodeContext): Prepared {
  const [input, begin, output] = [node.input(0), node.input(1), node.output(0)]
  const fits = input.shape.every((dim, axis) => (output.shape[axis] ?? 0) <= dim)
  if (output.shape.length !== input.shape.length || !fits) {
    node.malformed(`"${output.name}" is [${output.shape}], which does not fit into [${input.shape}]`)
  }
  const size = node.input(2)
  if (size.constant !== null) {
    const stated = node.integers(size, TINY_LIMITS.dims)
    const agrees = stated.length === output.shape.length && stated.every((n, at) => n === -1 || n === output.shape[at])
    if (!agrees) node.malformed(`size [${stated}] of "${output.name}", which is [${output.shape}]`)
  }
  const sizes = output.shape
  return { calls: [copyPlaced(node, { source: input, destination: output, placed: 'source', sizes, begins: begin })] }
}

/** Input, permutation: dimension i of the output is dimension permutation[i] of the input. @see reference/transpose.h */
export function prepareTranspose(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, output] = [node.input(0), node.output(0)]
  const permutation = node.integers(node.input(1), TINY_LIMITS.dims)
  const dims = input.shape.length
  if (permutation.length !== dims || new Set(permutation).size !== dims) node.malformed(`permutation [${permutation}]`)
  const axes = permutation.map((axis) => axisOf(node, axis, dims))
  const sizes = axes.map((axis) => input.shape[axis] ?? 0)
  node.expectShape(output, sizes)
  const strides = stridesOf(input.shape)
  return {
    calls: copyBox(node, {
      ...{ source: input, sourceAt: 0, sourceStrides: axes.map((axis) => strides[axis] ?? 0), sizes },
      ...{ destination: output, destinationAt: 0, destinationStrides: stridesOf(sizes) },
    }),
  }
}

/** PackOptions and UnpackOptions of the schema. */
const PACK = { count: 0, axis: 1 } as const

/** Inputs of one shape, side by side along a new axis. @see pack.cc of TFLite Micro */
export function preparePack(node: NodeContext): Prepared {
  node.expectPorts(node.inputs, node.inputs, 1)
  const parts = Array.from({ length: node.inputs }, (_, index) => node.input(index))
  return { calls: alongNewAxis(node, node.output(0), parts, 'join') }
}

/** One output for each index of an axis. @see unpack.cc of TFLite Micro */
export function prepareUnpack(node: NodeContext): Prepared {
  node.expectPorts(1, 1, node.outputs)
  const parts = Array.from({ length: node.outputs }, (_, index) => node.output(index))
  return { calls: alongNewAxis(node, node.input(0), parts, 'part') }
}

/** A tensor with an axis that its parts do not have. */
function alongNewAxis(
  node: NodeContext,
  whole: TinyTensor,
  parts: readonly TinyTensor[],
  direction: 'join' | 'part',
): KernelCall[] {
  const axis = axisOf(node, node.options?.int32(PACK.axis) ?? 0, whole.shape.length)
  if (whole.shape[axis] !== parts.length) node.malformed(`${parts.length} parts of [${whole.shape}] along axis ${axis}`)
  const sizes = whole.shape.toSpliced(axis, 1)
  const strides = stridesOf(whole.shape)
  return parts.flatMap((part, index) => {
    node.expectShape(part, sizes)
    const inside = { tensor: whole, at: index * (strides[axis] ?? 0), strides: strides.toSpliced(axis, 1) }
    const own = { tensor: part, at: 0, strides: stridesOf(sizes) }
    const [from, to] = direction === 'join' ? [own, inside] : [inside, own]
    return copyBox(node, {
      ...{ source: from.tensor, sourceAt: from.at, sourceStrides: from.strides, sizes },
      ...{ destination: to.tensor, destinationAt: to.at, destinationStrides: to.strides },
    })
  })
}

/** GatherOptions of the schema. */
const GATHER = { axis: 0, batchDims: 1 } as const

/** Input, indices along an axis, after so many dimensions that both have. Indices that are computed are kept within the axis by the kernel.
 *  @see gather.cc of TFLite Micro */
export function prepareGather(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, indices, output] = [node.input(0), node.input(1), node.output(0)]
  const axis = axisOf(node, node.options?.int32(GATHER.axis) ?? 0, input.shape.length)
  const given = node.options?.int32(GATHER.batchDims) ?? 0
  const batchDims = given < 0 ? given + indices.shape.length : given
  if (batchDims < 0 || batchDims > axis || batchDims > indices.shape.length) node.malformed(`${given} batch dimensions`)
  for (let at = 0; at < batchDims; at++) {
    if (input.shape[at] !== indices.shape[at])
      node.malformed(`[${input.shape}] and [${indices.shape}] differ in a batch`)
  }
  node.expectShape(output, [
    ...input.shape.slice(0, axis),
    ...indices.shape.slice(batchDims),
    ...input.shape.slice(axis + 1),
  ])
  const axisSize = input.shape[axis] ?? 0
  const [batches, outer, inner] = [
    productOf(input.shape.slice(0, batchDims)),
    productOf(input.shape.slice(batchDims, axis)),
    productOf(input.shape.slice(axis + 1)),
  ]
  const each = indices.elements / batches
  if (indices.constant === null) {
    node.expectType(indices, 'int32')
    const bytes = bytesOfElements(input.elementType, 1)
    if (input.elementType !== output.elementType || bytesOfElements(input.elementType, 2) !== 2 * bytes) {
      node.unsupportedType(`copies from ${input.elementType} to ${output.elementType}`)
    }
    const places = [input.address, indices.address, output.address]
    return { calls: [{ kernel: 'gatherBlocks', words: [...places, batches, outer, axisSize, each, inner * bytes] }] }
  }
  const values = node.integers(indices, TINY_LIMITS.tableEntries)
  if (batches * outer * each > TINY_LIMITS.tableEntries) node.unsupported(`${batches * outer * each} blocks`)
  const offsets: number[] = []
  for (let block = 0; block < batches * outer * each; block++) {
    const row = Math.floor(block / each)
    const value = values[Math.floor(row / outer) * each + (block % each)] ?? -1
    if (value < 0 || value >= axisSize) node.malformed(`index ${value} of ${axisSize}`)
    offsets.push((row * axisSize + value) * inner)
  }
  return { calls: [copyBlocks(node, input, output, offsets, inner)] }
}

/** spec: what gather_nd.cc of TFLite Micro takes at most. */
const PLACE_DIMS = 5

/** Elements or blocks of the input at places of `n` dimensions, indices [..., n] of int32: output [..., the input's dimensions behind the first n].
 *  @see gather_nd.cc of TFLite Micro */
export function prepareGatherNd(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, indices, output] = [node.input(0), node.input(1), node.output(0)]
  node.expectType(indices, 'int32')
  const places = indices.shape.at(-1) ?? node.malformed(`"${indices.name}" has no dimensions`)
  if (places > input.shape.length) node.malformed(`${places} indices into [${input.shape}]`)
  if (places > PLACE_DIMS) node.unsupported(`${places} indices of a place, at most ${PLACE_DIMS}`)
  node.expectShape(output, [...indices.shape.slice(0, -1), ...input.shape.slice(places)])
  const bytes = bytesOfElements(input.elementType, 1)
  if (input.elementType !== output.elementType || bytesOfElements(input.elementType, 2) !== 2 * bytes) {
    node.unsupportedType(`copies from ${input.elementType} to ${output.elementType}`)
  }
  if (indices.constant !== null) {
    for (const [at, index] of node.integers(indices, TINY_LIMITS.tableEntries).entries()) {
      const dim = input.shape[at % places] ?? 0
      if (index < 0 || index >= dim) node.malformed(`index ${index} of ${dim}`)
    }
  }
  const strides = stridesOf(input.shape)
  const axes = input.shape.slice(0, places).flatMap((dim, axis) => [dim, bytes * (strides[axis] ?? 0)])
  const sizes = [indices.elements / places, bytes * productOf(input.shape.slice(places)), places]
  const words = [input.address, indices.address, output.address, ...sizes, ...axes]
  return { calls: [{ kernel: 'gatherPlaces', words }] }
}
