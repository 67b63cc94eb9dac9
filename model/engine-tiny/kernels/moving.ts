import type { NodeContext, Prepared } from '../node-context.ts'
import { TINY_LIMITS } from '../tiny-limits.ts'
import { axisOf, blockCopies, boxCopies, movedElementBytes, productOf, rowMajorStrides } from './blocks.ts'

/** Operators that only move elements. What decides where to has to be constant, as TFLite Micro wants it of all but GATHER. */

/** Input, begin, size; a size of -1 goes to the end. @see reference/slice.h */
export function prepareSlice(node: NodeContext): Prepared {
  node.expectPorts(3, 3, 1)
  const [input, output] = [node.input(0), node.output(0)]
  const bytes = movedElementBytes(node, input, output)
  const begin = node.integers(node.input(1), TINY_LIMITS.dims)
  const size = node.integers(node.input(2), TINY_LIMITS.dims)
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
  const strides = rowMajorStrides(input.shape, bytes)
  const offset = begin.reduce((sum, from, axis) => sum + from * (strides[axis] ?? 0), 0)
  const to = { tensor: output, offset: 0, strides: rowMajorStrides(sizes, bytes) }
  return { calls: boxCopies(node, sizes, { tensor: input, offset, strides }, to, bytes) }
}

/** Input, permutation: dimension i of the output is dimension permutation[i] of the input. @see reference/transpose.h */
export function prepareTranspose(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, output] = [node.input(0), node.output(0)]
  const bytes = movedElementBytes(node, input, output)
  const permutation = node.integers(node.input(1), TINY_LIMITS.dims)
  const dims = input.shape.length
  if (permutation.length !== dims || new Set(permutation).size !== dims) node.malformed(`permutation [${permutation}]`)
  const axes = permutation.map((axis) => axisOf(node, axis, dims))
  const sizes = axes.map((axis) => input.shape[axis] ?? 0)
  node.expectShape(output, sizes)
  const strides = rowMajorStrides(input.shape, bytes)
  const from = { tensor: input, offset: 0, strides: axes.map((axis) => strides[axis] ?? 0) }
  const to = { tensor: output, offset: 0, strides: rowMajorStrides(sizes, bytes) }
  return { calls: boxCopies(node, sizes, from, to, bytes) }
}

/** PackOptions and UnpackOptions of the schema. */
const PACK = { count: 0, axis: 1 } as const

/** Inputs of one shape, side by side along a new axis. @see pack.cc of TFLite Micro */
export function preparePack(node: NodeContext): Prepared {
  const output = node.output(0)
  node.expectPorts(node.inputs, node.inputs, 1)
  const axis = axisOf(node, node.options?.int32(PACK.axis) ?? 0, output.shape.length)
  if (output.shape[axis] !== node.inputs) node.malformed(`${node.inputs} inputs for [${output.shape}]`)
  const sizes = output.shape.toSpliced(axis, 1)
  return {
    calls: Array.from({ length: node.inputs }, (_, index) => {
      const input = node.input(index)
      const bytes = movedElementBytes(node, input, output)
      node.expectShape(input, sizes)
      const strides = rowMajorStrides(output.shape, bytes)
      const from = { tensor: input, offset: 0, strides: rowMajorStrides(sizes, bytes) }
      const to = { tensor: output, offset: index * (strides[axis] ?? 0), strides: strides.toSpliced(axis, 1) }
      return boxCopies(node, sizes, from, to, bytes)
    }).flat(),
  }
}

/** One output for each index of an axis. @see unpack.cc of TFLite Micro */
export function prepareUnpack(node: NodeContext): Prepared {
  const input = node.input(0)
  node.expectPorts(1, 1, node.outputs)
  const axis = axisOf(node, node.options?.int32(PACK.axis) ?? 0, input.shape.length)
  if (input.shape[axis] !== node.outputs) node.malformed(`${node.outputs} outputs for [${input.shape}]`)
  const sizes = input.shape.toSpliced(axis, 1)
  return {
    calls: Array.from({ length: node.outputs }, (_, index) => {
      const output = node.output(index)
      const bytes = movedElementBytes(node, input, output)
      node.expectShape(output, sizes)
      const strides = rowMajorStrides(input.shape, bytes)
      const from = { tensor: input, offset: index * (strides[axis] ?? 0), strides: strides.toSpliced(axis, 1) }
      const to = { tensor: output, offset: 0, strides: rowMajorStrides(sizes, bytes) }
      return boxCopies(node, sizes, from, to, bytes)
    }).flat(),
  }
}

/** GatherOptions of the schema. */
const GATHER = { axis: 0, batchDims: 1 } as const

/** Input, indices along an axis, after so many dimensions that both have. @see gather.cc of TFLite Micro */
export function prepareGather(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, indices, output] = [node.input(0), node.input(1), node.output(0)]
  const bytes = movedElementBytes(node, input, output)
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
  const values = node.integers(indices, TINY_LIMITS.tableEntries)
  const axisSize = input.shape[axis] ?? 0
  const [batches, outer, inner] = [
    productOf(input.shape.slice(0, batchDims)),
    productOf(input.shape.slice(batchDims, axis)),
    productOf(input.shape.slice(axis + 1)),
  ]
  const each = values.length / batches
  if (batches * outer * each > TINY_LIMITS.tableEntries) node.unsupported(`${batches * outer * each} blocks`)
  const offsets = new Int32Array(batches * outer * each)
  for (let block = 0; block < offsets.length; block++) {
    const row = Math.floor(block / each)
    const value = values[Math.floor(row / outer) * each + (block % each)] ?? -1
    if (value < 0 || value >= axisSize) node.malformed(`index ${value} of ${axisSize}`)
    offsets[block] = (row * axisSize + value) * inner * bytes
  }
  return { calls: blockCopies(node, input, output, offsets, inner * bytes) }
}

/** ResizeNearestNeighborOptions of the schema. */
const RESIZE = { alignCorners: 0, halfPixelCenters: 1 } as const

/** Input [batch, height, width, channels], size [height, width]. @see reference/resize_nearest_neighbor.h; places are float32 */
export function prepareResizeNearestNeighbor(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, output] = [node.input(0), node.output(0)]
  const bytes = movedElementBytes(node, input, output)
  const [batches, height, width, channels] = input.shape
  if (
    batches === undefined ||
    height === undefined ||
    width === undefined ||
    channels === undefined ||
    input.shape.length !== 4
  ) {
    node.malformed(`"${input.name}" has ${input.shape.length} dimensions, expected 4`)
  }
  const [rows = 0, columns = 0] = node.integers(node.input(1), 2)
  node.expectShape(output, [batches, rows, columns, channels])
  if (batches * rows * columns > TINY_LIMITS.tableEntries) node.unsupported(`${batches * rows * columns} places`)
  const alignCorners = (node.options?.int8(RESIZE.alignCorners) ?? 0) !== 0
  const halfPixels = (node.options?.int8(RESIZE.halfPixelCenters) ?? 0) !== 0
  const nearest = (at: number, from: number, to: number): number => {
    const scale =
      alignCorners && to > 1 ? Math.fround((from - 1) / Math.fround(to - 1)) : Math.fround(from / Math.fround(to))
    const place = Math.fround(Math.fround(at + (halfPixels ? 0.5 : 0)) * scale)
    // Places are not negative, so half away from zero is half up.
    return Math.max(0, Math.min(from - 1, Math.floor(alignCorners ? place + 0.5 : place)))
  }
  const offsets = new Int32Array(batches * rows * columns)
  let block = 0
  for (let batch = 0; batch < batches; batch++) {
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        const row = batch * height + nearest(y, height, rows)
        offsets[block++] = (row * width + nearest(x, width, columns)) * channels * bytes
      }
    }
  }
  return { calls: blockCopies(node, input, output, offsets, channels * bytes) }
}
