import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { loadTiny } from '../../model/engine-tiny/graph.ts'
import { quantizedMultiplier } from '../../model/engine-tiny/multiplier.ts'
import { int8, int32, table } from '../fixtures/flatbuffer-builder.ts'
import { type BuiltTensor, TFLITE_OPS, TfliteBuilder } from '../fixtures/tflite-builder.ts'

/** The arithmetic as the reference defines it, in integers of any size: nothing can overflow here, nothing is folded, nothing is ahead. */
const requantized = (sum: bigint, factor: number): number => {
  const { multiplier, shift } = quantizedMultiplier(factor)
  const [left, right] = [BigInt(Math.max(0, shift)), BigInt(Math.max(0, -shift))]
  const product = (sum << left) * BigInt(multiplier)
  const nudge = product >= 0n ? 1n << 30n : 1n - (1n << 30n)
  const high = (product + nudge) / (1n << 31n)
  const half = right === 0n ? 0n : 1n << (right - 1n)
  return Number(high >= 0n ? (high + half) >> right : -((-high + half) >> right))
}

interface Shape {
  readonly kind: 'conv' | 'depthwise'
  readonly size: readonly [number, number]
  readonly filter: readonly [number, number]
  readonly stride: readonly [number, number]
  readonly dilation: readonly [number, number]
  readonly same: boolean
  readonly groups: number
  readonly depth: number
  /** Outputs of each group of a convolution; outputs of each channel of a depthwise one. */
  readonly outputs: number
  readonly zeroPoints: readonly [number, number]
  readonly activation: number
  readonly bias: boolean
  readonly seed: number
}

const pair = (most: number) => fc.tuple(fc.integer({ min: 1, max: most }), fc.integer({ min: 1, max: most }))
const int8Value = fc.integer({ min: -128, max: 127 })
const shapes: fc.Arbitrary<Shape> = fc.record({
  kind: fc.constantFrom('conv' as const, 'depthwise' as const),
  size: pair(9),
  filter: pair(4),
  stride: pair(3),
  dilation: fc.oneof({ weight: 3, arbitrary: fc.constant([1, 1] as const) }, { weight: 1, arbitrary: pair(3) }),
  same: fc.boolean(),
  groups: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.integer({ min: 2, max: 3 }) }),
  depth: fc.integer({ min: 1, max: 27 }),
  outputs: fc.integer({ min: 1, max: 11 }),
  zeroPoints: fc.tuple(int8Value, int8Value),
  activation: fc.constantFrom(0, 1, 3),
  bias: fc.boolean(),
  seed: fc.nat(),
})

/** Numbers that a seed gives: a property that fails shrinks its shapes and not its thousands of weights. */
const stream = (seed: number) => {
  let state = (seed ^ 0x9e3779b9) >>> 0
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

interface Built {
  readonly file: Uint8Array
  readonly input: Int8Array
  readonly expected: Int8Array
}

/** A graph of one convolution and what has to come out of it; null where the window does not fit. */
function convolution(shape: Shape): Built | null {
  const { kind, size, filter, stride, dilation, same, groups, outputs, zeroPoints, activation } = shape
  const next = stream(shape.seed)
  const depthwise = kind === 'depthwise'
  const channels = depthwise ? shape.depth : shape.depth * groups
  const made = depthwise ? channels * (outputs > 3 ? 1 : outputs) : outputs * groups
  const span = filter.map((n, axis) => (n - 1) * dilation[axis]! + 1)
  const out = size.map((n, axis) =>
    same ? Math.ceil(n / stride[axis]!) : Math.ceil((n - span[axis]! + 1) / stride[axis]!),
  )
  if (out.some((n) => n < 1)) return null
  const before = out.map((n, axis) =>
    Math.max(0, Math.floor(((n - 1) * stride[axis]! + span[axis]! - size[axis]!) / 2)),
  )
  const bytes = (length: number): Int8Array => Int8Array.from({ length }, () => next(256) - 128)
  const input = bytes(size[0] * size[1] * channels)
  const depth = depthwise ? 1 : shape.depth
  const weights = bytes(filter[0] * filter[1] * depth * made)
  const bias = Int32Array.from({ length: made }, () => next(20_001) - 10_000)
  // Factors below 1/2 of one order, some dead, some of any order, and some of 1/2 and more.
  const order = next(4)
  const factor = (): number => {
    if (order === 1 && next(3) === 0) return 2 ** -45
    if (order === 2) return 2 ** -(1 + next(28)) * (0.5 + next(1_000) / 2_000)
    return (order === 3 ? 4 : 0.01) * (0.2 + next(1_000) / 1_000)
  }
  const scales = Array.from({ length: made }, () => Math.fround(factor()))
  const builder = new TfliteBuilder()
  const main = builder.subgraph()
  const unit = (zeroPoint: number) => ({ scales: [1], zeroPoints: [zeroPoint] })
  const raw = (values: Int8Array | Int32Array) => new Uint8Array(values.buffer)
  const tensors: BuiltTensor[] = [
    { name: 'x', type: 'int8', shape: [1, ...size, channels], quantization: unit(zeroPoints[0]) },
    {
      ...{ name: 'w', type: 'int8', data: raw(weights) },
      shape: depthwise ? [1, ...filter, made] : [made, ...filter, depth],
      quantization: { scales, zeroPoints: scales.map(() => 0), dimension: depthwise ? 3 : 0 },
    },
    { name: 'y', type: 'int8', shape: [1, ...out, made], quantization: unit(zeroPoints[1]) },
    { name: 'b', type: 'int32', shape: [made], data: raw(bias) },
  ]
  const [x, w, y, b] = tensors.map((tensor) => main.tensor(tensor))
  const moves = [int8(same ? 0 : 1), int32(stride[1]), int32(stride[0])]
  const dilations = [int32(dilation[1]), int32(dilation[0])]
  const options = depthwise
    ? table(...moves, int32(made / channels), int8(activation), ...dilations)
    : table(...moves, int8(activation), ...dilations)
  main.op(
    depthwise ? TFLITE_OPS.DEPTHWISE_CONV_2D : TFLITE_OPS.CONV_2D,
    [x!, w!, ...(shape.bias ? [b!] : [])],
    [y!],
    options,
  )
  main.ends([x!], [y!])

  const least = activation === 0 ? -128 : Math.max(-128, zeroPoints[1])
  const most = activation === 3 ? Math.min(127, zeroPoints[1] + 6) : 127
  const expected = new Int8Array(out[0]! * out[1]! * made)
  for (const at of expected.keys()) {
    const channel = at % made
    const [row, column] = [Math.floor(at / made / out[1]!), Math.floor(at / made) % out[1]!]
    let sum = shape.bias ? BigInt(bias[channel]!) : 0n
    for (let i = 0; i < filter[0]; i++) {
      for (let j = 0; j < filter[1]; j++) {
        const fromRow = row * stride[0] - before[0]! + i * dilation[0]
        const fromColumn = column * stride[1] - before[1]! + j * dilation[1]
        if (fromRow < 0 || fromRow >= size[0] || fromColumn < 0 || fromColumn >= size[1]) continue
        for (let k = 0; k < depth; k++) {
          const source = depthwise ? Math.floor(channel / (made / channels)) : Math.floor(channel / outputs) * depth + k
          const value = input[(fromRow * size[1] + fromColumn) * channels + source]! - zeroPoints[0]
          const place = depthwise
            ? (i * filter[1] + j) * made + channel
            : ((channel * filter[0] + i) * filter[1] + j) * depth + k
          sum += BigInt(value * weights[place]!)
        }
      }
    }
    expected[at] = Math.min(most, Math.max(least, requantized(sum, scales[channel]!) + zeroPoints[1]))
  }
  return { file: builder.model(), input, expected }
}

function expectComputed({ file, input, expected }: Built): void {
  const loaded = loadTiny(file, { guard: 0x5a })
  if (!loaded.ok) throw new Error(`${loaded.error.code}: ${loaded.error.detail}`)
  loaded.value.inputBytes(0).set(new Uint8Array(input.buffer))
  loaded.value.run()
  expect([...new Int8Array(Uint8Array.from(loaded.value.outputBytes(0)).buffer)]).toEqual([...expected])
}

describe('engine tiny', () => {
  const large = {
    stride: [1, 1],
    dilation: [1, 1],
    same: true,
    zeroPoints: [-7, 5],
    activation: 0,
    bias: true,
  } as const
  it.each<[string, Pick<Shape, 'kind' | 'size' | 'filter' | 'groups' | 'depth' | 'outputs'>]>([
    [
      'more outputs than packed rows',
      { kind: 'conv', size: [3, 3], filter: [1, 1], groups: 1, depth: 40, outputs: 150 },
    ],
    ['of two groups', { kind: 'conv', size: [3, 3], filter: [3, 2], groups: 2, depth: 19, outputs: 70 }],
    ['rows too long to pack', { kind: 'conv', size: [4, 3], filter: [4, 4], groups: 1, depth: 70, outputs: 9 }],
    ['rows that pack by eights', { kind: 'conv', size: [3, 3], filter: [3, 3], groups: 1, depth: 110, outputs: 20 }],
    ['few places, many outputs', { kind: 'conv', size: [1, 3], filter: [1, 2], groups: 1, depth: 21, outputs: 150 }],
    ['many channels', { kind: 'depthwise', size: [4, 5], filter: [3, 3], groups: 1, depth: 150, outputs: 4 }],
    [
      'a row of places, and an odd number of them',
      { kind: 'depthwise', size: [1, 7], filter: [1, 4], groups: 1, depth: 67, outputs: 4 },
    ],
  ])('convolves in parts: %s', (_, sizes) => {
    for (const seed of [1, 2, 3, 4]) {
      const built = convolution({ ...large, ...sizes, seed })
      if (built === null) throw new Error('the window does not fit')
      expectComputed(built)
    }
  })

  it('convolves as integers of any size do, whatever filter, stride, padding, dilation, groups and factors', () => {
    let tried = 0
    fc.assert(
      fc.property(shapes, (shape) => {
        const built = convolution(shape)
        fc.pre(built !== null)
        expectComputed(built)
        tried++
      }),
      { numRuns: 400, seed: 11 },
    )
    expect(tried).toBe(400)
  })
})
