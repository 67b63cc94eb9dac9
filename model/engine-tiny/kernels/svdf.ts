import type { NodeContext, Prepared } from '../node-context.ts'
import { biasAddress } from './channels.ts'

/** SVDFOptions of the schema. */
const OPTIONS = { rank: 0, activation: 1 } as const

/** Input [batches, inputs], weights [filters, inputs] and [filters, memory], bias [units], state [batches, filters × memory], which is a
 *  variable that the kernel writes; int8, or all of float32. Of int8 the fused activation is in the output's zero point, as in the reference.
 *  @see svdf_common.cc of TFLite Micro; factors are products and quotients of float32 */
export function prepareSvdf(node: NodeContext): Prepared {
  node.expectPorts(5, 5, 1)
  const [input, byFeature, byTime, state, output] = [
    node.input(0),
    node.input(1),
    node.input(2),
    node.input(4),
    node.output(0),
  ]
  node.expectType(input, 'int8', 'float32')
  const isFloat = input.elementType === 'float32'
  for (const tensor of [byFeature, output]) node.expectType(tensor, input.elementType)
  for (const tensor of [byTime, state]) {
    if (isFloat) node.expectType(tensor, 'float32')
    else node.expectType(tensor, 'int8', 'int16')
  }
  if (!state.variable) node.malformed(`"${state.name}" is no variable`)
  const [batches = 0, inputs = 0] = input.shape
  const [filters = 0] = byFeature.shape
  const [, memory = 0] = byTime.shape
  const rank = node.options?.int32(OPTIONS.rank) ?? 0
  if (rank < 1 || filters % rank !== 0) node.malformed(`${filters} filters of rank ${rank}`)
  node.expectShape(input, [batches, inputs])
  node.expectShape(byFeature, [filters, inputs])
  node.expectShape(byTime, [filters, memory])
  node.expectShape(state, [batches, filters * memory])
  node.expectShape(output, [batches, filters / rank])
  node.expectWork(batches * filters * (inputs + memory))
  const sizes = [batches, inputs, filters, memory, rank]
  if (isFloat) {
    const bias = node.optionalInput(3)
    if (bias !== null) {
      node.expectType(bias, 'float32')
      node.expectElements(bias, filters / rank)
    }
    const places = [input, byFeature, byTime].map(({ address }) => address)
    const words = [...places, bias?.address ?? 0, state.address, output.address, ...sizes]
    return { calls: [{ kernel: 'svdfFloat', words: [...words, ...node.floatActivation(OPTIONS.activation)] }] }
  }
  const scale = (tensor: typeof input): number => node.quantization(tensor).scale
  const feature = node.multiplier(Math.fround(Math.fround(scale(input) * scale(byFeature)) / scale(state)))
  const time = node.multiplier(Math.fround(Math.fround(scale(state) * scale(byTime)) / scale(output)))
  const words = [
    ...[input.address, byFeature.address, byTime.address, biasAddress(node, 3, filters / rank)],
    ...[state.address, output.address, ...sizes],
    ...[input, state, output].map((tensor) => node.quantization(tensor).zeroPoint),
    ...[feature.multiplier, feature.shift, time.multiplier, time.shift],
    ...[state, byTime].map(({ elementType }) => (elementType === 'int8' ? 1 : 2)),
  ]
  return { calls: [{ kernel: 'svdf', words }] }
}
