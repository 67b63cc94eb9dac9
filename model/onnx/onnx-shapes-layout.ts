import { present } from '../../contract/present.ts'
import { bytesOfElements, type ElementType } from '../element-type.ts'
import { elementCount, KNOWN_INTS_MAX, likeInput, type OpView, type ShapeRule } from './onnx-op.ts'
import { elementTypeOfCode, type OnnxTensor } from './onnx-types.ts'

/** Shape rules of what moves or renames elements without arithmetic, and the integer constants that steer it.
 *  @see https://onnx.ai/onnx/operators/
 */

/** @returns the contents of a small integer tensor, else null */
export function intsOfTensor(tensor: OnnxTensor): readonly number[] | null {
  if (tensor.elements > KNOWN_INTS_MAX) return null
  const view = new DataView(tensor.data.buffer, tensor.data.byteOffset, tensor.data.length)
  const at = (index: number): number | null => {
    if (tensor.elementType === 'int64') return Number(view.getBigInt64(8 * index, true))
    if (tensor.elementType === 'int32') return view.getInt32(4 * index, true)
    return null
  }
  const ints = Array.from({ length: tensor.elements }, (_, index) => at(index))
  return ints.some((value) => value === null) ? null : (ints as number[])
}

const known = (ints: readonly number[] | null | undefined): readonly number[] | null =>
  ints !== null && ints !== undefined && ints.length <= KNOWN_INTS_MAX ? ints : null

function sameElements(op: OpView, dims: readonly number[]): ReturnType<ShapeRule> {
  const x = op.input(0)
  if (elementCount(dims) !== elementCount(x.dims)) op.mismatch(`[${x.dims}] as [${dims}]`)
  return { outputs: [{ elementType: x.elementType, dims, ints: known(x.ints) }] }
}

const reshape: ShapeRule = (op) => {
  const from = op.input(0).dims
  const target = op.ints(1)
  const allowZero = op.int('allowzero', 0) !== 0
  const dims = target.map((dim, axis) => {
    if (dim === 0 && !allowZero) return from[axis] ?? op.mismatch(`dimension ${axis} copied from [${from}]`)
    return dim < -1 || dim > 2 ** 31 ? op.mismatch(`dimension ${dim}`) : dim
  })
  const open = dims.indexOf(-1)
  if (open >= 0) {
    const rest = dims.reduce((total, dim, axis) => (axis === open ? total : total * dim), 1)
    dims[open] = elementCount(from) / rest
    if (!Number.isInteger(dims[open]) || dims.includes(-1)) op.mismatch(`[${from}] as [${target}]`)
  }
  return sameElements(op, dims)
}

const flatten: ShapeRule = (op) => {
  const { dims } = op.input(0)
  const axis = op.axis(op.int('axis', 1), dims.length + 1)
  return sameElements(op, [elementCount(dims.slice(0, axis)), elementCount(dims.slice(axis))])
}

const axesOf = (op: OpView): readonly number[] | null => op.optionalInts(1) ?? op.intList('axes')

const squeeze: ShapeRule = (op) => {
  const { dims } = op.input(0)
  const listed = axesOf(op)
  const axes = listed === null ? dims.flatMap((dim, axis) => (dim === 1 ? [axis] : [])) : op.axes(listed, dims.length)
  return sameElements(
    op,
    dims.filter((_, axis) => !axes.includes(axis)),
  )
}

const unsqueeze: ShapeRule = (op) => {
  const { dims } = op.input(0)
  const listed = axesOf(op) ?? op.mismatch('axes are missing')
  const axes = op.axes(listed, dims.length + listed.length)
  const rest = [...dims]
  return sameElements(
    op,
    Array.from({ length: dims.length + axes.length }, (_, axis) =>
      axes.includes(axis) ? 1 : present(rest.shift(), 'a dim that is not listed'),
    ),
  )
}

const transpose: ShapeRule = (op) => {
  const { elementType, dims } = op.input(0)
  const perm = op.intList('perm') ?? dims.map((_, axis) => dims.length - 1 - axis)
  if (op.axes(perm, dims.length).length !== dims.length) op.mismatch(`perm ${perm} of [${dims}]`)
  return { outputs: [{ elementType, dims: perm.map((axis) => dims[op.axis(axis, dims.length)]!) }] }
}

const concat =
  (first: number, step: number): ShapeRule =>
  (op) => {
    const parts = op.inputs.flatMap((_, index) =>
      index >= first && (index - first) % step === 0 ? [op.input(index)] : [],
    )
    const head = parts[0] ?? op.mismatch('no inputs')
    const axis = op.axis(op.int('axis', 0), head.dims.length)
    const others = (dims: readonly number[]) => dims.filter((_, i) => i !== axis).join()
    for (const part of parts) {
      if (part.dims.length !== head.dims.length || others(part.dims) !== others(head.dims)) {
        op.mismatch(`[${part.dims}] beside [${head.dims}] on axis ${axis}`)
      }
    }
    const length = parts.reduce((total, part) => total + part.dims[axis]!, 0)
    const ints = parts.some((part) => part.ints === null) ? null : parts.flatMap((part) => part.ints ?? [])
    const dims = head.dims.map((dim, i) => (i === axis ? length : dim))
    return { outputs: [{ elementType: head.elementType, dims, ints: head.dims.length === 1 ? known(ints) : null }] }
  }

const pad: ShapeRule = (op) => {
  const { elementType, dims } = op.input(0)
  const pads = op.opset < 11 ? (op.intList('pads') ?? op.mismatch('pads are missing')) : op.ints(1)
  const axes = op.optionalInts(3)?.map((axis) => op.axis(axis, dims.length)) ?? dims.map((_, axis) => axis)
  if (pads.length !== 2 * axes.length) op.mismatch(`${pads.length} pads for ${axes.length} axes`)
  const padded = [...dims]
  for (const [i, axis] of axes.entries()) padded[axis] = padded[axis]! + pads[i]! + pads[i + axes.length]!
  if (padded.some((dim) => dim < 1)) op.mismatch(`[${dims}] padded to [${padded}]`)
  return { outputs: [{ elementType, dims: padded }] }
}

const gather: ShapeRule = (op) => {
  const { elementType, dims, ints } = op.input(0)
  const indices = op.input(1)
  const axis = op.axis(op.int('axis', 0), dims.length)
  const picked =
    dims.length === 1 && ints !== null
      ? indices.ints?.map((index) => ints[index < 0 ? index + ints.length : index])
      : null
  const folded = picked === null || picked === undefined || picked.includes(undefined) ? null : (picked as number[])
  return {
    outputs: [
      { elementType, dims: [...dims.slice(0, axis), ...indices.dims, ...dims.slice(axis + 1)], ints: known(folded) },
    ],
  }
}

const slice: ShapeRule = (op) => {
  const { elementType, dims, ints } = op.input(0)
  const inputs = op.opset >= 10
  const starts = inputs ? op.ints(1) : (op.intList('starts') ?? op.mismatch('starts are missing'))
  const ends = inputs ? op.ints(2) : (op.intList('ends') ?? op.mismatch('ends are missing'))
  const axes = (inputs ? op.optionalInts(3) : op.intList('axes')) ?? starts.map((_, axis) => axis)
  const steps = (inputs ? op.optionalInts(4) : null) ?? starts.map(() => 1)
  if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length) {
    op.mismatch('starts, ends, axes and steps differ in length')
  }
  const out = [...dims]
  let folded = ints
  for (const [i, listed] of axes.entries()) {
    const axis = op.axis(listed, dims.length)
    const size = dims[axis]!
    const step = steps[i]!
    // Reversed slices exist, but no quantized network here uses one; refusing beats an untested formula.
    if (!(step >= 1)) op.unsupported(`step ${step}`)
    const clamp = (at: number) => Math.min(Math.max(at < 0 ? at + size : at, 0), size)
    const start = clamp(starts[i]!)
    const end = clamp(ends[i]!)
    out[axis] = Math.max(0, Math.ceil((end - start) / step))
    folded = folded === null ? null : folded.filter((_, at) => at >= start && at < end && (at - start) % step === 0)
  }
  if (out.includes(0)) op.mismatch(`[${dims}] sliced to [${out}]`)
  return { outputs: [{ elementType, dims: out, ints: dims.length === 1 ? known(folded) : null }] }
}

const split: ShapeRule = (op) => {
  const { elementType, dims } = op.input(0)
  const axis = op.axis(op.int('axis', 0), dims.length)
  const total = dims[axis]!
  const count = op.node.outputs.length
  const chunk = Math.ceil(total / count)
  const listed = op.opset >= 13 ? op.optionalInts(1) : op.intList('split')
  const sizes = listed ?? Array.from({ length: count }, (_, i) => Math.min(chunk, total - i * chunk))
  if (sizes.length !== count || sizes.some((size) => size < 1) || sizes.reduce((a, b) => a + b, 0) !== total) {
    op.mismatch(`[${dims}] split into ${sizes} on axis ${axis}`)
  }
  return { outputs: sizes.map((size) => ({ elementType, dims: dims.map((dim, i) => (i === axis ? size : dim)) })) }
}

const constant: ShapeRule = (op) => {
  const value = op.node.attributes.get('value')
  if (value?.kind === 'tensor') {
    return {
      outputs: [{ elementType: value.value.elementType, dims: value.value.dims, ints: intsOfTensor(value.value) }],
    }
  }
  const list = op.intList('value_ints')
  if (list !== null) return { outputs: [{ elementType: 'int64', dims: [list.length], ints: known(list) }] }
  if (op.node.attributes.has('value_int')) {
    return { outputs: [{ elementType: 'int64', dims: [], ints: [op.int('value_int', 0)] }] }
  }
  const float = op.node.attributes.get('value_float')
  if (float?.kind === 'float') return { outputs: [{ elementType: 'float32', dims: [] }] }
  const floats = op.node.attributes.get('value_floats')
  if (floats?.kind === 'floats') return { outputs: [{ elementType: 'float32', dims: [floats.value.length] }] }
  return op.unsupported('value is no tensor of numbers')
}

const constantOfShape: ShapeRule = (op) => {
  const dims = op.ints(0)
  if (dims.some((dim) => dim < 0)) op.mismatch(`shape [${dims}]`)
  const value = op.node.attributes.get('value')
  const elementType: ElementType = value?.kind === 'tensor' ? value.value.elementType : 'float32'
  const fill = value?.kind === 'tensor' ? intsOfTensor(value.value)?.[0] : undefined
  const elements = elementCount(dims)
  const ints = fill === undefined || elements > KNOWN_INTS_MAX ? null : new Array<number>(elements).fill(fill)
  return { outputs: [{ elementType, dims, ints }] }
}

const cast: ShapeRule = (op) => {
  const x = op.input(0)
  const elementType = elementTypeOfCode(op.int('to', 0)) ?? op.unsupported(`to ${op.int('to', 0)}`)
  if (bytesOfElements(elementType, 1) === 0) op.unsupported(`to ${elementType}`)
  const integer = elementType === 'int64' || elementType === 'int32'
  return { outputs: [{ elementType, dims: x.dims, ints: integer ? known(x.ints) : null }] }
}

const shape: ShapeRule = (op) => {
  const { dims } = op.input(0)
  const bound = (at: number) => Math.min(Math.max(at < 0 ? at + dims.length : at, 0), dims.length)
  const ints = dims.slice(bound(op.int('start', 0)), bound(op.int('end', dims.length)))
  return { outputs: [{ elementType: 'int64', dims: [ints.length], ints }] }
}

export const LAYOUT_RULES: Readonly<Record<string, ShapeRule>> = {
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: transpose,
  Identity: (op) => sameElements(op, op.input(0).dims),
  Dropout: likeInput(0),
  Concat: concat(0, 1),
  // Y_scale, Y_zero_point, then (X, X_scale, X_zero_point) for every part
  'com.microsoft:QLinearConcat': concat(2, 3),
  Pad: pad,
  Gather: gather,
  Slice: slice,
  Split: split,
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Cast: cast,
  Shape: shape,
}
