import { byteTable, divideByPowerOfTwo, requantize, tanhOf } from '../fixed-point.ts'
import { type QuantizedMultiplier, quantizedMultiplier, roundHalfAway } from '../multiplier.ts'
import type { NodeContext, Prepared } from '../node-context.ts'
import type { TinyTensor } from '../tiny-tensor.ts'
import { activationInput, FLOAT_FUNCTIONS, inputRadius, mappedFloats, samePair } from './elementwise.ts'
import { sigmoidOfShorts } from './sigmoid-16.ts'

/** Functions of one int8: computed for each of the 256 when the graph is loaded, by the arithmetic of the reference kernels, and looked up. */

interface Ends {
  readonly from: { readonly scale: number; readonly zeroPoint: number }
  readonly to: { readonly scale: number; readonly zeroPoint: number }
}

function prepare(node: NodeContext, functionOf: (ends: Ends) => (value: number) => number): Prepared {
  node.expectPorts(1, 1, 1)
  const [input, output] = [node.input(0), node.output(0)]
  node.expectType(input, 'int8')
  node.expectType(output, 'int8')
  node.expectElements(output, input.elements)
  const table = byteTable(functionOf({ from: node.quantization(input), to: node.quantization(output) }))
  return {
    calls: [{ kernel: 'lookUpBytes', words: [input.address, output.address, input.elements, node.table(table)] }],
  }
}

/** The output's scale is 1/128 and its zero point 0, whatever the file says, as in the reference.
 *  @see tanh.cc of TFLite Micro and reference/integer_ops/tanh.h */
export function prepareTanh(node: NodeContext): Prepared {
  const [input] = samePair(node, 'int8', 'int16', 'float32')
  if (input.elementType === 'float32') return mappedFloats(node, FLOAT_FUNCTIONS.tanh)
  if (input.elementType === 'int16') return sigmoidOfShorts(node, 'tanh')
  return prepare(node, ({ from }) => {
    const [integerBits, outputBits] = [4, 7]
    const { multiplier, shift } = activationInput(node, from.scale, integerBits)
    const radius = inputRadius(integerBits, shift)
    return (value) => {
      const x = value - from.zeroPoint
      if (x <= -radius) return -128
      if (x >= radius) return 127
      return divideByPowerOfTwo(tanhOf(requantize(x, multiplier, shift)), 31 - outputBits)
    }
  })
}

/** LeakyReluOptions of the schema. @see QuantizeLeakyRelu of reference/leaky_relu.h; scales are multiplied and divided as float32 */
export function prepareLeakyRelu(node: NodeContext): Prepared {
  const [input] = samePair(node, 'int8', 'int16', 'float32')
  if (input.elementType === 'int16') return leakyReluOfShorts(node)
  if (input.elementType === 'float32') {
    return mappedFloats(node, FLOAT_FUNCTIONS.leakyRelu, node.options?.float32(0) ?? 0)
  }
  return prepare(node, ({ from, to }) => {
    const { positive, negative } = leakyFactors(node, from.scale, to.scale)
    return (value) => {
      const x = value - from.zeroPoint
      const { multiplier, shift } = x >= 0 ? positive : negative
      return to.zeroPoint + requantize(x, multiplier, shift)
    }
  })
}

function leakyFactors(node: NodeContext, from: number, to: number) {
  const alpha = node.options?.float32(0) ?? 0
  return {
    positive: signedMultiplier(node, Math.fround(from / to)),
    negative: signedMultiplier(node, Math.fround(Math.fround(from * alpha) / to)),
  }
}

function leakyReluOfShorts(node: NodeContext): Prepared {
  const scale = (tensor: TinyTensor): number => node.quantization(tensor).scale
  return bentShorts(node, leakyFactors(node, scale(node.input(0)), scale(node.output(0))))
}

/** A factor from zero on, and another below. */
function bentShorts(
  node: NodeContext,
  { positive, negative }: { readonly positive: QuantizedMultiplier; readonly negative: QuantizedMultiplier },
): Prepared {
  const [input, output] = [node.input(0), node.output(0)]
  const [from, to] = [node.quantization(input), node.quantization(output)]
  const places = [input.address, output.address, input.elements, from.zeroPoint, to.zeroPoint]
  const factors = [positive, negative].flatMap(({ multiplier, shift }) => [multiplier, shift])
  return { calls: [{ kernel: 'leakyRelu16', words: [...places, ...factors] }] }
}

/** A slope may be negative. */
function signedMultiplier(node: NodeContext, factor: number) {
  const { multiplier, shift } = node.multiplier(Math.abs(factor))
  return { multiplier: factor < 0 ? -multiplier : multiplier, shift }
}

const int16 = (value: number): number => (value << 16) >> 16
const saturated16 = (value: number): number => Math.min(Math.max(value, -0x8000), 0x7fff)
/** 2 a b / 2^16, half away from zero; int16. */
const highMul16 = (a: number, b: number): number => {
  const product = a * b
  return saturated16(Math.trunc((product + (product >= 0 ? 2 ** 14 : 1 - 2 ** 14)) / 2 ** 15))
}

/** Sixteen bits throughout, the input at 128 times its precision. @see HardSwishPrepare of TFLite Micro and reference/hard_swish.h */
export function prepareHardSwish(node: NodeContext): Prepared {
  const [input] = samePair(node, 'int8', 'float32')
  if (input.elementType === 'float32') return mappedFloats(node, FLOAT_FUNCTIONS.hardSwish)
  return prepare(node, ({ from, to }) => {
    const fineScale = Math.fround(from.scale / 128)
    const output = multiplier16(node, Math.fround(fineScale / to.scale))
    const reluish = multiplier16(node, Math.fround(fineScale / Math.fround(3 / 32_768)))
    if (output.exponent > 0) node.unsupportedType(`scales of ${from.scale} and ${to.scale}: the output is too fine`)
    return (value) => {
      const fine = int16((value - from.zeroPoint) * 128)
      const atOutput = highMul16(fine, output.multiplier)
      let gate = fine
      if (reluish.exponent > 0) gate = saturated16(gate * 2 ** (reluish.exponent - 1))
      gate = highMul16(gate, reluish.multiplier)
      if (reluish.exponent > 0) gate = saturated16(gate * 2)
      if (reluish.exponent < 0) gate = divideByPowerOfTwo(gate, -reluish.exponent)
      gate = (gate + 2 ** 15) >> 1
      const gated = gate === -0x8000 && atOutput === -0x8000 ? 0x7fff : Math.trunc((gate * atOutput) / 2 ** 15)
      return int16(divideByPowerOfTwo(gated, -output.exponent) + to.zeroPoint)
    }
  })
}

/** A factor of 15 bits. */
function multiplier16(node: NodeContext, factor: number): { readonly multiplier: number; readonly exponent: number } {
  const { multiplier, shift } = quantizedMultiplier(factor)
  // 16-bit values move no further, and the reference shifts them by as much as it is told.
  if (shift > 15 || shift < -15) node.malformed(`scales make a factor of ${factor}`)
  return {
    multiplier: multiplier >= 0x7fffffff - 2 ** 15 ? 0x7fff : (multiplier + 2 ** 15) >> 16,
    exponent: shift,
  }
}

/** int16 is around 0. @see elementwise.cc of TFLite Micro, which multiplies nothing where both scales are one; neither does a factor of one */
export function prepareAbs(node: NodeContext): Prepared {
  const [input, output] = samePair(node, 'int8', 'int16', 'float32')
  if (input.elementType === 'float32') return mappedFloats(node, FLOAT_FUNCTIONS.abs)
  const positive = node.multiplier(node.quantization(input).scale / node.quantization(output).scale)
  if (input.elementType === 'int16') {
    for (const tensor of [input, output]) node.expectSymmetric(tensor)
    return bentShorts(node, { positive, negative: { ...positive, multiplier: -positive.multiplier } })
  }
  return prepare(node, ({ from, to }) => (value) => {
    const { multiplier, shift } = positive
    return requantize(Math.abs(value - from.zeroPoint), multiplier, shift) + to.zeroPoint
  })
}

/** @see elu.cc of TFLite Micro: of int8 a table of float32 */
export function prepareElu(node: NodeContext): Prepared {
  const [input] = samePair(node, 'int8', 'float32')
  if (input.elementType === 'float32') return mappedFloats(node, FLOAT_FUNCTIONS.elu)
  const f = Math.fround
  return prepare(node, ({ from, to }) => {
    const inverse = f(1 / to.scale)
    return (value) => {
      const x = f(from.scale * (value - from.zeroPoint))
      const y = x < 0 ? f(f(Math.exp(x)) - 1) : x
      return Math.trunc(f(roundHalfAway(f(y * inverse)) + to.zeroPoint))
    }
  })
}
