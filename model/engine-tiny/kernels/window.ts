import type { NodeContext } from '../node-context.ts'

/** How a filter moves along one axis. */
export interface Stride {
  readonly stride: number
  readonly dilation: number
}

/** What a window needs along one axis.
 *  @see ComputePaddingHeightWidth of TensorFlow Lite's padding.h */
export interface Axis extends Stride {
  readonly input: number
  readonly filter: number
  readonly output: number
  /** Elements before the input that the first window covers. */
  readonly padding: number
}

/** chosen: strides and dilations of real networks are below 64; with this bound no product of a kernel passes 32 bits. */
const STEP_MAX = 1_024

/** Sizes along one axis, checked against the output that the file states.
 *  @param padding of the schema: 0 same, 1 valid */
export function windowAxis(
  node: NodeContext,
  sizes: { readonly input: number; readonly filter: number; readonly output: number } & Stride,
  padding: number,
): Axis {
  const { input, filter, output, stride, dilation } = sizes
  const covered = (filter - 1) * dilation + 1
  if (stride < 1 || dilation < 1 || filter < 1 || stride > STEP_MAX || dilation > STEP_MAX || covered > 0x7fff) {
    node.malformed(`filter ${filter}, stride ${stride}, dilation ${dilation}`)
  }
  if (padding !== 0 && padding !== 1) node.malformed(`padding ${padding}, the schema has 0 and 1`)
  const made = padding === 0 ? Math.ceil(input / stride) : Math.ceil((input - covered + 1) / stride)
  if (made !== output) node.malformed(`a window of ${covered} over ${input} makes ${made}, the output has ${output}`)
  return { ...sizes, padding: Math.max(0, Math.floor(((output - 1) * stride + covered - input) / 2)) }
}

/** A shape of four dimensions: batch, height, width, channels. */
export function imageShape(
  node: NodeContext,
  tensor: { readonly name: string; readonly shape: readonly number[] },
): readonly [number, number, number, number] {
  const [batches, height, width, channels] = tensor.shape
  if (batches === undefined || height === undefined || width === undefined || channels === undefined) {
    node.malformed(`"${tensor.name}" has ${tensor.shape.length} dimensions, expected 4`)
  }
  if (tensor.shape.length !== 4) node.malformed(`"${tensor.name}" has ${tensor.shape.length} dimensions, expected 4`)
  return [batches, height, width, channels]
}
