import { float32Word, type NodeContext, type Prepared } from '../node-context.ts'
import { inputRadius } from './elementwise.ts'
import { interpolationTable } from './interpolation-table.ts'

/** SoftmaxOptions of the schema. */
const OPTIONS = { beta: 0 } as const
/** Bits before the point of a difference, as the exponential takes it. */
const DIFFERENCE_BITS = 5
const BITS = { int8: 8, int16: 16 } as const

/** float32 to float32, int16 to int16 (1/32768, 0), or int8 to int8 (scale 1/256, zero point -128) or int16 (1/65536, -32768), along the last dimension.
 *  @see softmax_common.cc of TFLite Micro and reference/softmax.h of TensorFlow Lite */
export function prepareSoftmax(node: NodeContext): Prepared {
  node.expectPorts(1, 1, 1)
  const [input, output] = [node.input(0), node.output(0)]
  if (input.elementType === 'float32') return softmaxOfFloats(node)
  if (input.elementType === 'int16') return softmaxOfShorts(node)
  node.expectType(input, 'int8', 'int16', 'float32')
  node.expectType(output, 'int8', 'int16')
  node.expectShape(output, input.shape)
  const depth = depthOf(node)
  // Twelve bits before the point hold the sum of so many exponentials.
  if (depth > 4_095) node.unsupported(`softmax over ${depth} values, at most 4095`)
  const { scale } = node.quantization(input)
  const to = node.quantization(output)
  const bits = BITS[output.elementType as keyof typeof BITS]
  if (to.zeroPoint !== -(2 ** (bits - 1)) || Math.abs(to.scale * 2 ** bits - 1) > 0.001) {
    node.malformed(`"${output.name}" has to have the scale 1/${2 ** bits} and the zero point ${-(2 ** (bits - 1))}`)
  }
  const beta = node.options?.float32(OPTIONS.beta) ?? 0
  const factor = Math.min(beta * scale * 2 ** (31 - DIFFERENCE_BITS), 2 ** 31 - 1)
  if (!(factor > 1)) node.malformed(`beta ${beta} and the input's scale ${scale} make every value alike`)
  const { multiplier, shift } = node.largeMultiplier(factor)
  const sizes = [input.address, output.address, input.elements / depth, depth]
  const words = [...sizes, multiplier, shift, -inputRadius(DIFFERENCE_BITS, shift), bits]
  return { calls: [{ kernel: 'softmax', words }] }
}

function softmaxOfFloats(node: NodeContext): Prepared {
  const [input, output] = [node.input(0), node.output(0)]
  node.expectType(output, 'float32')
  node.expectShape(output, input.shape)
  const depth = depthOf(node)
  const beta = float32Word(node.options?.float32(OPTIONS.beta) ?? 0)
  return {
    calls: [{ kernel: 'softmaxFloat', words: [input.address, output.address, input.elements / depth, depth, beta] }],
  }
}

/** float32. @see log_softmax.cc of TFLite Micro */
export function prepareLogSoftmax(node: NodeContext): Prepared {
  node.expectPorts(1, 1, 1)
  const [input, output] = [node.input(0), node.output(0)]
  for (const tensor of [input, output]) node.expectType(tensor, 'float32')
  node.expectShape(output, input.shape)
  const depth = depthOf(node)
  return {
    calls: [{ kernel: 'logSoftmaxFloat', words: [input.address, output.address, input.elements / depth, depth] }],
  }
}

function depthOf(node: NodeContext): number {
  const { name, shape } = node.input(0)
  return shape.at(-1) ?? node.malformed(`"${name}" has no dimensions`)
}

/** What the table of the exponential spans, as the reference has it: e^-10 counts for nothing. */
const EXPONENT_LEAST = -10
/** Sums of that many largest powers keep a bit of 31 free. */
const SHORTS_DEPTH_MAX = 32_767

function softmaxOfShorts(node: NodeContext): Prepared {
  const [input, output] = [node.input(0), node.output(0)]
  node.expectType(output, 'int16')
  node.expectShape(output, input.shape)
  node.expectSymmetric(output)
  const { scale } = node.quantization(output)
  if (Math.abs(scale * 2 ** 15 - 1) > 0.001) node.malformed(`"${output.name}" has to have the scale 1/32768`)
  const depth = depthOf(node)
  if (depth > SHORTS_DEPTH_MAX) node.unsupported(`softmax over ${depth} values, at most ${SHORTS_DEPTH_MAX}`)
  const beta = node.options?.float32(OPTIONS.beta) ?? 0
  const { multiplier, shift } = node.multiplier((node.quantization(input).scale * beta) / (-EXPONENT_LEAST / 65_535))
  // A difference has 16 bits and a sign.
  if (shift > 14) node.malformed(`beta ${beta} and the input's scale make all but the largest vanish`)
  const powers = node.table(interpolationTable(EXPONENT_LEAST, 0, Math.exp))
  const reciprocals = node.table(interpolationTable(0, 1, (x) => 1 / Math.fround(1 + x)))
  const sizes = [input.address, output.address, input.elements / depth, depth]
  return { calls: [{ kernel: 'softmax16', words: [...sizes, multiplier, shift, powers, reciprocals] }] }
}
