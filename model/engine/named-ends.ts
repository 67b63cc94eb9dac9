import type { GraphEnds } from '../../contract/manifest-v2.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { ElementType } from '../element-type.ts'
import type { IoElementType, OpenEnd, Quantization, TensorIo } from './tensor-io.ts'

/** The ends of a graph as its file has them, and what a bundle says of them, brought together: the same for every engine. */

/** What is fed back: elements and types are equal at both sides. */
export interface StateEnds {
  readonly input: TensorIo
  readonly output: string
}

export type ConstantType = 'float32' | 'int8' | 'uint8' | 'int32' | 'int64' | 'bool'
export interface ConstantEnd {
  readonly name: string
  readonly elementType: ConstantType
  readonly dims: readonly number[]
  readonly data: Float32Array | Int8Array | Uint8Array | Int32Array | BigInt64Array
}

export interface NamedEnds {
  readonly input: TensorIo
  /** without `elements` where only a run tells */
  readonly output: Omit<TensorIo, 'elements' | 'dims'> & { readonly dims: readonly number[] | null }
  readonly states: readonly StateEnds[]
  readonly constants: readonly ConstantEnd[]
}

const IO_TYPES: readonly string[] = ['float32', 'int8', 'uint8'] satisfies IoElementType[]
const isIoType = (type: ElementType | null): type is IoElementType => type !== null && IO_TYPES.includes(type)

const elementsOf = (dims: readonly number[]): number => dims.reduce((product, dim) => product * dim, 1)
const shapeText = (dims: OpenEnd['dims']): string =>
  dims === null ? 'no shape' : `[${dims.map((dim) => dim ?? '?').join(', ')}]`

/** Joins a file's ends with what a bundle states of them.
 *  @param stated quantization of the window and the result where the file does not tell it; it wins over what the file says
 *  @returns or in words: which end, what it has and what it should have */
export function nameEnds(
  inputs: readonly OpenEnd[],
  outputs: readonly OpenEnd[],
  ends: GraphEnds,
  stated: { readonly input?: Quantization; readonly output?: Quantization },
): Result<NamedEnds, string> {
  const left = new Map(inputs.map((end) => [end.name, end]))
  const take = (name: string): Result<OpenEnd, string> => {
    const end = left.get(name)
    if (end === undefined) return err(`the graph has no input "${name}" left; its inputs are ${listed(inputs)}`)
    left.delete(name)
    return ok(end)
  }
  const output = (name: string): Result<OpenEnd, string> => {
    const end = outputs.find((one) => one.name === name)
    return end === undefined ? err(`the graph has no output "${name}"; its outputs are ${listed(outputs)}`) : ok(end)
  }

  const windowEnd = take(ends.input.name)
  if (!windowEnd.ok) return windowEnd
  const window = boundEnd(windowEnd.value, ends.input.dims, stated.input)
  if (!window.ok) return window

  const states: StateEnds[] = []
  for (const state of ends.states) {
    const from = take(state.input)
    const to = output(state.output)
    if (!from.ok) return from
    if (!to.ok) return to
    const bound = boundEnd(from.value, state.dims, undefined)
    if (!bound.ok) return bound
    const fault = feedbackFault(from.value, to.value, state.dims)
    if (fault !== undefined) return err(fault)
    states.push({ input: bound.value, output: state.output })
  }

  const constants: ConstantEnd[] = []
  for (const { input, dims, values } of ends.constants) {
    const end = take(input)
    const constant = end.ok ? constantEnd(end.value, dims, values) : end
    if (!constant.ok) return constant
    constants.push(constant.value)
  }

  const [spare] = left.keys()
  if (spare !== undefined) {
    return err(`nothing goes into the graph's input "${spare}": name it as input, as a state or as a constant`)
  }
  const result = output(ends.output)
  if (!result.ok) return result
  const { name, elementType, dims, quantization } = result.value
  if (!isIoType(elementType))
    return err(`output "${name}" is ${elementType ?? 'no tensor'}; float32, int8 or uint8 go on`)
  // The batch is one; what else is open, a run tells.
  const known = dims?.map((dim, axis) => dim ?? (axis === 0 ? 1 : null)) ?? [null]
  const fixed = known.filter((dim) => dim !== null)
  return ok({
    input: window.value,
    output: {
      ...{ name, elementType, quantization: elementType === 'float32' ? null : (stated.output ?? quantization) },
      dims: fixed.length === known.length ? fixed : null,
    },
    ...{ states, constants },
  })
}

const listed = (ends: readonly OpenEnd[]): string => ends.map(({ name }) => `"${name}"`).join(', ') || 'none'

/** A window or a state with the shape that it has in runs. */
function boundEnd(
  end: OpenEnd,
  stated: readonly number[] | null,
  quantization: Quantization | undefined,
): Result<TensorIo, string> {
  const { name, elementType } = end
  if (!isIoType(elementType))
    return err(`input "${name}" is ${elementType ?? 'no tensor'}; float32, int8 or uint8 go in`)
  const dims = stated ?? end.dims?.map((dim, axis) => dim ?? (axis === 0 ? 1 : 0))
  if (dims === undefined || dims.includes(0)) {
    return err(`input "${name}" is ${shapeText(end.dims)}: what is open needs a number`)
  }
  if (!fits(end.dims, dims)) return err(`input "${name}" is ${shapeText(end.dims)}, not ${shapeText(dims)}`)
  return ok({
    ...{ name, elementType, dims, elements: elementsOf(dims) },
    quantization: elementType === 'float32' ? null : (quantization ?? end.quantization),
  })
}

const fits = (declared: OpenEnd['dims'], dims: readonly number[]): boolean =>
  declared === null ||
  (declared.length === dims.length && declared.every((dim, axis) => dim === null || dim === dims[axis]))

function feedbackFault(from: OpenEnd, to: OpenEnd, dims: readonly number[]): string | undefined {
  const said = `state "${from.name}" comes from "${to.name}"`
  if (from.elementType !== to.elementType) return `${said}, which is ${to.elementType} and not ${from.elementType}`
  if (!fits(to.dims, dims)) return `${said}, which is ${shapeText(to.dims)} and not ${shapeText(dims)}`
  const [a, b] = [from.quantization, to.quantization]
  const alike = a?.scale === b?.scale && a?.zeroPoint === b?.zeroPoint
  return from.elementType === 'float32' || alike ? undefined : `${said}, which is quantized otherwise`
}

function constantEnd(
  { name, elementType, dims: declared }: OpenEnd,
  dims: readonly number[],
  values: readonly number[],
): Result<ConstantEnd, string> {
  if (!fits(declared, dims)) return err(`constant "${name}" is ${shapeText(declared)}, not ${shapeText(dims)}`)
  if (elementsOf(dims) !== values.length)
    return err(`constant "${name}" has ${values.length} values for ${shapeText(dims)}`)
  const data = constantData(elementType, values)
  return data === undefined
    ? err(`constant "${name}" is ${elementType ?? 'no tensor'}, which none of its values ${values.join(', ')} can be`)
    : ok({ ...{ name, dims }, ...data })
}

function constantData(
  type: ElementType | null,
  values: readonly number[],
): Pick<ConstantEnd, 'elementType' | 'data'> | undefined {
  if (type === 'float32') return { elementType: type, data: Float32Array.from(values) }
  if (!values.every(Number.isSafeInteger)) return undefined
  if (type === 'int64') return { elementType: type, data: BigInt64Array.from(values, BigInt) }
  if (type === 'int32') return { elementType: type, data: Int32Array.from(values) }
  if (type === 'int8') return { elementType: type, data: Int8Array.from(values) }
  if (type === 'uint8') return { elementType: type, data: Uint8Array.from(values) }
  return type === 'bool'
    ? { elementType: type, data: Uint8Array.from(values, (value) => Number(value !== 0)) }
    : undefined
}

/** @returns whether all numbers of a state are numbers: one that is not stays for good */
export const isSound = (state: Float32Array | Int8Array | Uint8Array): boolean =>
  !(state instanceof Float32Array) || state.every(Number.isFinite)
