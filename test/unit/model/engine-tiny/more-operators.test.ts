import { describe, expect, it } from 'vitest'
import { type SeededRandom, seededRandom } from '../../../../contract/random.ts'
import { loadTiny } from '../../../../model/engine-tiny/graph.ts'
import { rescaled, rescaledLong, within } from '../../../fixtures/fixed-point-oracle.ts'
import { type FlatField, int8, int32, uint32 } from '../../../fixtures/flatbuffer-builder.ts'
import { loadedGraph, type OperatorTensor, operatorGraph, runGraph } from '../../../fixtures/tflite-operator.ts'

/** Operators that the reference data has no outputs of: against the published arithmetic, written here as the plainest loops. */

const f = Math.fround
const CODES = {
  ...{ CONV_2D: 3, DEPTHWISE_CONV_2D: 4, FULLY_CONNECTED: 9, RESHAPE: 22, SOFTMAX: 25, SVDF: 27, SLICE: 65 },
  ...{ TRANSPOSE_CONV: 67, GATHER_ND: 107 },
} as const
const float32 = (value: number): FlatField => uint32(new Uint32Array(Float32Array.of(value).buffer)[0]!)
const pick = (random: SeededRandom, least: number, most: number): number =>
  least + Math.floor(random.next() * (most - least + 1))
const drawn = (random: SeededRandom, count: number, most: number): number[] =>
  Array.from({ length: count }, () => pick(random, -most - 1, most))
const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)
const scaled = (type: OperatorTensor['type'], shape: readonly number[], scale = 1, zero = 0): OperatorTensor => ({
  ...{ type, shape },
  quantization: { scales: [f(scale)], zeroPoints: [zero] },
})
const refusal = (file: Uint8Array): string => {
  const loaded = loadTiny(file)
  return loaded.ok ? 'loads' : `${loaded.error.code}: ${loaded.error.detail}`
}

describe('SOFTMAX of int16', () => {
  /** gen_lut of common.h: the value, less half of what a straight line misses in the middle. */
  const half = (x: number): number => (x < 0 ? -Math.round(-x) : Math.round(x))
  const tableOf = (least: number, most: number, of: (x: number) => number): number[] => {
    const at = (x: number): number => f(f(of(f(x))) * 32_768)
    const step = (most - least) / 512
    const points = Array.from({ length: 512 }, (_, index) => {
      const x = least + index * step
      const line = half((at(x + step) + half(at(x))) / 2)
      return Math.min(32_767, half(at(x)) - half((line - half(at(x + step / 2))) / 2))
    })
    return [...points, Math.min(32_767, half(at(most)))]
  }
  const POWERS = tableOf(-10, 0, Math.exp)
  const RECIPROCALS = tableOf(0, 1, (x) => 1 / f(1 + x))
  const between = (value: number, table: readonly number[]): number => {
    const place = Math.floor(value / 128)
    const [from, to] = [table[256 + place]!, table[257 + place]!]
    return from + Math.floor(((to - from) * (value - 128 * place) + 64) / 128)
  }
  const softmax = (row: readonly number[], factor: number): number[] => {
    const largest = Math.max(...row)
    const powers = row.map((x) => between(within(rescaled(x - largest, factor) + 32_767, -32_768, 32_767), POWERS))
    const sum = powers.reduce((a, b) => a + b, 0)
    const headroom = Math.clz32(sum)
    const shifted = Number(((BigInt(sum) << BigInt(headroom - 1)) + 8_192n) >> 14n)
    const reciprocal = between(within(shifted - 98_304, -32_768, 32_767), RECIPROCALS)
    const right = BigInt(31 - headroom)
    return powers.map((power) =>
      within(Number((BigInt(power) * BigInt(reciprocal) + (1n << (right - 1n))) >> right), 0, 32_767),
    )
  }
  const graph = (shape: readonly number[], scale: number, beta = 1, outputScale = 1 / 32_768) =>
    operatorGraph(
      CODES.SOFTMAX,
      [scaled('int16', shape, scale)],
      [scaled('int16', shape, outputScale)],
      [float32(beta)],
    )

  it.each([
    [[3, 12], 1 / 4_096, 1],
    [[2, 1], 1 / 4_096, 1],
    [[1, 2, 1_000], 1 / 2_048, 1],
    [[4, 7], 1 / 32_768, 2],
    [[4, 7], 0.01, 0.5],
  ] as const)('rows of %j at scale %d, beta %d', (shape, scale, beta) => {
    const random = seededRandom(5)
    const loaded = loadedGraph(graph(shape, scale, beta))
    const depth = shape.at(-1)!
    const factor = (f(scale) * f(beta)) / (10 / 65_535)
    for (const most of [32_767, 3_000, 40]) {
      const input = drawn(random, sizeOf(shape), most)
      const rows = Array.from({ length: input.length / depth }, (_, at) => input.slice(at * depth, (at + 1) * depth))
      const [made = []] = runGraph(loaded, [input])
      expect(made).toEqual(rows.flatMap((row) => softmax(row, factor)))
      // And it is a softmax, as near as tables of 512 points are.
      for (const [at, row] of rows.entries()) {
        const powers = row.map((x) => Math.exp((x - Math.max(...row)) * scale * beta))
        const sum = powers.reduce((a, b) => a + b, 0)
        for (const [column, power] of powers.entries()) {
          expect(Math.abs(made[at * depth + column]! / 32_768 - power / sum)).toBeLessThan(0.001)
        }
      }
    }
  })

  it('is refused at another scale, with what it has to be', () => {
    expect(refusal(graph([1, 4], 0.001, 1, 1 / 65_536))).toMatch(/has to have the scale 1\/32768/)
    expect(refusal(graph([1, 4], 1e6))).toMatch(/^tiny-malformed: node 0, SOFTMAX: /)
    expect(refusal(graph([1, 40_000], 0.001))).toMatch(/softmax over 40000 values, at most 32767/)
  })
})

describe('TRANSPOSE_CONV of int16', () => {
  const bias = ['int64', 'int16', null] as const
  it.each(bias)('bias %s', (biasType) => {
    for (let seed = 0; seed < 9; seed++) {
      const random = seededRandom(seed)
      const [height, width, channels, outputs] = [2, 2, 1, 1].map((least) => pick(random, least, least + 3)) as [
        ...[number, number, number, number],
      ]
      const [rows, columns, down, across] = [4, 4, 2, 3].map((most) => pick(random, 1, most)) as [
        ...[number, number, number, number],
      ]
      const [outHeight, outWidth] = [(height - 1) * down + rows, (width - 1) * across + columns]
      const weights = drawn(random, outputs * rows * columns * channels, 126)
      const biases = drawn(random, outputs, 30_000)
      const scales = Array.from({ length: outputs }, () => f(0.0001 + random.next() / 300))
      const shape = [1, outHeight, outWidth, outputs]
      const file = operatorGraph(
        CODES.TRANSPOSE_CONV,
        [
          { type: 'int32', shape: [4], elements: shape },
          {
            ...{ type: 'int8', shape: [outputs, rows, columns, channels], elements: weights },
            quantization: { scales, zeroPoints: scales.map(() => 0), dimension: 0 },
          },
          scaled('int16', [1, height, width, channels]),
          ...(biasType === null ? [] : [{ type: biasType, shape: [outputs], elements: biases }]),
        ],
        [scaled('int16', shape, 0.75)],
        [int8(1), int32(across), int32(down)],
      )
      const input = drawn(random, height * width * channels, 32_767)
      const sums = new Array<number>(sizeOf(shape)).fill(0)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++)
          for (let row = 0; row < rows; row++)
            for (let column = 0; column < columns; column++)
              for (let o = 0; o < outputs; o++)
                for (let k = 0; k < channels; k++)
                  sums[((y * down + row) * outWidth + x * across + column) * outputs + o]! +=
                    input[(y * width + x) * channels + k]! *
                    weights[((o * rows + row) * columns + column) * channels + k]!
      const expected = sums.map((sum, at) =>
        within(
          rescaledLong(sum + (biasType === null ? 0 : biases[at % outputs]!), scales[at % outputs]! / 0.75),
          -32_768,
          32_767,
        ),
      )
      expect(runGraph(loadedGraph(file), [input])[0]).toEqual(expected)
    }
  })

  it('is refused with a bias of 32 bits, which the reference reads as 64', () => {
    const file = operatorGraph(
      CODES.TRANSPOSE_CONV,
      [
        { type: 'int32', shape: [4], elements: [1, 2, 2, 1] },
        { ...scaled('int8', [1, 1, 1, 1]), elements: [3] },
        scaled('int16', [1, 2, 2, 1]),
        { type: 'int32', shape: [1], elements: [5] },
      ],
      [scaled('int16', [1, 2, 2, 1])],
      [int8(1), int32(1), int32(1)],
    )
    expect(refusal(file)).toMatch(
      /^tiny-unsupported-type: node 0, TRANSPOSE_CONV: "t3" is int32, this engine has it for int64, int16/,
    )
  })
})

describe('GATHER_ND', () => {
  const CASES = [
    [[3, 4, 2], 2],
    [[3, 4, 2], 3],
    [[5], 1],
    [[2, 3, 2, 2, 2], 4],
    [[4, 6], 1],
  ] as const
  it.each(
    CASES.flatMap(([shape, n]) =>
      (['int8', 'float32', 'int32', 'int16'] as const).map((type) => [shape, n, type] as const),
    ),
  )('of %j by %d indices, %s', (shape, n, type) => {
    const random = seededRandom(n)
    const input = Array.from({ length: sizeOf(shape) }, (_, at) => (at * 37) % 101)
    const inner = sizeOf(shape.slice(n))
    for (const computed of [true, false]) {
      const places = Array.from({ length: 6 }, () =>
        shape.slice(0, n).map((size) => (computed ? pick(random, -2, size + 1) : pick(random, 0, size - 1))),
      )
      const indices: OperatorTensor = { type: 'int32', shape: [2, 3, n] }
      const file = operatorGraph(
        CODES.GATHER_ND,
        [{ type, shape }, computed ? indices : { ...indices, elements: places.flat() }],
        [{ type, shape: [2, 3, ...shape.slice(n)] }],
      )
      const expected = places.flatMap((place) => {
        // One outside is moved to the nearest within.
        const block = place.reduce((at, index, axis) => at * shape[axis]! + within(index, 0, shape[axis]! - 1), 0)
        return input.slice(block * inner, (block + 1) * inner)
      })
      expect(runGraph(loadedGraph(file), computed ? [input, places.flat()] : [input])[0]).toEqual(expected)
    }
  })

  it.each<[string, readonly number[], OperatorTensor, readonly number[]]>([
    ['index 4 of 4', [4, 2], { type: 'int32', shape: [1, 1], elements: [4] }, [1, 2]],
    ['3 indices into \\[4,2\\]', [4, 2], { type: 'int32', shape: [1, 3] }, [1]],
    ['its operands make \\[2, 2\\]', [4, 2], { type: 'int32', shape: [2, 1] }, [2, 1]],
    ['is int64, this engine has it for int32', [4, 2], { type: 'int64', shape: [2, 1] }, [2, 2]],
  ])('is refused: %s', (why, shape, indices, made) => {
    const file = operatorGraph(CODES.GATHER_ND, [{ type: 'int8', shape }, indices], [{ type: 'int8', shape: made }])
    expect(refusal(file)).toMatch(new RegExp(why))
  })
})

describe('weights of 4 bits', () => {
  const window = [int8(0), int32(1), int32(1)]
  type Shape = readonly number[]
  type Layer = readonly [keyof typeof CODES, Shape, Shape, Shape, number, readonly FlatField[]]
  const graphs: readonly Layer[] = [
    ['CONV_2D', [1, 5, 4, 3], [5, 3, 3, 3], [1, 5, 4, 5], 0, [...window, int8(0), int32(1), int32(1)]],
    ['DEPTHWISE_CONV_2D', [1, 5, 4, 9], [1, 3, 3, 9], [1, 5, 4, 9], 3, [...window, int32(1), int8(0)]],
    ['FULLY_CONNECTED', [3, 7], [5, 7], [3, 5], 0, []],
  ]
  const graph = ([name, from, by, to, dimension, options]: Layer, type: 'int4' | 'int8') => {
    const random = seededRandom(name.length)
    const channels = by[dimension]!
    const weights: OperatorTensor = {
      // -8 to 7, both ends among them; an odd number of them for two of the graphs.
      ...{ type, shape: by, elements: [-8, 7, ...drawn(random, sizeOf(by) - 2, 7)] },
      quantization: {
        ...{ scales: Array.from({ length: channels }, (_, at) => f(0.02 + at / 300)), dimension },
        zeroPoints: Array.from({ length: channels }, () => 0),
      },
    }
    return operatorGraph(CODES[name], [scaled('int8', from, 0.5, 3), weights], [scaled('int8', to, 0.8, -5)], options)
  }

  it.each(graphs)('%s is what it is with the same weights of a byte', (...given) => {
    const input = drawn(seededRandom(2), sizeOf(given[1]), 127)
    const [four, eight] = (['int4', 'int8'] as const).map((type) => runGraph(loadedGraph(graph(given, type)), [input]))
    expect(four).toEqual(eight)
    expect(new Set(four![0]).size).toBeGreaterThan(10)
  })

  it('multiplies -8, 7 and -1 as such', () => {
    const file = operatorGraph(
      CODES.FULLY_CONNECTED,
      [scaled('int8', [1, 3]), { ...scaled('int4', [1, 3], 0.25), elements: [-8, 7, -1] }],
      [scaled('int8', [1, 1])],
    )
    expect(runGraph(loadedGraph(file), [[4, 8, 12]])).toEqual([[(4 * -8 + 8 * 7 - 12) / 4]])
  })

  it('that are computed are refused', () => {
    const file = operatorGraph(
      CODES.FULLY_CONNECTED,
      [scaled('int8', [1, 4]), scaled('int4', [1, 4])],
      [scaled('int8', [1, 1])],
    )
    expect(refusal(file)).toMatch(/^tiny-unsupported-operator: node 0, FULLY_CONNECTED: "t1" is computed/)
  })
})

describe('SVDF of float32', () => {
  it.each([0, 1, 3])('over several runs, to the bit, with the activation %d', (activation) => {
    for (let seed = 0; seed < 6; seed++) {
      const random = seededRandom(seed)
      const [batches, inputs, units, memory, rank] = [2, 6, 3, 4, 2].map((most) => pick(random, 1, most)) as [
        ...[number, number, number, number, number],
      ]
      const filters = units * rank
      const floats = (count: number) => Array.from({ length: count }, () => f(random.next() * 4 - 2))
      const [byFeature, byTime, bias] = [floats(filters * inputs), floats(filters * memory), floats(units)]
      const withBias = seed % 2 === 0
      const graph = loadedGraph(
        operatorGraph(
          CODES.SVDF,
          [
            { type: 'float32', shape: [batches, inputs] },
            { type: 'float32', shape: [filters, inputs], elements: byFeature },
            { type: 'float32', shape: [filters, memory], elements: byTime },
            withBias ? { type: 'float32', shape: [units], elements: bias } : null,
            { type: 'float32', shape: [batches, filters * memory], variable: true },
          ],
          [{ type: 'float32', shape: [batches, units] }],
          [int32(rank), int8(activation)],
        ),
      )
      const kept = Array.from({ length: batches * filters }, () => new Array<number>(memory).fill(0))
      const dot = (a: readonly number[], b: readonly number[]): number =>
        a.reduce((sum, x, at) => f(sum + f(x * b[at]!)), 0)
      for (let run = 0; run < 5; run++) {
        const input = floats(batches * inputs)
        for (const [at, line] of kept.entries()) {
          const filter = at % filters
          const vector = input.slice(Math.floor(at / filters) * inputs).slice(0, inputs)
          line.push(dot(byFeature.slice(filter * inputs, (filter + 1) * inputs), vector))
          line.shift()
        }
        const expected = Array.from({ length: batches * units }, (_, at) => {
          let sum = withBias ? bias[at % units]! : 0
          for (let own = 0; own < rank; own++) {
            const filter = (at % units) * rank + own
            const line = kept[Math.floor(at / units) * filters + filter]!
            sum = f(sum + dot(byTime.slice(filter * memory, (filter + 1) * memory), line))
          }
          return within(sum, activation === 0 ? -Infinity : 0, activation === 3 ? 6 : Infinity)
        })
        expect(runGraph(graph, [input])[0]!.map((x) => x + 0)).toEqual(expected.map((x) => x + 0))
      }
      graph.resetState()
      expect([...graph.saveState()].every((byte) => byte === 0)).toBe(true)
    }
  })
})

describe('sizes that are computed', () => {
  it('SLICE of a computed size is what its output says, from a begin that is constant', () => {
    const input = Array.from({ length: 24 }, (_, at) => at)
    const file = operatorGraph(
      CODES.SLICE,
      [
        { type: 'int8', shape: [2, 3, 4] },
        { type: 'int32', shape: [3], elements: [1, 0, 2] },
        { type: 'int32', shape: [3] },
      ],
      [{ type: 'int8', shape: [1, 3, 2] }],
    )
    expect(runGraph(loadedGraph(file), [input, [1, 3, 2]])[0]).toEqual([14, 15, 18, 19, 22, 23])
  })

  it('RESHAPE to a computed shape is what its output says', () => {
    const file = operatorGraph(
      CODES.RESHAPE,
      [
        { type: 'int8', shape: [2, 3] },
        { type: 'int32', shape: [2] },
      ],
      [{ type: 'int8', shape: [3, 2] }],
    )
    expect(
      runGraph(loadedGraph(file), [
        [1, 2, 3, 4, 5, 6],
        [3, 2],
      ])[0],
    ).toEqual([1, 2, 3, 4, 5, 6])
  })
})
