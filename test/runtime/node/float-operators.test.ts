import { InferenceSession, Tensor } from 'onnxruntime-node'
import { expect, it } from 'vitest'
import { seededRandom } from '../../../contract/random.ts'
import { type FlatField, int8, int32, uint32 } from '../../fixtures/flatbuffer-builder.ts'
import { type AttributeValue, OnnxBuilder } from '../../fixtures/onnx-builder.ts'
import { loadedGraph, type OperatorTensor, operatorGraph, runGraph } from '../../fixtures/tflite-operator.ts'

/** Operators of float32 that `tiny` and ONNX Runtime both have: the same numbers through both, which share nothing. */

const f = Math.fround
const random = seededRandom(5)
const floats = (count: number, most = 2): number[] =>
  Array.from({ length: count }, () => f((2 * random.next() - 1) * most))
const float = (shape: readonly number[], elements?: readonly number[]): OperatorTensor => ({
  ...{ type: 'float32', shape },
  ...(elements ? { elements } : {}),
})
const ints = (elements: readonly number[], shape = [elements.length]): OperatorTensor => ({
  type: 'int32',
  shape,
  elements,
})
const word = (value: number): FlatField => uint32(new Uint32Array(Float32Array.of(value).buffer)[0]!)
const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)

interface Onnx {
  readonly op: string
  readonly attributes?: Readonly<Record<string, AttributeValue>>
  readonly opset?: number
  /** Further inputs, that are constants; null for one left out. */
  readonly constants?: readonly ({
    readonly type: 'float32' | 'int64'
    readonly dims: readonly number[]
    readonly values: readonly number[]
  } | null)[]
}

async function ort(onnx: Onnx, shape: readonly number[], input: readonly number[]): Promise<number[]> {
  const builder = new OnnxBuilder()
  const x = builder.input('x', 'float32', shape)
  const constants = (onnx.constants ?? []).map((one) =>
    one === null ? '' : builder.constant(one.type, one.dims, one.values),
  )
  const made = builder.op(onnx.op, [x, ...constants], onnx.attributes)
  builder.output(made, 'float32', [])
  const session = await InferenceSession.create(builder.model(onnx.opset ?? 13), { logSeverityLevel: 4 })
  const { [made]: out } = await session.run({ x: new Tensor('float32', Float32Array.from(input), [...shape]) })
  return Array.from(out!.data as Float32Array)
}

async function agrees(file: Uint8Array, onnx: Onnx, shape: readonly number[], tolerance: number): Promise<void> {
  const input = floats(sizeOf(shape))
  const got = runGraph(loadedGraph(file), [input])[0]!
  const expected = await ort(onnx, shape, input)
  expect(got.length).toBe(expected.length)
  for (const [at, value] of got.entries()) expect(Math.abs(value - expected[at]!)).toBeLessThanOrEqual(tolerance)
}

it('an LSTM of 24 units over 30 steps', async () => {
  const [steps, inputs, units] = [30, 10, 24]
  const weights = Array.from({ length: 8 }, (_, at) => floats(units * (at < 4 ? inputs : units), 0.4))
  const biases = Array.from({ length: 4 }, () => floats(units, 0.5))
  const ports: (OperatorTensor | null)[] = Array.from({ length: 24 }, () => null)
  ports[0] = float([steps, 1, inputs])
  for (const [at, elements] of weights.entries()) ports[1 + at] = float([units, at < 4 ? inputs : units], elements)
  for (const [gate, elements] of biases.entries()) ports[12 + gate] = float([units], elements)
  for (const port of [18, 19]) ports[port] = { ...float([1, units]), variable: true }
  const file = operatorGraph(44, ports, [float([steps, 1, units])], [int8(4), word(0), null, int8(1)])
  // ONNX has the gates in the order input, output, forget, cell.
  const order = [0, 3, 1, 2]
  const constant = (dims: readonly number[], values: readonly number[]) => ({ type: 'float32' as const, dims, values })
  const onnx: Onnx = {
    op: 'LSTM',
    attributes: { hidden_size: units },
    constants: [
      constant(
        [1, 4 * units, inputs],
        order.flatMap((gate) => weights[gate]!),
      ),
      constant(
        [1, 4 * units, units],
        order.flatMap((gate) => weights[4 + gate]!),
      ),
      constant([1, 8 * units], [...order.flatMap((gate) => biases[gate]!), ...new Array<number>(4 * units).fill(0)]),
    ],
  }
  await agrees(file, onnx, [steps, 1, inputs], 3e-6)
})

it('MIRROR_PAD that reflects', async () => {
  const file = operatorGraph(100, [float([3, 5]), ints([2, 1, 3, 0], [2, 2])], [float([6, 8])], [int8(0)])
  const onnx: Onnx = {
    op: 'Pad',
    attributes: { mode: 'reflect' },
    constants: [{ type: 'int64', dims: [4], values: [2, 3, 1, 0] }],
  }
  await agrees(file, onnx, [3, 5], 0)
})

it.each([
  ['half_pixel', 0, 1],
  ['align_corners', 1, 0],
  ['asymmetric', 0, 0],
])('RESIZE_BILINEAR, %s', async (mode, corners, centres) => {
  // Of one channel height and width are in the same places in both orders.
  const file = operatorGraph(
    23,
    [float([1, 5, 4, 1]), ints([9, 11])],
    [float([1, 9, 11, 1])],
    [null, null, int8(corners), int8(centres)],
  )
  const sizes = { type: 'int64' as const, dims: [4], values: [1, 9, 11, 1] }
  const attributes = { mode: 'linear', coordinate_transformation_mode: mode }
  await agrees(file, { op: 'Resize', attributes, constants: [null, null, sizes] }, [1, 5, 4, 1], 2e-6)
})

it('BATCH_MATMUL with one right side for all', async () => {
  const right = floats(6 * 4)
  const file = operatorGraph(
    126,
    [float([2, 3, 5, 6]), float([6, 4], right)],
    [float([2, 3, 5, 4])],
    [int8(0), int8(0)],
  )
  await agrees(
    file,
    { op: 'MatMul', constants: [{ type: 'float32', dims: [6, 4], values: right }] },
    [2, 3, 5, 6],
    3e-6,
  )
})

it.each<[string, number, Onnx, readonly FlatField[], number]>([
  ['EXP', 47, { op: 'Exp' }, [], 1e-6],
  ['ELU', 111, { op: 'Elu' }, [], 2e-7],
  ['ABS', 101, { op: 'Abs' }, [], 0],
  ['ROUND', 116, { op: 'Round' }, [], 0],
  ['LOG_SOFTMAX', 50, { op: 'LogSoftmax', attributes: { axis: 1 } }, [], 2e-6],
])('%s', async (_, code, onnx, options, tolerance) => {
  await agrees(operatorGraph(code, [float([4, 9])], [float([4, 9])], options), onnx, [4, 9], tolerance)
})

it('CUMSUM and SPACE_TO_DEPTH of one channel', async () => {
  const cumsum = operatorGraph(128, [float([3, 7]), ints([1])], [float([3, 7])], [int8(0), int8(1)])
  await agrees(
    cumsum,
    { op: 'CumSum', attributes: { reverse: 1 }, constants: [{ type: 'int64', dims: [], values: [1] }] },
    [3, 7],
    2e-6,
  )
  // Channels last and first are the same bytes where each place has one before, and blocks are read in the same order where there is one place after.
  const file = operatorGraph(26, [float([1, 3, 3, 1])], [float([1, 1, 1, 9])], [int32(3)])
  await agrees(file, { op: 'SpaceToDepth', attributes: { blocksize: 3 } }, [1, 1, 3, 3], 0)
})
