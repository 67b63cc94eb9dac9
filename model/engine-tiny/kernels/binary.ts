import type { NodeContext, Prepared } from '../node-context.ts'
import type { TinyTensor } from '../tiny-tensor.ts'
import { broadcastWalk } from './broadcast.ts'

/** Activation of AddOptions, SubOptions and MulOptions of the schema. */
const ACTIVATION = 0
/** A field that no such options have. */
const NO_ACTIVATION = 30
/** Bits by which the reference kernels shift before they add, so that nothing of a byte, or of two, is lost. */
const LEFT_SHIFT = { int8: 20, int16: 15 } as const
/** Numbers of types in the words of `binaryWide`. */
const WIDE = { int16: 0, int32: 1, int64: 2, float32: 3, int8: 4, bool: 4 } as const
const INT32 = [-0x80000000, 0x7fffffff] as const
/** What is computed, in the words of the kernel. */
const SUM = 0
const PRODUCT = 1
const LARGER = 2
const SMALLER = 3
const QUOTIENT = 4
const SQUARED_DIFFERENCE = 5
export const FLOOR_QUOTIENT = 6
export const FLOOR_REMAINDER = 7
/** What two elements are to each other; to bool. */
export const RELATIONS = {
  equal: 8,
  unequal: 9,
  above: 10,
  notBelow: 11,
  below: 12,
  notAbove: 13,
  both: 14,
  any: 15,
} as const

/** int8 and int16: factors in float64; int32, which ignores its activation, and float32. @see add_common.cc of TFLite Micro */
export function prepareAdd(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  if (isPlain(node)) return plainSum(node, 1)
  const [left, right, output] = scales(node)
  const twice = 2 * Math.max(left, right)
  const scaled = 2 ** leftShift(node) * output
  return sum(node, { left: left / twice, right: right / twice, output: twice / scaled, sign: 1 })
}

/** @see sub_common.cc of TFLite Micro: factors in float32, other than ADD's */
export function prepareSub(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  if (isPlain(node)) return plainSum(node, -1)
  const f = Math.fround
  const [left, right, output] = scales(node)
  const twice = f(2 * Math.max(left, right))
  const scaled = f(2 ** leftShift(node) * f(output))
  return sum(node, { left: f(left / twice), right: f(right / twice), output: f(twice / scaled), sign: -1 })
}

/** Types whose elements are what they stand for. */
const isPlain = (node: NodeContext): boolean => ['int32', 'float32'].includes(node.output(0).elementType)

function plainSum(node: NodeContext, sign: 1 | -1): Prepared {
  return binary(node, SUM, { ...NO_FACTORS, sign })
}

const leftShift = (node: NodeContext): number => LEFT_SHIFT[node.output(0).elementType as keyof typeof LEFT_SHIFT]

function scales(node: NodeContext): readonly [number, number, number] {
  for (const tensor of [node.input(0), node.input(1), node.output(0)]) node.expectType(tensor, 'int8', 'int16')
  const scale = (tensor: TinyTensor): number => node.quantization(tensor).scale
  return [scale(node.input(0)), scale(node.input(1)), scale(node.output(0))]
}

function sum(
  node: NodeContext,
  factors: { readonly left: number; readonly right: number; readonly output: number; readonly sign: 1 | -1 },
): Prepared {
  if (!(factors.output < 1)) node.malformed(`the output's scale is a 2^${leftShift(node)}th of the inputs' or less`)
  const [left, right, output] = [factors.left, factors.right, factors.output].map((factor) => node.multiplier(factor))
  return binary(node, SUM, {
    left: [left?.multiplier ?? 0, left?.shift ?? 0],
    right: [right?.multiplier ?? 0, right?.shift ?? 0],
    sign: factors.sign,
    output: [output?.multiplier ?? 0, output?.shift ?? 0],
  })
}

/** int8 and int16, int32 and float32. @see mul_common.cc of TFLite Micro */
export function prepareMul(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  if (isPlain(node)) return binary(node, PRODUCT, NO_FACTORS)
  const [left, right, output] = scales(node)
  const { multiplier, shift } = node.multiplier((left * right) / output)
  return binary(node, PRODUCT, { ...NO_FACTORS, output: [multiplier, shift] })
}

/** @see maximum_minimum.cc of TFLite Micro: elements are compared, whatever their scales */
export const prepareMaximum = (node: NodeContext): Prepared => compared(node, LARGER)
export const prepareMinimum = (node: NodeContext): Prepared => compared(node, SMALLER)

function compared(node: NodeContext, kind: number): Prepared {
  node.expectPorts(2, 2, 1)
  return binary(node, kind, NO_FACTORS)
}

interface Factors {
  readonly left: readonly [number, number]
  readonly right: readonly [number, number]
  readonly sign: number
  readonly output: readonly [number, number]
}

const NO_FACTORS: Factors = { left: [0, 0], right: [0, 0], sign: 0, output: [0, 0] }

function binary(node: NodeContext, kind: number, factors: Factors): Prepared {
  const [left, right, output] = [node.input(0), node.input(1), node.output(0)]
  const compares = kind === LARGER || kind === SMALLER
  if (kind < RELATIONS.equal) {
    node.expectType(output, 'int8', 'int16', 'int32', 'float32', ...(compares ? (['int64'] as const) : []))
  } else node.expectType(output, 'bool')
  const type = kind < RELATIONS.equal ? output.elementType : left.elementType
  for (const tensor of [left, right]) node.expectType(tensor, type)
  const walk = broadcastWalk(node, left.shape, right.shape, output.shape)
  const zero = ({ zeroPoints }: typeof left): number => zeroPoints[0] ?? 0
  const words = [
    ...[left.address, right.address, output.address, ...walk.sizes, ...walk.left, ...walk.right],
    ...[-zero(left), ...factors.left, -zero(right), ...factors.right, factors.sign],
    ...[...factors.output, zero(output), ...bounds(node, kind), kind],
  ]
  if (type === 'int8' && kind <= SMALLER) return { calls: [{ kernel: 'binary', words }] }
  return { calls: [{ kernel: 'binaryWide', words: [...words, WIDE[type as keyof typeof WIDE]] }] }
}

/** Only sums, products and quotients have an activation, and sums of int32 do without theirs. */
function bounds(node: NodeContext, kind: number): readonly [number, number] {
  const output = node.output(0)
  if (kind === SQUARED_DIFFERENCE && output.elementType === 'int16') return [-0x8000, 0x7fff]
  if (kind > PRODUCT && kind !== QUOTIENT) return [-128, 127]
  if (output.elementType === 'float32') return node.floatActivation(ACTIVATION)
  if (output.elementType !== 'int32') return node.activation(ACTIVATION, output)
  if (kind === SUM) return INT32
  const activation = node.options?.int8(ACTIVATION) ?? 0
  const ranges: readonly (readonly [number, number] | undefined)[] = [INT32, [0, INT32[1]], [-1, 1], [0, 6]]
  return ranges[activation] ?? node.unsupported(`fused activation ${activation} on int32`)
}

/** float32. @see div.cc of TFLite Micro */
export function prepareDiv(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  node.expectType(node.output(0), 'float32')
  return binary(node, QUOTIENT, NO_FACTORS)
}

/** float32. @see floor_div.cc and floor_mod.cc of TFLite Micro */
export const flooredQuotient =
  (kind: number) =>
  (node: NodeContext): Prepared => {
    node.expectPorts(2, 2, 1)
    node.expectType(node.output(0), 'float32')
    return binary(node, kind, NO_FACTORS)
  }

/** int8 and int16, requantized to twice the larger scale, int32 and float32. @see squared_difference.cc of TFLite Micro */
export function prepareSquaredDifference(node: NodeContext): Prepared {
  node.expectPorts(2, 2, 1)
  if (isPlain(node)) return binary(node, SQUARED_DIFFERENCE, NO_FACTORS)
  const [left, right, output] = scales(node)
  const tensors = [node.input(0), node.input(1), node.output(0)]
  const short = node.output(0).elementType === 'int16'
  for (const tensor of tensors) {
    if (short) node.expectSymmetric(tensor)
    else node.expectZeroPoint(tensor)
  }
  const twice = 2 * Math.max(left, right)
  const factors = [left / twice, right / twice, twice ** 2 / (output * (short ? 1 : 2 ** 14))].map((factor) =>
    node.multiplier(factor),
  )
  const [a = [0, 0], b = [0, 0], to = [0, 0]] = factors.map(({ multiplier, shift }) => [multiplier, shift] as const)
  return binary(node, SQUARED_DIFFERENCE, { left: a, right: b, sign: 0, output: to })
}

/** int8 and int16 by their scales, which are below 1, int32, int64 and float32; bool where it is whether they are equal. @see comparisons.cc of TFLite Micro */
export const relation =
  (kind: number) =>
  (node: NodeContext): Prepared => {
    node.expectPorts(2, 2, 1)
    const [left, right] = [node.input(0), node.input(1)]
    if (left.elementType === 'bool' && kind <= RELATIONS.unequal)
      return binary(node, kind, { ...NO_FACTORS, left: ONE, right: ONE })
    node.expectType(left, 'int8', 'int16', 'int32', 'int64', 'float32')
    if (left.elementType !== 'int8' && left.elementType !== 'int16') return binary(node, kind, NO_FACTORS)
    const [a = ONE, b = ONE] = [left, right].map((tensor) => {
      const { scale } = node.quantization(tensor)
      if (scale >= 1) node.unsupportedType(`"${tensor.name}" has the scale ${scale}, which has to be below 1`)
      const { multiplier, shift } = node.multiplier(scale)
      return [multiplier, shift] as const
    })
    return binary(node, kind, { ...NO_FACTORS, left: a, right: b })
  }

/** A factor of one. */
const ONE = [2 ** 30, 1] as const

/** Of bool. @see logical.cc of TFLite Micro */
export const logical =
  (kind: number) =>
  (node: NodeContext): Prepared => {
    node.expectPorts(2, 2, 1)
    node.expectType(node.input(0), 'bool')
    return binary(node, kind, NO_FACTORS)
  }

/** Of float32, added in the order of the inputs. @see add_n.cc of TFLite Micro */
export function prepareAddN(node: NodeContext): Prepared {
  node.expectPorts(node.inputs, node.inputs, 1)
  const output = node.output(0)
  const inputs = Array.from({ length: node.inputs }, (_, at) => node.input(at))
  for (const tensor of [output, ...inputs]) {
    node.expectType(tensor, 'float32')
    node.expectShape(tensor, output.shape)
  }
  const [first, ...rest] = inputs
  if (first === undefined) node.malformed('it adds nothing')
  const plain = [1, 1, 1, 1, 1, output.elements, ...[0, 0, 0, 0, 0, 1], ...[0, 0, 0, 0, 0, 1]]
  const factors = [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, ...node.floatActivation(NO_ACTIVATION), SUM, WIDE.float32]
  return {
    calls: [
      { kernel: 'copyBytes', words: [first.address, output.address, output.bytes] },
      ...rest.map(({ address }) => ({
        kernel: 'binaryWide' as const,
        words: [output.address, address, output.address, ...plain, ...factors],
      })),
    ],
  }
}
