import { float32Word, type NodeContext, type Prepared } from '../node-context.ts'
import { TINY_LIMITS } from '../tiny-limits.ts'
import { copyBlocks } from './blocks.ts'

/** ResizeNearestNeighborOptions of the schema. */
const NEAREST = { alignCorners: 0, halfPixelCenters: 1 } as const

/** Input [batch, height, width, channels], size [height, width], which may be computed. @see reference/resize_nearest_neighbor.h; places are float32 */
export function prepareResizeNearestNeighbor(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, output] = [node.input(0), node.output(0)]
  const { batches, height, width, channels, rows, columns } = resized(node)
  if (batches * rows * columns > TINY_LIMITS.tableEntries) node.unsupported(`${batches * rows * columns} places`)
  const alignCorners = (node.options?.int8(NEAREST.alignCorners) ?? 0) !== 0
  const halfPixels = (node.options?.int8(NEAREST.halfPixelCenters) ?? 0) !== 0
  const nearest = (at: number, from: number, to: number): number => {
    const scale =
      alignCorners && to > 1 ? Math.fround((from - 1) / Math.fround(to - 1)) : Math.fround(from / Math.fround(to))
    const place = Math.fround(Math.fround(at + (halfPixels ? 0.5 : 0)) * scale)
    // Places are not negative, so half away from zero is half up.
    return Math.max(0, Math.min(from - 1, Math.floor(alignCorners ? place + 0.5 : place)))
  }
  const offsets: number[] = []
  for (let batch = 0; batch < batches; batch++) {
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        const row = batch * height + nearest(y, height, rows)
        offsets.push((row * width + nearest(x, width, columns)) * channels)
      }
    }
  }
  return { calls: [copyBlocks(node, input, output, offsets, channels)] }
}

/** ResizeBilinearOptions of the schema. */
const BILINEAR = { alignCorners: 2, halfPixelCenters: 3 } as const
/** chosen: places of an image are in 1/1024 and fit 31 bits. */
const SIDE_MAX = 65_536

/** Input [batch, height, width, channels], size [height, width], which may be computed. @see reference/resize_bilinear.h */
export function prepareResizeBilinear(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  const [input, output] = [node.input(0), node.output(0)]
  node.expectType(input, 'int8', 'float32')
  node.expectType(output, input.elementType)
  const { batches, height, width, channels, rows, columns } = resized(node)
  const [corners, centres] = [BILINEAR.alignCorners, BILINEAR.halfPixelCenters].map(
    (field) => (node.options?.int8(field) ?? 0) !== 0,
  )
  if (corners && centres) node.malformed('corners are aligned and pixels have centres')
  if (Math.max(height, width, rows, columns) > SIDE_MAX) node.unsupported(`an image of more than ${SIDE_MAX} to a side`)
  const float = input.elementType === 'float32'
  const scale = (from: number, to: number): number => {
    const [a, b] = corners && to > 1 ? [from - 1, to - 1] : [from, to]
    return float ? float32Word(Math.fround(a / b)) : Math.floor((1_024 * a + Math.floor(b / 2)) / b)
  }
  const words = [input.address, output.address, batches, height, width, channels, rows, columns]
  const how = [scale(height, rows), scale(width, columns), centres ? 1 : 0, float ? 1 : 0]
  return { calls: [{ kernel: 'resizeBilinear', words: [...words, ...how] }] }
}

/** An image and what size it gets: the output's, whether the file or the run says it. */
function resized(node: NodeContext) {
  const [input, size, output] = [node.input(0), node.input(1), node.output(0)]
  const [batches, height, width, channels] = input.shape
  if (
    batches === undefined ||
    height === undefined ||
    width === undefined ||
    channels === undefined ||
    input.shape.length !== 4
  ) {
    return node.malformed(`"${input.name}" has ${input.shape.length} dimensions, expected 4`)
  }
  const stated = size.constant === null ? output.shape.slice(1, 3) : node.integers(size, 2)
  const [rows = 0, columns = 0] = stated
  node.expectShape(output, [batches, rows, columns, channels])
  return { batches, height, width, channels, rows, columns }
}
