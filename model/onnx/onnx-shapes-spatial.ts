import type { ElementType } from '../element-type.ts'
import { elementCount, type GraphValue, type Inferred, type OpView, type ShapeRule } from './onnx-op.ts'

/** Shape rules of what slides a window over [N, C, spatial...]: convolutions and pools.
 *  @see https://onnx.ai/onnx/operators/ Conv 11, ConvTranspose 11, MaxPool 12, AveragePool 19
 */

export interface Window {
  readonly kernel: readonly number[]
  readonly strides: readonly number[]
  readonly dilations: readonly number[]
  /** begin of every axis, then end of every axis */
  readonly pads: readonly number[]
  readonly autoPad: string
}

function listOf(op: OpView, name: string, length: number, fallback: number, least: number): readonly number[] {
  const values = op.intList(name) ?? new Array<number>(length).fill(fallback)
  if (values.length !== length) op.mismatch(`${name} has ${values.length} values, expected ${length}`)
  for (const value of values) if (!Number.isSafeInteger(value) || value < least) op.mismatch(`${name} has ${value}`)
  return values
}

export function windowOf(op: OpView, kernel: readonly number[]): Window {
  const rank = kernel.length
  const autoPad = op.string('auto_pad', 'NOTSET') || 'NOTSET'
  if (!['NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'].includes(autoPad)) op.unsupported(`auto_pad ${autoPad}`)
  const stated = op.intList('kernel_shape')
  if (stated !== null && stated.join() !== kernel.join()) op.mismatch(`kernel_shape ${stated} but weights ${kernel}`)
  return {
    kernel,
    strides: listOf(op, 'strides', rank, 1, 1),
    dilations: listOf(op, 'dilations', rank, 1, 1),
    pads: listOf(op, 'pads', 2 * rank, 0, 0),
    autoPad,
  }
}

function slide(op: OpView, spatial: readonly number[], window: Window, ceilMode: boolean): readonly number[] {
  return spatial.map((size, axis) => {
    const stride = window.strides[axis]!
    const begin = window.pads[axis]!
    const end = window.pads[axis + spatial.length]!
    const reach = window.dilations[axis]! * (window.kernel[axis]! - 1) + 1
    if (window.autoPad === 'SAME_UPPER' || window.autoPad === 'SAME_LOWER') return Math.ceil(size / stride)
    const padded = window.autoPad === 'VALID' ? size : size + begin + end
    const room = padded - reach
    if (room < 0) return op.mismatch(`window of ${reach} over ${padded}`)
    const floored = Math.floor(room / stride) + 1
    if (!ceilMode) return floored
    // A window that would start in the end padding is dropped (ONNX 1.16, as in PyTorch).
    const ceiled = Math.ceil(room / stride) + 1
    return (ceiled - 1) * stride >= size + (window.autoPad === 'VALID' ? 0 : begin) ? ceiled - 1 : ceiled
  })
}

function split(op: OpView, value: GraphValue): [batch: number, channels: number, spatial: readonly number[]] {
  const [batch, channels, ...spatial] = value.dims
  if (batch === undefined || channels === undefined || spatial.length === 0) {
    return op.mismatch(`input of ${value.dims.length} dimensions, expected [N, C, spatial...]`)
  }
  return [batch, channels, spatial]
}

function convolve(op: OpView, x: GraphValue, w: GraphValue, elementType: ElementType): Inferred {
  const [batch, channels, spatial] = split(op, x)
  const [filters, channelsOfFilter, kernel] = split(op, w)
  if (kernel.length !== spatial.length) op.mismatch(`weights ${w.dims} for input ${x.dims}`)
  const group = op.int('group', 1)
  if (group < 1 || channelsOfFilter * group !== channels || filters % group !== 0) {
    op.mismatch(`weights ${w.dims} in ${group} groups for input ${x.dims}`)
  }
  const dims = [batch, filters, ...slide(op, spatial, windowOf(op, kernel), false)]
  return { outputs: [{ elementType, dims }], macs: elementCount(dims) * channelsOfFilter * elementCount(kernel) }
}

const transposedConvolution: ShapeRule = (op) => {
  const x = op.input(0)
  const [batch, channels, spatial] = split(op, x)
  const [channelsOfWeights, filtersOfGroup, kernel] = split(op, op.input(1))
  if (channelsOfWeights !== channels || kernel.length !== spatial.length)
    op.mismatch(`weights ${op.input(1).dims} for ${x.dims}`)
  const window = windowOf(op, kernel)
  const outputPadding = listOf(op, 'output_padding', spatial.length, 0, 0)
  const outputShape = op.intList('output_shape')
  const out = spatial.map((size, axis) => {
    const stride = window.strides[axis]!
    if (outputShape !== null) return outputShape[axis] ?? op.mismatch(`output_shape ${outputShape}`)
    if (window.autoPad.startsWith('SAME')) return size * stride
    const pads = window.autoPad === 'VALID' ? 0 : window.pads[axis]! + window.pads[axis + spatial.length]!
    return stride * (size - 1) + outputPadding[axis]! + window.dilations[axis]! * (window.kernel[axis]! - 1) + 1 - pads
  })
  if (out.some((size) => size < 1)) op.mismatch(`output ${out}`)
  const group = op.int('group', 1)
  return {
    outputs: [{ elementType: x.elementType, dims: [batch, filtersOfGroup * group, ...out] }],
    macs: elementCount(x.dims) * filtersOfGroup * elementCount(kernel),
  }
}

const pool: ShapeRule = (op) => {
  const x = op.input(0)
  const [batch, channels, spatial] = split(op, x)
  const kernel = op.intList('kernel_shape') ?? op.mismatch('kernel_shape is missing')
  if (kernel.length !== spatial.length) op.mismatch(`kernel_shape ${kernel} for input ${x.dims}`)
  if (op.int('channels_last', 0) !== 0) op.unsupported('channels_last')
  const dims = [batch, channels, ...slide(op, spatial, windowOf(op, kernel), op.int('ceil_mode', 0) !== 0)]
  return {
    outputs: [
      { elementType: x.elementType, dims },
      { elementType: 'int64', dims },
    ],
  }
}

const globalPool: ShapeRule = (op) => {
  const x = op.input(0)
  const [batch, channels, spatial] = split(op, x)
  if (op.int('channels_last', 0) !== 0) op.unsupported('channels_last')
  return { outputs: [{ elementType: x.elementType, dims: [batch, channels, ...spatial.map(() => 1)] }] }
}

export const SPATIAL_RULES: Readonly<Record<string, ShapeRule>> = {
  Conv: (op) => convolve(op, op.input(0), op.input(1), op.input(0).elementType),
  // x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias
  QLinearConv: (op) => convolve(op, op.input(0), op.input(3), op.input(7).elementType),
  ConvInteger: (op) => convolve(op, op.input(0), op.input(1), 'int32'),
  ConvTranspose: transposedConvolution,
  MaxPool: pool,
  AveragePool: pool,
  LpPool: pool,
  GlobalAveragePool: globalPool,
  GlobalMaxPool: globalPool,
  'com.microsoft:QLinearAveragePool': pool,
  'com.microsoft:QLinearGlobalAveragePool': globalPool,
}
