import { bytesOfElements } from '../../element-type.ts'
import type { NodeContext, Prepared } from '../node-context.ts'

/** Numbers of types in the words of `castElements`. */
const TYPES = { int8: 0, uint8: 1, int16: 2, int32: 3, int64: 4, float32: 5, bool: 6 } as const
type CastType = keyof typeof TYPES

/** @see cast.cc of TFLite Micro */
export function prepareCast(node: NodeContext): Prepared {
  node.expectPorts(1, 1, 1)
  const [input, output] = [node.input(0), node.output(0)]
  for (const tensor of [input, output]) node.expectType(tensor, ...(Object.keys(TYPES) as CastType[]))
  node.expectElements(output, input.elements)
  const types = [input, output].map(({ elementType }) => TYPES[elementType as CastType])
  return { calls: [{ kernel: 'castElements', words: [input.address, output.address, input.elements, ...types] }] }
}

/** A bool, and what is taken where it is and where it is not, with broadcasting. @see select.cc of TFLite Micro */
export function prepareSelect(node: NodeContext): Prepared {
  node.expectPorts(3, 3, 1)
  const [condition, left, right, output] = [node.input(0), node.input(1), node.input(2), node.output(0)]
  node.expectType(condition, 'bool')
  for (const tensor of [left, right]) node.expectType(tensor, output.elementType)
  const bytes = bytesOfElements(output.elementType, 1)
  if (bytesOfElements(output.elementType, 2) !== 2 * bytes) node.unsupportedType(`elements of ${output.elementType}`)
  // Each walks beside the output, whose dimensions stay apart so that all three walk alike.
  const { shape } = output
  const strides = [condition, left, right].map((tensor) => {
    const missing = shape.length - tensor.shape.length
    if (missing < 0) node.malformed(`[${tensor.shape}] is larger than [${shape}]`)
    let stride = 1
    const made = shape.map(() => 0)
    for (let axis = shape.length - 1; axis >= missing; axis--) {
      const own = tensor.shape[axis - missing] ?? 1
      if (own !== 1 && own !== shape[axis]) node.malformed(`[${tensor.shape}] does not repeat to [${shape}]`)
      made[axis] = own === 1 ? 0 : stride
      stride *= own
    }
    return six(made, 0)
  })
  const words = [condition.address, left.address, right.address, output.address, bytes, ...six(shape, 1)]
  return { calls: [{ kernel: 'selectElements', words: [...words, ...strides.flat()] }] }
}

const six = (numbers: readonly number[], before: number): number[] => [
  ...Array.from({ length: 6 - numbers.length }, () => before),
  ...numbers,
]

/** @see elementwise.cc of TFLite Micro */
export function prepareLogicalNot(node: NodeContext): Prepared {
  node.expectPorts(1, 1, 1)
  const [input, output] = [node.input(0), node.output(0)]
  for (const tensor of [input, output]) node.expectType(tensor, 'bool')
  node.expectElements(output, input.elements)
  const table = node.table(Uint8Array.from({ length: 256 }, (_, value) => (value === 0 ? 1 : 0)))
  return { calls: [{ kernel: 'lookUpBytes', words: [input.address, output.address, input.elements, table] }] }
}
