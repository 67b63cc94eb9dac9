import type { NodeContext, Prepared } from '../node-context.ts'
import { productOf } from './blocks.ts'
import { copyBox, stridesOf } from './box.ts'
import { axisOf, filled } from './moving.ts'
import { imageShape } from './window.ts'

/** Operators that put places of an image into channels or batches and back, or elements into another order or again and again. */

/** Shape [a, b, …] read as dimensions in another order. */
function rearranged(node: NodeContext, sizes: readonly number[], order: readonly number[]): Prepared {
  const [source, destination] = [node.input(0), node.output(0)]
  const from = stridesOf(sizes)
  const made = order.map((axis) => sizes[axis] ?? 1)
  node.expectElements(destination, source.elements)
  const strides = order.map((axis) => from[axis] ?? 0)
  const [sourceAt, destinationAt] = [0, 0]
  const at = { source, sourceAt, sourceStrides: strides, destination, destinationAt }
  return { calls: copyBox(node, { ...at, destinationStrides: stridesOf(made), sizes: made }) }
}

function blockOf(node: NodeContext): number {
  node.expectPorts(1, 1, 1)
  const block = node.options?.int32(0) ?? 0
  if (block < 1) node.malformed(`blocks of ${block}`)
  return block
}

/** [batch, height, width, channels × block²] to [batch, height × block, width × block, channels]. @see reference/depth_to_space.h */
export function prepareDepthToSpace(node: NodeContext): Prepared {
  const block = blockOf(node)
  const [batches, height, width, depth] = imageShape(node, node.input(0))
  const channels = depth / block ** 2
  if (!Number.isInteger(channels)) node.malformed(`${depth} channels in blocks of ${block}`)
  node.expectShape(node.output(0), [batches, height * block, width * block, channels])
  return rearranged(node, [batches, height, width, block, block, channels], [0, 1, 3, 2, 4, 5])
}

/** The other way. @see reference/space_to_depth.h */
export function prepareSpaceToDepth(node: NodeContext): Prepared {
  const block = blockOf(node)
  const [batches, height, width, channels] = imageShape(node, node.input(0))
  const [rows, columns] = [height / block, width / block]
  if (!Number.isInteger(rows) || !Number.isInteger(columns))
    node.malformed(`${height} × ${width} in blocks of ${block}`)
  node.expectShape(node.output(0), [batches, rows, columns, channels * block ** 2])
  return rearranged(node, [batches, rows, block, columns, block, channels], [0, 1, 3, 2, 4, 5])
}

/** An input [batch, height, width, channels], or without width, with its blocks and what is added or cut before and behind. */
function blocksOf(node: NodeContext, batchesOf: 'input' | 'output') {
  node.expectPorts(3, 3, 1)
  const [wide, narrow] = batchesOf === 'input' ? [node.input(0), node.output(0)] : [node.output(0), node.input(0)]
  const flat = wide.shape.length === 3
  const image = (shape: readonly number[]): readonly number[] =>
    flat ? [shape[0] ?? 0, shape[1] ?? 0, 1, shape[2] ?? 0] : shape
  if (![3, 4].includes(wide.shape.length) || narrow.shape.length !== wide.shape.length) {
    node.unsupported(`[${node.input(0).shape}] to [${node.output(0).shape}]: 3 or 4 dimensions`)
  }
  const dims = flat ? 1 : 2
  const [blocks, margins] = [node.integers(node.input(1), dims), node.integers(node.input(2), 2 * dims)]
  const [rows = 1, columns = 1] = blocks
  const [top = 0, bottom = 0, left = 0, right = 0] = margins
  if (
    blocks.length !== dims ||
    margins.length !== 2 * dims ||
    rows < 1 ||
    columns < 1 ||
    margins.some((size) => size < 0)
  ) {
    node.malformed(`blocks [${blocks}] and margins [${margins}]`)
  }
  const [batches = 0, height = 0, width = 0, channels = 0] = image(wide.shape)
  const [others = 0, otherHeight = 0, otherWidth = 0, otherChannels = 0] = image(narrow.shape)
  // `wide` has the few batches and the whole image; `narrow` one batch for each place of a block.
  const fits = others === batches * rows * columns && otherChannels === channels
  if (!fits || otherHeight * rows !== height + top + bottom || otherWidth * columns !== width + left + right) {
    node.malformed(
      `[${node.input(0).shape}] to [${node.output(0).shape}] by blocks [${blocks}] and margins [${margins}]`,
    )
  }
  const boxes = Array.from({ length: rows * columns }, (_, at) => {
    const along = (place: number, block: number, before: number, size: number, made: number) => {
      const first = Math.max(0, Math.ceil((before - place) / block))
      const end = Math.min(made, Math.ceil((size + before - place) / block))
      return { first, count: end - first, from: first * block + place - before, step: block }
    }
    const y = along(Math.floor(at / columns), rows, top, height, otherHeight)
    const x = along(at % columns, columns, left, width, otherWidth)
    return {
      sizes: [batches, y.count, x.count, channels],
      wideAt: (y.from * width + x.from) * channels,
      wideStrides: [height * width * channels, y.step * width * channels, x.step * channels, 1],
      narrowAt: ((at * batches * otherHeight + y.first) * otherWidth + x.first) * channels,
      narrowStrides: [otherHeight * otherWidth * channels, otherWidth * channels, channels, 1],
    }
  })
  // Margins may be wider than the image: a block may have nothing of it.
  return { wide, narrow, boxes: boxes.filter(({ sizes }) => sizes.every((size) => size > 0)) }
}

/** chosen: places of a block, each a copy of its own. */
const BLOCKS_MAX = 1_024

/** @see reference/space_to_batch_nd.h: the margins are the output's zero point */
export function prepareSpaceToBatchNd(node: NodeContext): Prepared {
  const { wide, narrow, boxes } = blocksOf(node, 'input')
  if (boxes.length > BLOCKS_MAX) node.unsupported(`blocks of ${boxes.length} places, at most ${BLOCKS_MAX}`)
  const copies = boxes.flatMap((box) =>
    copyBox(node, {
      ...{ source: wide, sourceAt: box.wideAt, sourceStrides: box.wideStrides, sizes: box.sizes },
      ...{ destination: narrow, destinationAt: box.narrowAt, destinationStrides: box.narrowStrides },
    }),
  )
  return { calls: [filled(node, narrow, null), ...copies] }
}

/** @see reference/batch_to_space_nd.h */
export function prepareBatchToSpaceNd(node: NodeContext): Prepared {
  const { wide, narrow, boxes } = blocksOf(node, 'output')
  if (boxes.length > BLOCKS_MAX) node.unsupported(`blocks of ${boxes.length} places, at most ${BLOCKS_MAX}`)
  return {
    calls: boxes.flatMap((box) =>
      copyBox(node, {
        ...{ source: narrow, sourceAt: box.narrowAt, sourceStrides: box.narrowStrides, sizes: box.sizes },
        ...{ destination: wide, destinationAt: box.wideAt, destinationStrides: box.wideStrides },
      }),
    ),
  }
}

/** Input and axes, constant. @see reference/reverse.h of TensorFlow Lite */
export function prepareReverse(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [source, destination] = [node.input(0), node.output(0)]
  const { shape } = source
  node.expectShape(destination, shape)
  const axes = new Set(node.integers(node.input(1), shape.length).map((axis) => axisOf(node, axis, shape.length)))
  const strides = stridesOf(shape)
  const sourceAt = [...axes].reduce((sum, axis) => sum + ((shape[axis] ?? 1) - 1) * (strides[axis] ?? 0), 0)
  const sourceStrides = strides.map((stride, axis) => (axes.has(axis) ? -stride : stride))
  const to = { destination, destinationAt: 0, destinationStrides: strides, sizes: shape }
  return { calls: copyBox(node, { source, sourceAt, sourceStrides, ...to }) }
}

/** The shape may be computed: the output states it. @see broadcast_to.cc of TFLite Micro */
export function prepareBroadcastTo(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [source, destination] = [node.input(0), node.output(0)]
  const missing = destination.shape.length - source.shape.length
  const strides = stridesOf(source.shape)
  const sourceStrides = destination.shape.map((size, axis) => {
    const own = axis < missing ? 1 : (source.shape[axis - missing] ?? 1)
    if (own !== 1 && own !== size) node.malformed(`[${source.shape}] does not repeat to [${destination.shape}]`)
    return own === 1 ? 0 : (strides[axis - missing] ?? 0)
  })
  if (missing < 0) node.malformed(`[${source.shape}] does not repeat to [${destination.shape}]`)
  const to = {
    destination,
    destinationAt: 0,
    destinationStrides: stridesOf(destination.shape),
    sizes: destination.shape,
  }
  return { calls: copyBox(node, { source, sourceAt: 0, sourceStrides, ...to }) }
}

/** Dimensions, which may be computed, and one value. @see fill.cc of TFLite Micro */
export function prepareFill(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  return { calls: [repeated(node, 1)].flat() }
}

function repeated(node: NodeContext, at: number) {
  const [source, destination] = [node.input(at), node.output(0)]
  node.expectElements(source, 1)
  const to = { destination, destinationAt: 0, destinationStrides: [1], sizes: [destination.elements] }
  return copyBox(node, { source, sourceAt: 0, sourceStrides: [0], ...to })
}

/** @see zeros_like.cc of TFLite Micro: zeros, not zero points */
export function prepareZerosLike(node: NodeContext): Prepared {
  node.expectPorts(1, 1, 1)
  const output = node.output(0)
  node.expectElements(output, node.input(0).elements)
  return { calls: [{ kernel: 'fillBytes', words: [output.address, 0, output.bytes] }] }
}

/** The input's shape is known when the graph is loaded. */
export function prepareShape(node: NodeContext): Prepared {
  node.expectPorts(1, 1, 1)
  const [{ shape }, output] = [node.input(0), node.output(0)]
  node.expectType(output, 'int32', 'int64')
  node.expectElements(output, shape.length)
  const values = output.elementType === 'int32' ? shape : shape.flatMap((size) => [size, 0])
  return {
    calls: [{ kernel: 'copyBytes', words: [node.table(Int32Array.from(values)), output.address, output.bytes] }],
  }
}

/** CumsumOptions of the schema. */
const CUMSUM = { exclusive: 0, reverse: 1 } as const

/** float32 along one axis, constant. @see cumsum.cc of TFLite Micro */
export function prepareCumsum(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, output] = [node.input(0), node.output(0)]
  for (const tensor of [input, output]) node.expectType(tensor, 'float32')
  node.expectShape(output, input.shape)
  const axis = axisOf(node, node.integers(node.input(1), 1)[0] ?? Number.NaN, input.shape.length)
  const sizes = [productOf(input.shape.slice(0, axis)), input.shape[axis] ?? 1, productOf(input.shape.slice(axis + 1))]
  const flags = [CUMSUM.exclusive, CUMSUM.reverse].map((field) => ((node.options?.int8(field) ?? 0) !== 0 ? 1 : 0))
  return { calls: [{ kernel: 'cumulativeSum', words: [input.address, output.address, ...sizes, ...flags] }] }
}
