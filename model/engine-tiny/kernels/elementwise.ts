import type { FixedElementType } from '../../element-type.ts'
import { activationRange, type QuantizedMultiplier, roundHalfAway, splitDouble } from '../multiplier.ts'
import { float32Word, type NodeContext, type Prepared } from '../node-context.ts'
import type { TinyTensor } from '../tiny-tensor.ts'
import { sigmoidOfShorts } from './sigmoid-16.ts'

/** Numbers of integer types in the words of kernels. */
const INTEGERS = { int8: 0, uint8: 1, int16: 2, int32: 3 } as const
type IntegerType = keyof typeof INTEGERS
const integer = (tensor: TinyTensor): number => INTEGERS[tensor.elementType as IntegerType]

/** Input and output of one element each to one. */
function pair(node: NodeContext): readonly [TinyTensor, TinyTensor] {
  node.expectPorts(1, 1, 1)
  const [input, output] = [node.input(0), node.output(0)]
  node.expectElements(output, input.elements)
  return [input, output]
}

/** The same, of one type. */
export function samePair(node: NodeContext, ...types: readonly FixedElementType[]): readonly [TinyTensor, TinyTensor] {
  const [input, output] = pair(node)
  node.expectType(input, ...types)
  node.expectType(output, input.elementType)
  return [input, output]
}

/** Functions of one float32, in the words of the kernel. Those with an exponential are within one place of the last of a good C library's. */
export const FLOAT_FUNCTIONS = {
  ...{
    relu: 0,
    relu6: 1,
    leakyRelu: 2,
    hardSwish: 3,
    logistic: 4,
    tanh: 5,
    abs: 6,
    negative: 7,
    exponential: 8,
    logarithm: 9,
  },
  ...{ root: 10, inverseRoot: 11, square: 12, floor: 13, ceiling: 14, round: 15, elu: 16, reluOne: 17 },
} as const

export function mappedFloats(node: NodeContext, kind: number, slope = 0): Prepared {
  const [input, output] = [node.input(0), node.output(0)]
  const words = [input.address, output.address, input.elements, kind, float32Word(slope)]
  return { calls: [{ kernel: 'mapFloats', words }] }
}

const range = (node: NodeContext, tensor: TinyTensor): readonly [number, number] =>
  tensor.elementType === 'int32'
    ? [-0x80000000, 0x7fffffff]
    : (activationRange(0, tensor) ?? node.unsupportedType(`"${tensor.name}" is ${tensor.elementType}`))

/** Which integers QUANTIZE turns into which.
 *  @see quantize_common.cc of TFLite Micro */
const REQUANTIZES: ReadonlySet<string> = new Set([
  ...['int8 int8', 'int8 uint8', 'int8 int16', 'int8 int32', 'uint8 int8', 'int16 int8', 'int16 int16', 'int16 int32'],
  ...['int32 int8', 'int32 int16'],
])

/** float32 to int8, uint8, int16 or int32, or from one quantization to another. */
export function prepareQuantize(node: NodeContext): Prepared {
  const [input, output] = pair(node)
  if (input.elementType !== 'float32') {
    if (!REQUANTIZES.has(`${input.elementType} ${output.elementType}`)) {
      node.unsupportedType(`${input.elementType} to ${output.elementType}`)
    }
    return requantized(node, range(node, output))
  }
  node.expectType(output, 'int8', 'uint8', 'int16')
  const { scale, zeroPoint } = node.quantization(output)
  const places = [input.address, output.address, input.elements, integer(output)]
  const words = [...places, zeroPoint, float32Word(scale), ...range(node, output)]
  return { calls: [{ kernel: 'quantizeElements', words }] }
}

/** int8, uint8 or int16 to float32. @see dequantize.h of TensorFlow Lite */
export function prepareDequantize(node: NodeContext): Prepared {
  const [input, output] = pair(node)
  node.expectType(input, 'int8', 'uint8', 'int16')
  node.expectType(output, 'float32')
  const { scale, zeroPoint } = node.quantization(input)
  const words = [input.address, output.address, input.elements, integer(input), zeroPoint, float32Word(scale)]
  return { calls: [{ kernel: 'dequantizeElements', words }] }
}

/** @see activations_common.cc of TFLite Micro: the bound is that of the output's zero point */
export function prepareRelu(node: NodeContext): Prepared {
  const [input, output] = samePair(node, 'int8', 'int16', 'float32')
  if (input.elementType === 'float32') return mappedFloats(node, FLOAT_FUNCTIONS.relu)
  return requantized(node, activationRange(1, output) ?? [-128, 127])
}

/** @see activations_common.cc of TFLite Micro: bytes between the input's 0 and 6, whatever the output's scale */
export function prepareRelu6(node: NodeContext): Prepared {
  const [input, output] = samePair(node, 'int8', 'int16', 'float32')
  if (input.elementType === 'float32') return mappedFloats(node, FLOAT_FUNCTIONS.relu6)
  const { scale, zeroPoint } = node.quantization(input)
  const [least, most] = range(node, input)
  if (zeroPoint < least || zeroPoint > most) node.malformed(`"${input.name}" has the zero point ${zeroPoint}`)
  const six = Math.min(most, zeroPoint + roundHalfAway(Math.fround(6 / Math.fround(scale))))
  const words = [input.address, output.address, input.elements, zeroPoint, six, integer(input)]
  return { calls: [{ kernel: 'clampElements', words }] }
}

function requantized(node: NodeContext, [least, most]: readonly [number, number]): Prepared {
  const [input, output] = [node.input(0), node.output(0)]
  const [from, to] = [node.quantization(input), node.quantization(output)]
  const { multiplier, shift } = node.multiplier(from.scale / to.scale)
  const places = [input.address, output.address, input.elements, integer(input), integer(output)]
  const words = [...places, from.zeroPoint, to.zeroPoint, multiplier, shift, least, most]
  return { calls: [{ kernel: 'requantizeElements', words }] }
}

/** Integer bits of what the exponential of LOGISTIC takes. */
const LOGISTIC_BITS = 4

/** int8, output at scale 1/256 and zero point -128; int16, output in 1/32768; float32.
 *  @see logistic_common.cc of TFLite Micro and integer_ops/logistic.h of TensorFlow Lite */
export function prepareLogistic(node: NodeContext): Prepared {
  const [input, output] = samePair(node, 'int8', 'int16', 'float32')
  if (input.elementType === 'float32') return mappedFloats(node, FLOAT_FUNCTIONS.logistic)
  if (input.elementType === 'int16') return sigmoidOfShorts(node, 'logistic')
  const { scale, zeroPoint } = node.quantization(input)
  if (node.quantization(output).zeroPoint !== -128) node.malformed(`"${output.name}" has to have the zero point -128`)
  const { multiplier, shift } = activationInput(node, scale, LOGISTIC_BITS)
  const words = [input.address, output.address, input.elements, zeroPoint, inputRadius(LOGISTIC_BITS, shift)]
  return { calls: [{ kernel: 'logistic', words: [...words, multiplier, shift] }] }
}

/** The factor that puts an input into a fixed-point number with `integerBits` before the point.
 *  @see CalculateArithmeticOpDataLogistic of logistic_common.cc in TFLite Micro: without the correction of a factor that rounds up to 1 */
export function activationInput(node: NodeContext, scale: number, integerBits: number): QuantizedMultiplier {
  const { fraction, exponent } = splitDouble(scale * 2 ** (31 - integerBits))
  const multiplier = Math.min(0x7fffffff, roundHalfAway(fraction * 2 ** 31))
  if (exponent < -31 || exponent > 30) node.malformed(`an input of scale ${scale}`)
  return { multiplier, shift: exponent }
}

/** Beyond this an input is at the end of what the function can show.
 *  @see CalculateInputRadius of TensorFlow Lite's quantization_util.cc */
export const inputRadius = (integerBits: number, shift: number): number =>
  Math.min(0x7fffffff, Math.floor(((2 ** integerBits - 1) * 2 ** (31 - integerBits)) / 2 ** shift))

/** Operators that are there for float32 alone. @see elementwise.cc, exp.cc, floor.cc, ceil.cc, round.cc and neg.cc of TFLite Micro */
export const floatFunction =
  (kind: number) =>
  (node: NodeContext): Prepared => {
    samePair(node, 'float32')
    return mappedFloats(node, kind)
  }
