import { powerOfTwo } from '../multiplier.ts'
import type { NodeContext, Prepared } from '../node-context.ts'

/** Where the reference's table has one more than the function rounded: straight lines between its points are nearer so. */
const ROUNDED_UP: ReadonlySet<number> = new Set([
  ...[4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35],
  ...[37, 39, 40, 41, 43, 44, 45, 46, 49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103],
  ...[112, 116, 135, 255],
])

/** The logistic function at 0, 1/24, 2/24 and on to 255/24, in 1/65536, little-endian.
 *  @see sigmoid_table_uint16 of TensorFlow Lite's common.h, which this equals */
export function sigmoidTable(): Uint8Array {
  const table = new Uint8Array(512)
  const view = new DataView(table.buffer)
  for (let at = 0; at < 256; at++) {
    const value = Math.round(65_536 / (1 + Math.exp(-at / 24))) + (ROUNDED_UP.has(at) ? 1 : 0)
    view.setUint16(2 * at, value, true)
  }
  return table
}

/** Scale of the output of both, as a power of two; and that of an input which needs no factor. */
const OUTPUT_POWER = -15
const INPUT_POWER = -12

/** int16 around 0 at both ends, the output in 1/32768.
 *  @see CalculateArithmeticOpDataLogistic and CalculateArithmeticOpDataTanh of TFLite Micro */
export function sigmoidOfShorts(node: NodeContext, kind: 'logistic' | 'tanh'): Prepared {
  const [input, output] = [node.input(0), node.output(0)]
  node.expectSymmetric(input)
  node.expectSymmetric(output)
  if (powerOfTwo(node.quantization(output).scale) !== OUTPUT_POWER)
    node.malformed(`"${output.name}" has to have the scale 1/32768`)
  const { scale } = node.quantization(input)
  const power = powerOfTwo(scale)
  const left = power === null ? Number.NaN : power - INPUT_POWER
  const exact = left === 0 || (kind === 'tanh' && left === 1)
  const { multiplier, shift } = exact ? { multiplier: 3 * 2 ** left, shift: 0 } : tableFactor(scale)
  if (multiplier > 0x7fff) node.malformed(`an input of scale ${scale}`)
  const words = [input.address, output.address, input.elements, node.table(sigmoidTable()), multiplier, shift]
  return { calls: [{ kernel: 'sigmoid16', words: [...words, kind === 'tanh' ? 1 : 0] }] }
}

/** What brings a scale to a third of 1/4096, as fifteen bits and a shift. */
function tableFactor(scale: number): { readonly multiplier: number; readonly shift: number } {
  let [factor, shift] = [scale * 4_096 * 3, 0]
  while (factor <= 0x7fff / 2 && shift <= 30) {
    shift++
    factor *= 2
  }
  return { multiplier: Math.trunc(factor), shift }
}
