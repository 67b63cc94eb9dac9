import { describe, expect, it } from 'vitest'
import { type SeededRandom, seededRandom } from '../../../../contract/random.ts'
import { logistic16, rescaled, rescaledLong, tanh16, within } from '../../../fixtures/fixed-point-oracle.ts'
import { type FlatField, int8, int32, uint32 } from '../../../fixtures/flatbuffer-builder.ts'
import {
  type Elements,
  loadedGraph,
  type OperatorTensor,
  operatorGraph,
  runGraph,
} from '../../../fixtures/tflite-operator.ts'

/** Operators on elements of more than a byte, for which the reference data has no outputs: against the published arithmetic, written here as
 *  the plainest loops. float32 is held to the bit where only sums, products and quotients are in it. */

type Type = 'int16' | 'int32' | 'float32' | 'int64'
const f = Math.fround
const RANGE = { int16: [-32_768, 32_767], int32: [-(2 ** 31), 2 ** 31 - 1] } as const
const elementsOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)
const pick = (random: SeededRandom, least: number, most: number): number =>
  least + Math.floor(random.next() * (most - least + 1))

function drawn(random: SeededRandom, type: Type | 'int8', count: number): number[] {
  const most = { int8: 127, int16: 32_767, int32: 40_000, int64: 2 ** 40, float32: 0 }[type]
  return Array.from({ length: count }, () =>
    type === 'float32' ? f(random.next() * 8 - 4) : Math.floor((random.next() * 2 - 1) * most),
  )
}

const tensor = (type: Type | 'int8', shape: readonly number[], scale = 1, zero = 0): OperatorTensor => ({
  ...{ type, shape },
  ...(type === 'int16' || type === 'int8' ? { quantization: { scales: [f(scale)], zeroPoints: [zero] } } : {}),
})

/** Index of an element of a shape that is repeated along dimensions of 1. */
function broadcastIndex(shape: readonly number[], output: readonly number[], at: number): number {
  let [index, stride, rest] = [0, 1, at]
  for (let axis = output.length - 1; axis >= 0; axis--) {
    const size = shape[axis - output.length + shape.length] ?? 1
    const place = rest % output[axis]!
    rest = Math.floor(rest / output[axis]!)
    if (size > 1) index += stride * place
    stride *= size
  }
  return index
}

/** Real bounds of fused activations 0 to 3. */
const ACTIVATIONS: readonly (readonly [number, number])[] = [
  [-3.4028234663852886e38, 3.4028234663852886e38],
  [0, 3.4028234663852886e38],
  [-1, 1],
  [0, 6],
]
const integersOf = (activation: number, scale: number): readonly [number, number] => {
  const [least, most] = ACTIVATIONS[activation]!
  return [Math.max(-32_768, Math.round(least / f(scale))), Math.min(32_767, Math.round(most / f(scale)))]
}

describe('two operands', () => {
  const SHAPES: readonly (readonly [number[], number[], number[]])[] = [
    [
      [1, 3, 4, 5],
      [1, 3, 4, 5],
      [1, 3, 4, 5],
    ],
    [[2, 3, 4], [4], [2, 3, 4]],
    [
      [1, 1, 4, 1, 3],
      [2, 5, 1, 7, 3],
      [2, 5, 4, 7, 3],
    ],
    [[6], [], [6]],
  ]
  const KINDS = { ADD: 0, SUB: 41, MUL: 18, MAXIMUM: 55, MINIMUM: 57 } as const
  type Kind = keyof typeof KINDS
  const cases = (Object.keys(KINDS) as Kind[]).flatMap((kind) =>
    (['int16', 'int32', 'float32', 'int64'] as const)
      .filter((type) => type !== 'int64' || (kind.startsWith('M') && kind !== 'MUL'))
      .map((type) => [kind, type] as const),
  )

  it.each(cases)('%s of %s', (kind, type) => {
    const random = seededRandom(kind.length * 7 + type.length)
    for (const [round, [left, right, out]] of [...SHAPES, ...SHAPES].entries()) {
      const activation = kind.startsWith('M') && kind !== 'MUL' ? 0 : round % 4
      const scales = [0.001 + random.next() / 100, 0.001 + random.next() / 100, 0.001 + random.next() / 50].map(f)
      const zeros = [1, 2, 3].map(() => pick(random, -900, 900))
      const ends = [left, right, out].map((shape, at) => tensor(type, shape, scales[at], zeros[at]))
      const graph = loadedGraph(operatorGraph(KINDS[kind], ends.slice(0, 2), ends.slice(2), [int8(activation)]))
      const inputs = [left, right].map((shape) => drawn(random, type, elementsOf(shape)))
      const expected = Array.from({ length: elementsOf(out) }, (_, at) => {
        const [a, b] = [left, right].map((shape, side) => inputs[side]![broadcastIndex(shape, out, at)]!) as [
          number,
          number,
        ]
        return pairOf(kind, type, a, b, scales, zeros, activation)
      })
      expect(runGraph(graph, inputs)[0], `${kind} ${type} ${round}`).toEqual(expected)
    }
  })

  function pairOf(
    ...[kind, type, a, b, scales, zeros, activation]: [Kind, Type, number, number, number[], number[], number]
  ): number {
    if (kind === 'MAXIMUM') return Math.max(a, b)
    if (kind === 'MINIMUM') return Math.min(a, b)
    const sign = kind === 'SUB' ? -1 : 1
    if (type === 'float32') return f(within(f(kind === 'MUL' ? a * b : a + sign * b), ...ACTIVATIONS[activation]!))
    if (type === 'int32') {
      if (kind !== 'MUL') return (a + sign * b) | 0
      const bounds = [RANGE.int32, [0, RANGE.int32[1]], [-1, 1], [0, 6]][activation] as [number, number]
      return within(Math.imul(a, b), ...bounds)
    }
    const [s, t, o] = scales as [number, number, number]
    const [x, y] = [a - zeros[0]!, b - zeros[1]!]
    let scaled: number
    if (kind === 'MUL') scaled = rescaled(x * y, (s * t) / o)
    else {
      const twice = 2 * Math.max(s, t)
      const factors =
        kind === 'ADD'
          ? [s / twice, t / twice, twice / (2 ** 15 * o)]
          : [f(s / f(twice)), f(t / f(twice)), f(f(twice) / f(2 ** 15 * o))]
      scaled = rescaled(rescaled(x * 2 ** 15, factors[0]!) + sign * rescaled(y * 2 ** 15, factors[1]!), factors[2]!)
    }
    const [least, most] = integersOf(activation, o)
    const zero = zeros[2]!
    return within(
      scaled + zero,
      Math.max(-32_768, activation === 0 ? -32_768 : least + zero),
      Math.min(32_767, activation < 2 ? 32_767 : most + zero),
    )
  }
})

interface Window {
  readonly rows: number
  readonly columns: number
  readonly stride: readonly [number, number]
  readonly dilation: readonly [number, number]
  readonly same: boolean
}

/** Output size and margin before, along one axis. */
function axis(
  input: number,
  filter: number,
  stride: number,
  dilation: number,
  same: boolean,
): readonly [number, number] {
  const covered = (filter - 1) * dilation + 1
  const output = same ? Math.ceil(input / stride) : Math.ceil((input - covered + 1) / stride)
  return [output, Math.max(0, Math.floor(((output - 1) * stride + covered - input) / 2))]
}

const windows = (random: SeededRandom): Window => ({
  ...{ rows: pick(random, 1, 3), columns: pick(random, 1, 3) },
  ...{ stride: [pick(random, 1, 2), pick(random, 1, 3)], dilation: [pick(random, 1, 2), pick(random, 1, 2)] },
  same: random.next() < 0.5,
})

type Sums = 'float32' | 'int16, sums of 32 bits' | 'int16, sums of 64 bits'

/** The end of a sum of products. */
function finished(sums: Sums, sum: number, bias: number, factor: number, activation: number, scale: number): number {
  if (sums === 'float32') return f(within(f(sum + bias), ...ACTIVATIONS[activation]!))
  const scaled = sums === 'int16, sums of 32 bits' ? rescaled(sum + bias, factor) : rescaledLong(sum + bias, factor)
  const [least, most] = activation === 0 ? RANGE.int16 : integersOf(activation, scale)
  return within(scaled, activation === 0 ? -32_768 : least, activation < 2 ? 32_767 : most)
}

describe('sums of products', () => {
  const SUMS: readonly Sums[] = ['float32', 'int16, sums of 32 bits', 'int16, sums of 64 bits']

  function constants(
    random: SeededRandom,
    sums: Sums,
    weightShape: readonly number[],
    outputs: number,
    channelAxis: number,
  ) {
    const float = sums === 'float32'
    const values = drawn(random, float ? 'float32' : 'int8', elementsOf(weightShape))
    const scales = Array.from({ length: outputs }, () => f(0.002 + random.next() / 100))
    const biasType = float ? 'float32' : sums === 'int16, sums of 32 bits' ? 'int32' : 'int64'
    const biases = float ? drawn(random, 'float32', outputs) : drawn(random, 'int32', outputs)
    const weights: OperatorTensor = {
      ...{ type: float ? 'float32' : 'int8', shape: weightShape, elements: values },
      ...(float ? {} : { quantization: { scales, zeroPoints: scales.map(() => 0), dimension: channelAxis } }),
    }
    return {
      values,
      scales,
      biases,
      weights,
      bias: { type: biasType, shape: [outputs], elements: biases } as OperatorTensor,
    }
  }

  const CONVOLUTIONS = SUMS.flatMap((sums) =>
    (
      [
        ['CONV_2D', 3],
        ['DEPTHWISE_CONV_2D', 4],
      ] as const
    ).map(([name, code]) => ({ sums, name, code })),
  )

  it.each(CONVOLUTIONS)('$name of $sums', ({ sums, code }) => {
    for (let seed = 0; seed < 10; seed++) {
      const random = seededRandom(seed)
      const { rows, columns, stride, dilation, same } = windows(random)
      const depthwise = code === 4
      const groups = depthwise ? 1 : pick(random, 1, 2)
      const depth = pick(random, 1, 4)
      const channels = depthwise ? depth : depth * groups
      const outputs = depthwise ? channels * pick(random, 1, 3) : groups * pick(random, 1, 3)
      const [batches, height, width] = [pick(random, 1, 2), pick(random, 6, 9), pick(random, 6, 9)]
      const [outHeight, top] = axis(height, rows, stride[0], dilation[0], same)
      const [outWidth, left] = axis(width, columns, stride[1], dilation[1], same)
      const shape = depthwise ? [1, rows, columns, outputs] : [outputs, rows, columns, depth]
      const { values, scales, biases, weights, bias } = constants(random, sums, shape, outputs, depthwise ? 3 : 0)
      const type = sums === 'float32' ? 'float32' : 'int16'
      const [from, to, activation] = [f(0.0004), f(0.003), seed % 4]
      const steps = [int32(stride[1]), int32(stride[0])]
      const dilations = [int32(dilation[1]), int32(dilation[0])]
      const options: FlatField[] = depthwise
        ? [int8(same ? 0 : 1), ...steps, int32(outputs / channels), int8(activation), ...dilations]
        : [int8(same ? 0 : 1), ...steps, int8(activation), ...dilations]
      const input = tensor(type, [batches, height, width, channels], from)
      const output = tensor(type, [batches, outHeight, outWidth, outputs], to)
      const graph = loadedGraph(operatorGraph(code, [input, weights, bias], [output], options))
      const elements = drawn(random, type, elementsOf(input.shape))
      const expected: number[] = []
      for (let batch = 0; batch < batches; batch++) {
        for (let y = 0; y < outHeight; y++) {
          for (let x = 0; x < outWidth; x++) {
            for (let o = 0; o < outputs; o++) {
              let sum = 0
              for (let row = 0; row < rows; row++) {
                for (let column = 0; column < columns; column++) {
                  const fromY = y * stride[0] - top + row * dilation[0]
                  const fromX = x * stride[1] - left + column * dilation[1]
                  if (fromY < 0 || fromY >= height || fromX < 0 || fromX >= width) continue
                  for (let d = 0; d < (depthwise ? 1 : depth); d++) {
                    const channel = depthwise
                      ? Math.floor(o / (outputs / channels))
                      : Math.floor(o / (outputs / groups)) * depth + d
                    const value = elements[((batch * height + fromY) * width + fromX) * channels + channel]!
                    const weight = depthwise
                      ? values[(row * columns + column) * outputs + o]!
                      : values[((o * rows + row) * columns + column) * depth + d]!
                    sum = sums === 'float32' ? f(sum + f(value * weight)) : sum + value * weight
                  }
                }
              }
              expected.push(finished(sums, sum, biases[o]!, (from * scales[o]!) / to, activation, to))
            }
          }
        }
      }
      expect(runGraph(graph, [elements])[0], `seed ${seed}`).toEqual(expected)
    }
  })

  it.each(SUMS)('FULLY_CONNECTED of %s', (sums) => {
    for (let seed = 0; seed < 8; seed++) {
      const random = seededRandom(seed)
      const [batches, depth, outputs] = [pick(random, 1, 3), pick(random, 1, 40), pick(random, 1, 9)]
      const { values, scales, biases, weights, bias } = constants(random, sums, [outputs, depth], outputs, 0)
      const type = sums === 'float32' ? 'float32' : 'int16'
      const [from, to, activation] = [f(0.0004), f(0.003), seed % 4]
      const input = tensor(type, [batches, depth], from)
      const graph = loadedGraph(
        operatorGraph(9, [input, weights, bias], [tensor(type, [batches, outputs], to)], [int8(activation)]),
      )
      const elements = drawn(random, type, batches * depth)
      const expected = Array.from({ length: batches * outputs }, (_, at) => {
        const [batch, o] = [Math.floor(at / outputs), at % outputs]
        let sum = 0
        for (let d = 0; d < depth; d++) {
          const product = elements[batch * depth + d]! * values[o * depth + d]!
          sum = sums === 'float32' ? f(sum + f(product)) : sum + product
        }
        // One scale for all is a product of float32.
        const product = outputs === 1 ? f(from * scales[o]!) : from * scales[o]!
        return finished(sums, sum, biases[o]!, product / to, activation, to)
      })
      expect(runGraph(graph, [elements])[0], `seed ${seed}`).toEqual(expected)
    }
  })

  it('TRANSPOSE_CONV of float32, in the order in which the reference scatters', () => {
    for (let seed = 0; seed < 8; seed++) {
      const random = seededRandom(seed)
      const [height, width, channels, outputs] = [
        pick(random, 2, 5),
        pick(random, 2, 5),
        pick(random, 1, 3),
        pick(random, 1, 3),
      ]
      const [rows, columns, down, across] = [
        pick(random, 1, 4),
        pick(random, 1, 4),
        pick(random, 1, 2),
        pick(random, 1, 3),
      ]
      const same = seed % 2 === 0
      const [outHeight, outWidth] = same
        ? [height * down, width * across]
        : [(height - 1) * down + rows, (width - 1) * across + columns]
      const [top, left] = same
        ? [axis(outHeight, rows, down, 1, true)[1], axis(outWidth, columns, across, 1, true)[1]]
        : [0, 0]
      const weights = drawn(random, 'float32', outputs * rows * columns * channels)
      const biases = drawn(random, 'float32', outputs)
      const shape = [1, outHeight, outWidth, outputs]
      const graph = loadedGraph(
        operatorGraph(
          67,
          [
            { type: 'int32', shape: [4], elements: shape },
            { type: 'float32', shape: [outputs, rows, columns, channels], elements: weights },
            tensor('float32', [1, height, width, channels]),
            { type: 'float32', shape: [outputs], elements: biases },
          ],
          [tensor('float32', shape)],
          [int8(same ? 0 : 1), int32(across), int32(down), int8(1)],
        ),
      )
      const elements = drawn(random, 'float32', height * width * channels)
      const sums = Array.from({ length: elementsOf(shape) }, () => 0)
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          for (let channel = 0; channel < channels; channel++) {
            for (let row = 0; row < rows; row++) {
              for (let column = 0; column < columns; column++) {
                for (let o = 0; o < outputs; o++) {
                  const [toY, toX] = [y * down - top + row, x * across - left + column]
                  if (toY < 0 || toY >= outHeight || toX < 0 || toX >= outWidth) continue
                  const at = (toY * outWidth + toX) * outputs + o
                  const weight = weights[((o * rows + row) * columns + column) * channels + channel]!
                  sums[at] = f(sums[at]! + f(elements[(y * width + x) * channels + channel]! * weight))
                }
              }
            }
          }
        }
      }
      const expected = sums.map((sum, at) => Math.max(0, f(sum + biases[at % outputs]!)))
      expect(runGraph(graph, [elements])[0], `seed ${seed}`).toEqual(expected)
    }
  })
})

describe('pooling and reducing', () => {
  it.each([
    ['AVERAGE_POOL_2D', 1, 'float32'],
    ['AVERAGE_POOL_2D', 1, 'int16'],
    ['MAX_POOL_2D', 17, 'float32'],
    ['MAX_POOL_2D', 17, 'int16'],
  ] as const)('%s (%i) of %s', (_, code, type) => {
    for (let seed = 0; seed < 10; seed++) {
      const random = seededRandom(seed)
      const { rows, columns, stride, same } = windows(random)
      const [height, width, channels, activation] = [
        pick(random, 3, 8),
        pick(random, 3, 8),
        pick(random, 1, 5),
        seed % 4,
      ]
      const [outHeight, top] = axis(height, rows, stride[0], 1, same)
      const [outWidth, left] = axis(width, columns, stride[1], 1, same)
      const scale = f(0.001)
      const graph = loadedGraph(
        operatorGraph(
          code,
          [tensor(type, [1, height, width, channels], scale)],
          [tensor(type, [1, outHeight, outWidth, channels], scale)],
          [int8(same ? 0 : 1), int32(stride[1]), int32(stride[0]), int32(columns), int32(rows), int8(activation)],
        ),
      )
      const elements = drawn(random, type, height * width * channels)
      const expected = Array.from({ length: outHeight * outWidth * channels }, (_value, at) => {
        const [y, x, channel] = [
          Math.floor(at / channels / outWidth) * stride[0] - top,
          (Math.floor(at / channels) % outWidth) * stride[1] - left,
          at % channels,
        ]
        const seen: number[] = []
        for (let row = Math.max(0, y); row < Math.min(height, y + rows); row++) {
          for (let column = Math.max(0, x); column < Math.min(width, x + columns); column++) {
            seen.push(elements[(row * width + column) * channels + channel]!)
          }
        }
        const sum = seen.reduce((so, value) => (type === 'float32' ? f(so + value) : so + value), 0)
        if (type === 'float32') {
          return f(within(code === 17 ? Math.max(...seen) : f(sum / seen.length), ...ACTIVATIONS[activation]!))
        }
        const half = Math.floor(seen.length / 2)
        const value = code === 17 ? Math.max(...seen) : Math.trunc((sum > 0 ? sum + half : sum - half) / seen.length)
        const [least, most] = activation === 0 ? RANGE.int16 : integersOf(activation, scale)
        return within(value, activation === 0 ? -32_768 : least, activation < 2 ? 32_767 : most)
      })
      expect(runGraph(graph, [elements])[0], `seed ${seed}`).toEqual(expected)
    }
  })

  it.each([
    ['MEAN', 40, 'float32'],
    ['SUM', 74, 'float32'],
    ['REDUCE_MAX', 82, 'float32'],
    ['MEAN', 40, 'int16'],
    ['SUM', 74, 'int16'],
  ] as const)('%s (%i) of %s', (_, code, type) => {
    const AXES = [[1], [0, 2], [-1], [1, 2], [3, 1], [0, 1, 2, 3]]
    for (const [seed, axes] of AXES.entries()) {
      const random = seededRandom(seed)
      const shape = [2, 3, 4, 5]
      const keeps = seed % 2 === 1
      const reduced = new Set(axes.map((at) => (at + 4) % 4))
      const full = shape.map((size, at) => (reduced.has(at) ? 1 : size))
      const [from, to] = [
        tensor(type, shape, 0.002, 90),
        tensor(type, keeps ? full : full.filter((_size, at) => !reduced.has(at)), 0.005, -40),
      ]
      const axisTensor: OperatorTensor = { type: 'int32', shape: [axes.length], elements: axes }
      const graph = loadedGraph(operatorGraph(code, [from, axisTensor], [to], [int8(keeps ? 1 : 0)]))
      const elements = drawn(random, type, 120)
      const seen: number[][] = Array.from({ length: elementsOf(full) }, () => [])
      for (const [at, value] of elements.entries()) seen[broadcastIndex(full, shape, at)]!.push(value)
      const expected = seen.map((values) => {
        if (code === 82) return Math.max(...values)
        if (type === 'float32') {
          const sum = values.reduce((so, value) => f(so + value), 0)
          return code === 40 ? f(sum / values.length) : sum
        }
        const sum = values.reduce((so, value) => so + value - 90, 0)
        const exact = (sum * f(0.002)) / f(0.005) / (code === 40 ? values.length : 1) - 40
        return exact
      })
      const got = runGraph(graph, [elements])[0]!
      if (type === 'float32') expect(got, `axes ${axes}`).toEqual(expected)
      // The number of elements is divided into the factor, of whose bits some are lost: a step at most.
      else
        for (const [at, value] of got.entries())
          expect(Math.abs(value - within(expected[at]!, -32_768, 32_767))).toBeLessThan(1)
    }
  })
})

describe('element by element', () => {
  const edges = [
    0,
    -0,
    1e-30,
    -1e-30,
    6,
    -6,
    3,
    -3,
    0.02,
    -0.02,
    0.0301,
    9,
    -9.5,
    17,
    -17,
    88,
    -100,
    200,
    -200,
    1e38,
    -1e38,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.NaN,
  ].map(f)
  const random = seededRandom(3)
  const floats = [...edges, ...drawn(random, 'float32', 400), ...drawn(random, 'float32', 200).map((x) => f(x / 1_000))]
  const mapped = (code: number, options: readonly FlatField[] = []) =>
    runGraph(
      loadedGraph(
        operatorGraph(code, [tensor('float32', [floats.length])], [tensor('float32', [floats.length])], options),
      ),
      [floats],
    )[0]!
  const word = (value: number): FlatField => uint32(new Uint32Array(Float32Array.of(value).buffer)[0]!)

  it.each<[string, number, (x: number) => number, (readonly FlatField[])?]>([
    ['RELU', 19, (x) => (x < 0 ? 0 : x)],
    ['RELU6', 21, (x) => (x > 6 ? 6 : x < 0 ? 0 : x)],
    ['LEAKY_RELU', 98, (x) => (x > 0 ? x : f(x * f(0.1))), [word(0.1)]],
    ['HARD_SWISH', 117, (x) => f(f(x * Math.min(Math.max(0, f(x + 3)), 6)) / 6)],
  ])('%s of float32, to the bit', (_, code, of, options) => {
    expect(mapped(code, options)).toEqual(floats.map(of))
  })

  it.each<[string, number, (x: number) => number]>([
    ['LOGISTIC', 14, (x) => (x > 16.619 ? 1 : x < -9 ? Math.exp(x) : 1 / (1 + Math.exp(-x)))],
    ['TANH', 28, Math.tanh],
  ])('%s of float32, within the last place of float32', (_, code, of) => {
    for (const [at, got] of mapped(code).entries()) {
      const exact = of(floats[at]!)
      if (Number.isNaN(exact)) expect(got).toBeNaN()
      else
        expect(Math.abs(got - exact), `f(${floats[at]})`).toBeLessThanOrEqual(
          Math.max(Math.abs(exact) * 2 ** -22, 2 ** -149),
        )
    }
  })

  it('L2_NORMALIZATION and PRELU of float32, to the bit', () => {
    const elements = drawn(random, 'float32', 24)
    const graph = loadedGraph(operatorGraph(11, [tensor('float32', [4, 6])], [tensor('float32', [4, 6])]))
    const expected = [0, 6, 12, 18].flatMap((row) => {
      const values = elements.slice(row, row + 6)
      const length = Math.max(f(Math.sqrt(values.reduce((so, x) => f(so + f(x * x)), 0))), f(1e-6))
      return values.map((x) => f(x / length))
    })
    expect(runGraph(graph, [elements])[0]).toEqual(expected)
    const slopes = drawn(random, 'float32', 6)
    const prelu = loadedGraph(
      operatorGraph(
        54,
        [tensor('float32', [1, 2, 2, 6]), { type: 'float32', shape: [1, 1, 6], elements: slopes }],
        [tensor('float32', [1, 2, 2, 6])],
      ),
    )
    expect(runGraph(prelu, [elements])[0]).toEqual(elements.map((x, at) => (x >= 0 ? x : f(x * slopes[at % 6]!))))
  })

  it.each([
    ['LOGISTIC', 14, logistic16, 0],
    ['TANH', 28, tanh16, 1],
  ] as const)('%s of int16, at scales that are powers of two and others', (_, code, of, shifts) => {
    const elements = [-32_768, 32_767, 0, -1, 1, ...drawn(seededRandom(8), 'int16', 500)]
    for (const scale of [2 ** -12, 2 ** -11, 2 ** -15, 0.000_31, 0.000_1]) {
      const ends = [tensor('int16', [elements.length], scale), tensor('int16', [elements.length], 2 ** -15)]
      const graph = loadedGraph(operatorGraph(code, ends.slice(0, 1), ends.slice(1)))
      const power = Math.log2(scale)
      let [multiplier, shift] = [f(scale) * 4_096 * 3, 0]
      while (multiplier <= 32_767 / 2) [multiplier, shift] = [multiplier * 2, shift + 1]
      const plain = Number.isInteger(power) && power + 12 >= 0 && power + 12 <= shifts
      const expected = elements.map((x) => (plain ? of(x, 0, power + 12) : of(x, Math.trunc(multiplier), shift)))
      expect(runGraph(graph, [elements])[0], `scale ${scale}`).toEqual(expected)
    }
  })

  it('LEAKY_RELU of int16', () => {
    const elements = [-32_768, 32_767, ...drawn(seededRandom(5), 'int16', 100)]
    for (const alpha of [0.1, -0.4]) {
      const ends = [tensor('int16', [102], 0.001, 50), tensor('int16', [102], 0.0007, -20)]
      const graph = loadedGraph(operatorGraph(98, ends.slice(0, 1), ends.slice(1), [word(alpha)]))
      const [positive, negative] = [f(f(0.001) / f(0.0007)), f(f(f(0.001) * f(alpha)) / f(0.0007))]
      const of = (x: number) => (x >= 0 ? rescaled(x, positive) : rescaled(alpha < 0 ? -x : x, Math.abs(negative)))
      // A multiplier that is negative rounds the other way at a half; none of these is one.
      expect(runGraph(graph, [elements])[0]).toEqual(elements.map((x) => within(of(x - 50) - 20, -32_768, 32_767)))
    }
  })

  it('RELU and RELU6 of int16', () => {
    const elements = [-32_768, 32_767, ...drawn(seededRandom(4), 'int16', 100)]
    const ends = [tensor('int16', [102], 0.001, 50), tensor('int16', [102], 0.0007, -20)]
    const relu = loadedGraph(operatorGraph(19, ends.slice(0, 1), ends.slice(1)))
    const factor = f(0.001) / f(0.0007)
    const rectified = elements.map((x) => within(rescaled(x - 50, factor) - 20, -20, 32_767))
    expect(runGraph(relu, [elements])[0]).toEqual(rectified)
    const relu6 = loadedGraph(operatorGraph(21, [ends[0]!], [ends[0]!]))
    expect(runGraph(relu6, [elements])[0]).toEqual(elements.map((x) => within(x, 50, 6_050)))
  })
})

describe('moving elements', () => {
  it.each<[string, OperatorTensor['type'], number | null, number]>([
    ['float32 by a value', 'float32', f(-1.7), 0],
    ['int16 by its zero point', 'int16', null, -300],
    ['int32 by a value', 'int32', 70_000, 0],
    ['int64 by a value', 'int64', 2 ** 40 + 3, 0],
    ['bool by false', 'bool', null, 0],
  ])('PAD of %s', (_, type, value, zero) => {
    const quantization = type === 'int16' ? { quantization: { scales: [1], zeroPoints: [zero] } } : {}
    const padding: OperatorTensor = { type: 'int32', shape: [2, 2], elements: [1, 0, 2, 1] }
    const by: OperatorTensor[] = value === null ? [] : [{ type, shape: [1], elements: [value] }]
    const graph = loadedGraph(
      operatorGraph(
        value === null ? 34 : 60,
        [{ type, shape: [2, 2], ...quantization }, padding, ...by],
        [{ type, shape: [3, 5], ...quantization }],
      ),
    )
    const p = value ?? zero
    expect(runGraph(graph, [[1, 0, 0, 1]])[0]).toEqual([p, p, p, p, p, p, p, 1, 0, p, p, p, 0, 1, p])
  })

  it('SLICE from a begin that is computed, kept where the output fits', () => {
    const from = tensor('int16', [3, 4, 2])
    const ports: OperatorTensor[] = [
      ...[from, { type: 'int32', shape: [3] } as const],
      { type: 'int32', shape: [3], elements: [2, -1, 1] },
    ]
    const graph = loadedGraph(operatorGraph(65, ports, [tensor('int16', [2, 3, 1])]))
    const elements = Array.from({ length: 24 }, (_, at) => at)
    const at = (y: number, x: number, z: number) =>
      [0, 1].flatMap((row) => [0, 1, 2].map((column) => ((y + row) * 4 + x + column) * 2 + z))
    expect(runGraph(graph, [elements, [1, 0, 1]])[0]).toEqual(at(1, 0, 1))
    expect(runGraph(graph, [elements, [0, 1, 0]])[0]).toEqual(at(0, 1, 0))
    expect(runGraph(graph, [elements, [2 ** 31 - 1, -(2 ** 31), 7]])[0]).toEqual(at(1, 0, 1))
  })

  it('GATHER by indices that are computed, kept within the axis', () => {
    const graph = loadedGraph(
      operatorGraph(
        36,
        [tensor('int16', [2, 3, 2]), { type: 'int32', shape: [2, 2] }],
        [tensor('int16', [2, 2, 2])],
        [int32(1), int32(1)],
      ),
    )
    const rows: Elements = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    expect(runGraph(graph, [rows, [2, 0, 1, 1]])[0]).toEqual([5, 6, 1, 2, 9, 10, 9, 10])
    expect(runGraph(graph, [rows, [-(2 ** 31), 2 ** 31 - 1, 3, -1]])[0]).toEqual([1, 2, 5, 6, 11, 12, 7, 8])
  })
})
