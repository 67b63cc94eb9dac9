import { float32Word, type NodeContext, type Prepared } from '../node-context.ts'
import { inputRadius } from './elementwise.ts'

/** SoftmaxOptions of the schema. */
const OPTIONS = { beta: 0 } as const
/** Bits before the point of a difference, as the exponential takes it. */
const DIFFERENCE_BITS = 5
const BITS = { int8: 8, int16: 16 } as const

/** float32 to float32, or int8 to int8 (scale 1/256, zero point -128) or int16 (1/65536, -32768) along the last dimension.
 *  @see softmax_common.cc of TFLite Micro and reference/softmax.h of TensorFlow Lite */
export function prepareSoftmax(node: NodeContext): Prepared {
  node.expectPorts(1, 1, 1)
  const [input, output] = [node.input(0), node.output(0)]
  if (input.elementType === 'float32') return softmaxOfFloats(node)
  node.expectType(input, 'int8', 'float32')
  node.expectType(output, 'int8', 'int16')
  node.expectShape(output, input.shape)
  const depth = input.shape.at(-1) ?? node.malformed(`"${input.name}" has no dimensions`)
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
  const depth = input.shape.at(-1) ?? node.malformed(`"${input.name}" has no dimensions`)
  const beta = float32Word(node.options?.float32(OPTIONS.beta) ?? 0)
  return {
    calls: [{ kernel: 'softmaxFloat', words: [input.address, output.address, input.elements / depth, depth, beta] }],
  }
}
