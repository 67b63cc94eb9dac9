import { powerOfTwo } from '../multiplier.ts'
import { float32Word, type NodeContext, type Prepared } from '../node-context.ts'
import type { TinyTensor } from '../tiny-tensor.ts'
import { biasAddress } from './channels.ts'
import { sigmoidTable } from './sigmoid-16.ts'

/** UnidirectionalSequenceLSTMOptions of the schema. */
const OPTIONS = { activation: 0, cellClip: 1, projectionClip: 2, timeMajor: 3 } as const
const TANH = 4
/** Inputs of the node: those of the four gates (input, forget, cell, output) lie side by side. */
const INPUT = { sequence: 0, weights: 1, recurrent: 5, biases: 12, hidden: 18, cells: 19 } as const
/** What makes other kinds of LSTM: peepholes, projection, layer normalization. */
const LEFT_OUT = [9, 10, 11, 16, 17, 20, 21, 22, 23] as const
const INPUTS = 24
const GATES = [0, 1, 2, 3] as const
/** Scale of what gates compute before and after their functions. */
const GATE_SCALE = 2 ** -12
const FUNCTION_SCALE = 2 ** -15
const CELL_POWER_MAX = -1

/** int8 with cells of int16, or all of float32, of which both states are variables that the kernel writes: input [batches, steps, inputs], or steps first, weights
 *  [units, inputs] and [units, units], of int8 with one scale each and biases [units] of int32, states of batches × units, output [batches, steps, units].
 *  @see UnidirectionalSequenceLstmPrepare and lstm_eval_common.cc of TFLite Micro */
export function prepareLstm(node: NodeContext): Prepared {
  node.expectPorts(INPUTS, INPUTS, 1)
  for (const at of LEFT_OUT) {
    if (node.optionalInput(at) !== null) node.unsupported('peepholes, a projection or layer normalization')
  }
  const activation = node.options?.int8(OPTIONS.activation) ?? 0
  if (activation !== TANH) node.unsupported(`cells with the function ${activation}, other than tanh`)
  const [input, hidden, cells] = [INPUT.sequence, INPUT.hidden, INPUT.cells].map((at) => node.input(at)) as [
    TinyTensor,
    TinyTensor,
    TinyTensor,
  ]
  const output = node.output(0)
  node.expectType(input, 'int8', 'float32')
  const float = input.elementType === 'float32'
  for (const tensor of [hidden, output]) node.expectType(tensor, input.elementType)
  node.expectType(cells, float ? 'float32' : 'int16')
  for (const state of [hidden, cells]) if (!state.variable) node.malformed(`"${state.name}" is no variable`)
  const timeMajor = (node.options?.int8(OPTIONS.timeMajor) ?? 0) !== 0
  const [first = 0, second = 0, inputs = 0] = input.shape
  const [batches, steps] = timeMajor ? [second, first] : [first, second]
  const units = output.shape.at(-1) ?? 0
  node.expectShape(input, [first, second, inputs])
  node.expectShape(output, [first, second, units])
  for (const state of [hidden, cells]) node.expectElements(state, batches * units)
  node.expectWork(4 * batches * steps * units * (inputs + units))
  if (float) {
    const places = [input, output, hidden, cells].map(({ address }) => address)
    const clip = node.options?.float32(OPTIONS.cellClip) ?? 0
    const words = [...places, batches, steps, timeMajor ? 1 : 0, inputs, units, float32Word(clip > 0 ? clip : 0)]
    const gates = GATES.flatMap((gate) => floatGate(node, gate, inputs, units))
    return { calls: [{ kernel: 'lstmFloat', words: [...words, ...gates] }], scratchBytes: 4 * units }
  }
  const matrices = GATES.flatMap((gate) => [
    ...matrix(node, input, { at: INPUT.weights + gate, rows: units, columns: inputs, biasAt: INPUT.biases + gate }),
    ...matrix(node, hidden, { at: INPUT.recurrent + gate, rows: units, columns: units, biasAt: null }),
  ])
  const { scale, zeroPoint } = node.quantization(hidden)
  const added = node.multiplier((FUNCTION_SCALE * FUNCTION_SCALE) / node.quantization(cells).scale)
  const made = node.multiplier((FUNCTION_SCALE * FUNCTION_SCALE) / scale)
  const words = [
    ...[input.address, output.address, hidden.address, cells.address, batches, steps, timeMajor ? 1 : 0, inputs, units],
    ...[node.quantization(input).zeroPoint, zeroPoint, node.table(sigmoidTable()), ...cellFactor(node, cells)],
    ...[cellClip(node, cells), added.multiplier, added.shift, made.multiplier, made.shift, ...matrices],
  ]
  return { calls: [{ kernel: 'lstm', words }], scratchBytes: units }
}

/** Words of a gate of float32: weights, recurrent weights, bias. */
function floatGate(node: NodeContext, gate: number, inputs: number, units: number): readonly number[] {
  const [weights, recurrent] = [node.input(INPUT.weights + gate), node.input(INPUT.recurrent + gate)]
  const bias = node.optionalInput(INPUT.biases + gate)
  for (const tensor of [weights, recurrent]) node.expectType(tensor, 'float32')
  node.expectShape(weights, [units, inputs])
  node.expectShape(recurrent, [units, units])
  if (bias !== null) {
    node.expectType(bias, 'float32')
    node.expectElements(bias, units)
  }
  return [weights.address, recurrent.address, bias?.address ?? 0]
}

/** Words of a matrix of one gate: weights, bias, factor. */
function matrix(
  node: NodeContext,
  from: TinyTensor,
  of: { readonly at: number; readonly rows: number; readonly columns: number; readonly biasAt: number | null },
): readonly number[] {
  const weights = node.input(of.at)
  node.expectType(weights, 'int8')
  node.expectShape(weights, [of.rows, of.columns])
  node.expectSymmetric(weights)
  node.expectZeroPoint(from)
  // The reference takes the product as float32, and a bias as it is.
  const product = Math.fround(node.quantization(from).scale * node.quantization(weights).scale)
  const { multiplier, shift } = node.multiplier(product / GATE_SCALE)
  return [weights.address, of.biasAt === null ? 0 : biasAddress(node, of.biasAt, of.rows), multiplier, shift]
}

/** Multiplier and shift that bring a cell to what tanh looks up. */
function cellFactor(node: NodeContext, cells: TinyTensor): readonly [number, number] {
  node.expectSymmetric(cells)
  const { scale } = node.quantization(cells)
  const power = powerOfTwo(scale)
  if (power === null || power > CELL_POWER_MAX || power < -15) {
    return node.unsupportedType(`cells of scale ${scale}, which is none of 1/2, 1/4 and on to 1/32768,`)
  }
  return power < -12 ? [3, -12 - power] : [3 * 2 ** (power + 12), 0]
}

/** What no cell may pass to either side, -1 for no bound. */
function cellClip(node: NodeContext, cells: TinyTensor): number {
  const clip = node.options?.float32(OPTIONS.cellClip) ?? 0
  if (!(clip > 0)) return -1
  return Math.min(Math.trunc(clip / node.quantization(cells).scale), 0x7fff)
}
