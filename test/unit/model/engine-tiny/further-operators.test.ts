import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../../contract/random.ts'
import { loadTiny } from '../../../../model/engine-tiny/graph.ts'
import { rescaled, rescaledLong, within } from '../../../fixtures/fixed-point-oracle.ts'
import { type FlatField, int8, int32, uint32 } from '../../../fixtures/flatbuffer-builder.ts'
import { loadedGraph, type OperatorTensor, operatorGraph, runGraph } from '../../../fixtures/tflite-operator.ts'

/** The rest of TFLite Micro's operators that small networks of sound, vibration and images have, against the published arithmetic, written here as the plainest loops;
 *  guard bytes are around all that is written. */

const f = Math.fround
const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)
const float = (...shape: number[]): OperatorTensor => ({ type: 'float32', shape })
const bytes = (shape: readonly number[], scale = 0.05, zero = 0): OperatorTensor => ({
  ...{ type: 'int8', shape },
  quantization: { scales: [f(scale)], zeroPoints: [zero] },
})
const shorts = (shape: readonly number[], scale: number): OperatorTensor => ({ ...bytes(shape, scale), type: 'int16' })
const bools = (...shape: number[]): OperatorTensor => ({ type: 'bool', shape })
const ints = (...elements: number[]): OperatorTensor => ({ type: 'int32', shape: [elements.length], elements })
/** Integers that the run says. */
const given = (count: number, type: 'int32' | 'int64' = 'int32'): OperatorTensor => ({ type, shape: [count] })
const random = seededRandom(11)
const floats = (count: number, most = 4): number[] =>
  Array.from({ length: count }, () => f((2 * random.next() - 1) * most))
const integers = (count: number, most = 127): number[] =>
  Array.from({ length: count }, () => Math.floor(random.next() * (2 * most + 1)) - most)
const counted = (shape: readonly number[]): number[] => Array.from({ length: sizeOf(shape) }, (_, at) => at % 128)

function ran(
  code: number,
  inputs: readonly OperatorTensor[],
  outputs: readonly OperatorTensor[],
  runs: readonly (readonly number[])[],
  options: readonly FlatField[] = [],
): number[] {
  return runGraph(loadedGraph(operatorGraph(code, inputs, outputs, options)), runs)[0]!
}

const refusal = (
  code: number,
  inputs: readonly OperatorTensor[],
  outputs: readonly OperatorTensor[],
  options: readonly FlatField[] = [],
): string => {
  const loaded = loadTiny(operatorGraph(code, inputs, outputs, options))
  return loaded.ok ? 'loads' : `${loaded.error.code}: ${loaded.error.detail}`
}

/** Element at a place of several dimensions. */
const at = (shape: readonly number[], place: readonly number[]): number =>
  place.reduce((index, coordinate, axis) => index * shape[axis]! + coordinate, 0)
/** All places of a shape, in order. */
function places(shape: readonly number[]): number[][] {
  const [size, ...inner] = shape
  if (size === undefined) return [[]]
  return Array.from({ length: size }, (_, index) => index).flatMap((index) =>
    places(inner).map((rest) => [index, ...rest]),
  )
}

describe('LSTM of float32', () => {
  const sigmoid = (x: number): number => f(1 / (1 + Math.exp(-x)))
  interface Net {
    readonly batches: number
    readonly steps: number
    readonly inputs: number
    readonly units: number
    readonly timeMajor: boolean
    readonly clip: number
    readonly biased: boolean
    readonly weights: readonly (readonly number[])[]
    readonly biases: readonly (readonly number[])[]
  }
  const netOf = (seed: number): Net => {
    const [inputs, units] = [1 + (seed % 7), 1 + ((seed * 5) % 6)]
    return {
      ...{ batches: 1 + (seed % 3), steps: 1 + (seed % 4), inputs, units, timeMajor: seed % 2 === 1 },
      ...{ clip: seed % 3 === 2 ? 0.4 : 0, biased: seed % 5 !== 4 },
      weights: Array.from({ length: 8 }, (_, index) => floats(units * (index < 4 ? inputs : units), 1)),
      biases: Array.from({ length: 4 }, () => floats(units, 1)),
    }
  }
  const word = (value: number) => uint32(new Uint32Array(Float32Array.of(value).buffer)[0]!)
  const fileOf = (net: Net, changed: Readonly<Record<number, OperatorTensor | null>> = {}): Uint8Array => {
    const { batches, steps, inputs, units, timeMajor } = net
    const ports: (OperatorTensor | null)[] = Array.from({ length: 24 }, () => null)
    const side = (size: number) => (timeMajor ? [steps, batches, size] : [batches, steps, size])
    ports[0] = float(...side(inputs))
    for (const [index, elements] of net.weights.entries()) {
      ports[1 + index] = { ...float(units, index < 4 ? inputs : units), elements }
    }
    if (net.biased)
      for (const [gate, elements] of net.biases.entries()) ports[12 + gate] = { ...float(units), elements }
    for (const port of [18, 19]) ports[port] = { ...float(batches, units), variable: true }
    for (const [port, tensor] of Object.entries(changed)) ports[Number(port)] = tensor
    return operatorGraph(44, ports, [float(...side(units))], [int8(4), word(net.clip), null, int8(timeMajor ? 1 : 0)])
  }
  /** The published order: products of the input, then the bias, then products of the state as one sum. */
  const oracle = (net: Net) => {
    const { batches, steps, inputs, units, timeMajor } = net
    let [hidden, cells] = [new Array<number>(batches * units).fill(0), new Array<number>(batches * units).fill(0)]
    const row = (weights: readonly number[], unit: number, from: readonly number[]): number =>
      from.reduce((sum, value, index) => f(sum + f(value * weights[unit * from.length + index]!)), 0)
    return (sequence: readonly number[]): number[] => {
      const out = new Array<number>(batches * steps * units).fill(0)
      for (let batch = 0; batch < batches; batch++) {
        for (let step = 0; step < steps; step++) {
          const place = timeMajor ? step * batches + batch : batch * steps + step
          const x = sequence.slice(place * inputs, (place + 1) * inputs)
          const before = hidden.slice(batch * units, (batch + 1) * units)
          const gate = (index: number, unit: number): number => {
            const own = row(net.weights[index]!, unit, x)
            const biased = net.biased ? f(own + net.biases[index]![unit]!) : own
            return f(biased + row(net.weights[4 + index]!, unit, before))
          }
          const made = before.map((_, unit) => {
            const index = batch * units + unit
            const kept = f(sigmoid(gate(1, unit)) * cells[index]!)
            let cell = f(kept + f(sigmoid(gate(0, unit)) * f(Math.tanh(gate(2, unit)))))
            if (net.clip > 0) cell = within(cell, -f(net.clip), f(net.clip))
            cells = cells.with(index, cell)
            return f(sigmoid(gate(3, unit)) * f(Math.tanh(cell)))
          })
          hidden = hidden.toSpliced(batch * units, units, ...made)
          out.splice(place * units, units, ...made)
        }
      }
      return out
    }
  }

  it.each(Array.from({ length: 15 }, (_, seed) => seed))('of seed %i, from run to run', (seed) => {
    const net = netOf(seed)
    const [graph, expected] = [loadedGraph(fileOf(net)), oracle(net)]
    for (let run = 0; run < 4; run++) {
      const sequence = floats(net.batches * net.steps * net.inputs, 2)
      const [got, exact] = [runGraph(graph, [sequence])[0]!, expected(sequence)]
      // The exponential is the engine's own, within a last place; what it feeds are values below 1.
      for (const [index, value] of got.entries()) expect(Math.abs(value - exact[index]!)).toBeLessThan(2e-6)
    }
  })

  it('keeps both states as a region that is saved, restored and cleared', () => {
    const net = { ...netOf(3), batches: 2, clip: 0 }
    const graph = loadedGraph(fileOf(net))
    expect(graph.memory.stateBytes).toBeGreaterThanOrEqual(2 * 2 * net.units * 4)
    const [first, second] = [floats(2 * net.steps * net.inputs), floats(2 * net.steps * net.inputs)]
    const start = runGraph(graph, [first])[0]
    const kept = graph.saveState()
    const next = runGraph(graph, [second])[0]
    runGraph(graph, [first])
    graph.restoreState(kept)
    expect(runGraph(graph, [second])[0]).toEqual(next)
    graph.resetState()
    expect(runGraph(graph, [first])[0]).toEqual(start)
  })

  it.each<[string, Readonly<Record<number, OperatorTensor | null>>, RegExp]>([
    ['a state of the outputs that is no variable', { 18: { ...float(1, 1), elements: [0] } }, /no variable/],
    ['cells of int16', { 19: { ...shorts([1, 1], 2 ** -11), variable: true } }, /^tiny-unsupported-type.*float32/],
    [
      'weights of int8, as of a hybrid network',
      { 2: { ...bytes([1, 1]), elements: [1] } },
      /^tiny-unsupported-type.*float32/,
    ],
    ['recurrent weights of another size', { 5: { ...float(2, 1), elements: [1, 2] } }, /^tiny-malformed/],
    ['a bias too long', { 13: { ...float(2), elements: [1, 2] } }, /^tiny-malformed.*2 elements/],
    ['peepholes', { 10: { ...float(1), elements: [1] } }, /^tiny-unsupported-operator.*peepholes/],
  ])('refuses %s', (_, changed, message) => {
    const net = {
      ...netOf(0),
      batches: 1,
      steps: 1,
      inputs: 1,
      units: 1,
      weights: Array.from({ length: 8 }, () => [0.5]),
      biases: Array.from({ length: 4 }, () => [0.1]),
    }
    const loaded = loadTiny(fileOf(net, changed))
    expect(loaded.ok ? 'loads' : `${loaded.error.code}: ${loaded.error.detail}`).toMatch(message)
  })
})

describe('places that the graph computes', () => {
  const padded = (
    shape: readonly number[],
    output: readonly number[],
    before: readonly number[],
    elements: readonly number[],
    fill: number,
  ) =>
    places(output).map((place) => {
      const from = place.map((index, axis) => index - before[axis]!)
      return from.every((index, axis) => index >= 0 && index < shape[axis]!) ? elements[at(shape, from)]! : fill
    })

  it.each(['int32', 'int64'] as const)('PAD of int8 by paddings of %s', (type) => {
    const [shape, output] = [
      [1, 3, 2],
      [2, 5, 3],
    ]
    const graph = loadedGraph(operatorGraph(34, [bytes(shape, 0.1, -9), given(6, type)], [bytes(output, 0.1, -9)]))
    const elements = integers(6)
    for (const [paddings, before] of [
      [
        [1, 0, 0, 2, 1, 0],
        [1, 0, 1],
      ],
      [
        [0, 1, 2, 0, 0, 1],
        [0, 2, 0],
      ],
      // What does not fit is moved to where it does.
      [
        [9, -8, -4, 6, 1, 0],
        [1, 0, 1],
      ],
    ] as const) {
      expect(runGraph(graph, [elements, paddings])[0]).toEqual(padded(shape, output, before, elements, -9))
    }
  })

  it('PADV2 of float32, paddings and value computed', () => {
    const graph = loadedGraph(operatorGraph(60, [float(2, 2), given(4), float(1)], [float(4, 3)]))
    const elements = floats(4)
    expect(runGraph(graph, [elements, [2, 0, 1, 0], [7.5]])[0]).toEqual(padded([2, 2], [4, 3], [2, 1], elements, 7.5))
    const constant = loadedGraph(
      operatorGraph(60, [float(2, 2), { ...ints(1, 1, 0, 1), shape: [2, 2] }, float(1)], [float(4, 3)]),
    )
    expect(runGraph(constant, [elements, [-1]])[0]).toEqual(padded([2, 2], [4, 3], [1, 0], elements, -1))
  })

  it.each([
    ['reflect', 0],
    ['symmetric', 1],
  ] as const)('MIRROR_PAD, %s', (_, mode) => {
    const [shape, output] = [
      [3, 4],
      [6, 7],
    ]
    const mirrored = (before: readonly number[], elements: readonly number[]) =>
      places(output).map((place) => {
        const from = place.map((index, axis) => {
          const size = shape[axis]!
          // A wall at the edge: before it the order turns, with or without the edge again.
          const line =
            mode === 0
              ? [...Array(size).keys(), ...Array.from({ length: size - 2 }, (_, i) => size - 2 - i)]
              : [...Array(size).keys(), ...Array.from({ length: size }, (_, i) => size - 1 - i)]
          return line[(((index - before[axis]!) % line.length) + line.length) % line.length]!
        })
        return elements[at(shape, from)]!
      })
    for (const [type, elements] of [
      ['int8', integers(12)],
      ['float32', floats(12)],
    ] as const) {
      const ends = [
        { ...bytes(shape), type },
        { ...bytes(output), type },
      ] as const
      const constant = loadedGraph(
        operatorGraph(100, [ends[0], { ...ints(1, 2, 2, 1), shape: [2, 2] }], [ends[1]], [int8(mode)]),
      )
      expect(runGraph(constant, [elements])[0]).toEqual(mirrored([1, 2], elements))
      const computed = loadedGraph(
        operatorGraph(100, [ends[0], { ...given(4), shape: [2, 2] }], [ends[1]], [int8(mode)]),
      )
      for (const paddings of [
        [1, 2, 2, 1],
        [2, 1, 0, 3],
        [0, 3, 3, 0],
      ]) {
        const before = [paddings[0]!, paddings[2]!]
        if (Math.max(...paddings) > 2 && mode === 0) continue
        expect(runGraph(computed, [elements, paddings])[0]).toEqual(mirrored(before, elements))
      }
      // Paddings that lie: whatever comes out is of the input, and nothing beside it is touched.
      for (const value of runGraph(computed, [elements, [2 ** 31 - 1, -5, -(2 ** 31), 9]])[0]!)
        expect(elements).toContain(value)
    }
  })

  it('STRIDED_SLICE from a begin, and with strides, that are computed', () => {
    const shape = [4, 6, 3]
    const elements = counted(shape)
    const sliced = (begin: readonly number[], steps: readonly number[], sizes: readonly number[]) =>
      places(sizes).map(
        (place) =>
          elements[
            at(
              shape,
              place.map((index, axis) => begin[axis]! + index * steps[axis]!),
            )
          ]!,
      )
    const graph = loadedGraph(
      operatorGraph(
        45,
        [bytes(shape), given(3), given(3), ints(1, 2, -1)],
        [bytes([2, 3, 2])],
        [int32(0), int32(0), null, null, int32(0)],
      ),
    )
    expect(runGraph(graph, [elements, [1, 0, -1], [3, 6, -9]])[0]).toEqual(sliced([1, 0, 2], [1, 2, -1], [2, 3, 2]))
    expect(runGraph(graph, [elements, [2, 1, 1], [0, 0, 0]])[0]).toEqual(sliced([2, 1, 1], [1, 2, -1], [2, 3, 2]))
    // Beyond the end, and before the begin: the nearest places that there are.
    expect(runGraph(graph, [elements, [9, 5, -9], [0, 0, 0]])[0]).toEqual(sliced([2, 1, 1], [1, 2, -1], [2, 3, 2]))
    const stepped = loadedGraph(
      operatorGraph(
        45,
        [bytes(shape), ints(0, 0, 0), ints(9, 9, 9), given(3)],
        [bytes([2, 3])],
        [int32(2), int32(7), null, null, int32(4)],
      ),
    )
    expect(runGraph(stepped, [elements, [3, -2, 1]])[0]).toEqual(sliced([0, 5, 0], [3, -2, 1], [2, 3, 1]))
    // Steps with which it does not fit are one, forward or back.
    expect(runGraph(stepped, [elements, [2 ** 31 - 1, -(2 ** 31), 0]])[0]).toEqual(
      sliced([0, 5, 0], [1, -1, 1], [2, 3, 1]),
    )
  })

  it('SLICE from a begin of int64, and an update at a place that is computed', () => {
    const shape = [3, 5]
    const elements = counted(shape)
    const slice = loadedGraph(operatorGraph(65, [bytes(shape), given(2, 'int64'), ints(2, 2)], [bytes([2, 2])]))
    expect(runGraph(slice, [elements, [1, 3]])[0]).toEqual([8, 9, 13, 14])
    expect(runGraph(slice, [elements, [-3, 70]])[0]).toEqual([3, 4, 8, 9])
    const update = loadedGraph(operatorGraph(151, [float(3, 5), float(2, 2), given(2)], [float(3, 5)]))
    const [whole, part] = [floats(15), floats(4)]
    for (const [begin, from] of [
      [
        [1, 2],
        [1, 2],
      ],
      [
        [-7, 99],
        [0, 3],
      ],
    ] as const) {
      const expected = places(shape).map(([row = 0, column = 0]) => {
        const [y, x] = [row - from[0], column - from[1]]
        return y >= 0 && y < 2 && x >= 0 && x < 2 ? part[2 * y + x]! : whole[5 * row + column]!
      })
      expect(runGraph(update, [whole, part, begin])[0]).toEqual(expected)
    }
  })

  it.each<[string, () => string, RegExp]>([
    [
      'PAD into a shape that is smaller',
      () => refusal(34, [bytes([3, 3]), given(4)], [bytes([2, 4])]),
      /^tiny-malformed: node 0, PAD: a box/,
    ],
    [
      'PAD by paddings of bytes',
      () => refusal(34, [bytes([3]), bytes([2])], [bytes([4])]),
      /^tiny-unsupported-type: node 0, PAD: .*int8.*int32/,
    ],
    ['PAD by too few paddings', () => refusal(34, [bytes([3, 3]), given(2)], [bytes([4, 4])]), /^tiny-malformed/],
    [
      'MIRROR_PAD of more than there is',
      () => refusal(100, [bytes([3]), ints(3, 0)], [bytes([6])], [int8(0)]),
      /^tiny-malformed.*paddings/,
    ],
    [
      'MIRROR_PAD into a shape no paddings make',
      () => refusal(100, [bytes([3]), given(2)], [bytes([8])], [int8(0)]),
      /^tiny-malformed.*no paddings/,
    ],
    [
      'STRIDED_SLICE of more than there is',
      () => refusal(45, [bytes([3]), given(1), given(1), ints(1)], [bytes([4])]),
      /^tiny-malformed/,
    ],
    [
      'STRIDED_SLICE into more dimensions',
      () => refusal(45, [bytes([3]), given(1), given(1), ints(1)], [bytes([1, 3])]),
      /^tiny-malformed/,
    ],
    [
      'an update larger than what it is put in',
      () => refusal(151, [bytes([3]), bytes([4]), given(1)], [bytes([3])]),
      /^tiny-malformed/,
    ],
  ])('refuses %s', (_, outcome, message) => {
    expect(outcome()).toMatch(message)
  })
})

describe('functions of one float32', () => {
  const edges = [
    0,
    -0,
    1,
    -1,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    1e-20,
    -1e-4,
    88,
    -104,
    -200,
    1e30,
    3.4e38,
    1e-40,
    Number.POSITIVE_INFINITY,
    Number.NaN,
  ]
  const inputs = [...edges.map(f), ...floats(300), ...floats(100, 0.01), ...floats(100, 60)]
  const mapped = (code: number): number[] => ran(code, [float(inputs.length)], [float(inputs.length)], [inputs])

  it.each<[string, number, (x: number) => number]>([
    ['ABS', 101, Math.abs],
    ['NEG', 59, (x) => -x],
    ['SQRT', 75, (x) => f(Math.sqrt(x))],
    ['RSQRT', 76, (x) => f(1 / f(Math.sqrt(x)))],
    ['SQUARE', 92, (x) => f(x * x)],
    ['FLOOR', 8, Math.floor],
    ['CEIL', 104, Math.ceil],
    ['ROUND', 116, (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x))],
    ['RELU_N1_TO_1', 20, (x) => (x < -1 ? -1 : x > 1 ? 1 : x)],
  ])('%s, to the bit', (_, code, of) => {
    // Zeros are told apart by no network.
    expect(mapped(code).map((x) => x + 0)).toEqual(inputs.map((x) => of(x) + 0))
  })

  it.each<[string, number, (x: number) => number]>([
    ['EXP', 47, Math.exp],
    ['LOG', 73, Math.log],
    ['ELU', 111, (x) => (x < 0 ? Math.expm1(x) : x)],
  ])('%s, within the last place', (_, code, of) => {
    for (const [index, got] of mapped(code).entries()) {
      const exact = f(of(inputs[index]!))
      if (Number.isNaN(exact)) expect(got).toBeNaN()
      else if (Number.isFinite(exact))
        expect(Math.abs(got - exact), `f(${inputs[index]})`).toBeLessThanOrEqual(
          Math.max(Math.abs(exact) * 2 ** -23, 2 ** -149),
        )
      else expect(got).toBe(exact)
    }
  })

  it('LOG_SOFTMAX', () => {
    const rows = floats(24, 9)
    const got = ran(50, [float(4, 6)], [float(4, 6)], [rows])
    for (const [index, value] of got.entries()) {
      const row = rows.slice(6 * Math.floor(index / 6), 6 * Math.floor(index / 6) + 6)
      const exact = rows[index]! - Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0))
      expect(Math.abs(value - exact)).toBeLessThan(4e-6)
    }
  })

  it('CUMSUM, from either end, with and without the element itself', () => {
    const elements = floats(12)
    for (const [exclusive, reverse] of [
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 1],
    ] as const) {
      const expected = places([2, 3, 2]).map(([i = 0, j = 0, k = 0]) => {
        const along = [0, 1, 2].filter((n) => (reverse ? n > j : n < j)).sort((a, b) => (reverse ? b - a : a - b))
        const before = along.reduce((sum, n) => f(sum + elements[at([2, 3, 2], [i, n, k])]!), 0)
        return exclusive ? before : f(before + elements[at([2, 3, 2], [i, j, k])]!)
      })
      expect(
        ran(128, [float(2, 3, 2), ints(-2)], [float(2, 3, 2)], [elements], [int8(exclusive), int8(reverse)]),
      ).toEqual(expected)
    }
  })
})

describe('ABS and ELU of integers', () => {
  const all = Array.from({ length: 256 }, (_, index) => index - 128)
  it.each([
    [0.1, 0.1],
    [0.1, 0.07],
    [0.02, 0.3],
  ])('from %d to %d', (from, to) => {
    const ends = [bytes([256], from, -5), bytes([256], to, 9)] as const
    const clamped = (x: number): number => within(x, -128, 127)
    expect(ran(101, [ends[0]], [ends[1]], [all])).toEqual(
      all.map((x) => clamped(rescaled(Math.abs(x + 5), f(from) / f(to)) + 9)),
    )
    const half = (x: number): number => Math.sign(x) * Math.floor(Math.abs(x) + 0.5)
    const elu = (x: number): number => {
      const real = f(f(from) * (x + 5))
      return clamped(half(f(f(real < 0 ? f(Math.exp(real)) - 1 : real) * f(1 / f(to)))) + 9)
    }
    expect(ran(111, [ends[0]], [ends[1]], [all])).toEqual(all.map(elu))
    const words = [-32_768, 32_767, 0, 1, -1, ...integers(100, 32_767)]
    expect(ran(101, [shorts([105], from)], [shorts([105], to)], [words])).toEqual(
      words.map((x) => within(rescaled(Math.abs(x), f(from) / f(to)), -32_768, 32_767)),
    )
  })
})

describe('two operands', () => {
  const [left, right] = [floats(12), floats(3)]
  const pairs = (of: (a: number, b: number) => number): number[] => left.map((a, index) => of(a, right[index % 3]!))
  it.each<[string, number, (a: number, b: number) => number, (readonly FlatField[])?]>([
    ['DIV', 42, (a, b) => f(a / b)],
    ['DIV with RELU6', 42, (a, b) => within(f(a / b), 0, 6), [int8(3)]],
    ['FLOOR_DIV', 90, (a, b) => Math.floor(f(a / b))],
    ['FLOOR_MOD', 95, (a, b) => (a % b !== 0 && a % b < 0 !== b < 0 ? f((a % b) + b) : a % b)],
    ['SQUARED_DIFFERENCE', 99, (a, b) => f(f(a - b) * f(a - b))],
  ])('%s of float32', (_, code, of, options) => {
    expect(ran(code, [float(2, 2, 3), float(3)], [float(2, 2, 3)], [left, right], options)).toEqual(pairs(of))
  })

  it('SQUARED_DIFFERENCE of int8, int16 and int32', () => {
    for (const [a, b, out] of [
      [0.1, 0.03, 0.5],
      [0.02, 0.09, 0.04],
    ] as const) {
      const [x, y] = [integers(40), integers(40)]
      const twice = 2 * Math.max(f(a), f(b))
      const scaled = (value: number, scale: number, left: number) => rescaled(value * 2 ** left, f(scale) / twice)
      const expected = x.map((value, index) => {
        const difference = scaled(value + 4, a, 7) - scaled(y[index]! - 11, b, 7)
        return within(rescaled(difference ** 2, twice ** 2 / (2 ** 14 * f(out))) - 100, -128, 127)
      })
      expect(ran(99, [bytes([40], a, -4), bytes([40], b, 11)], [bytes([40], out, -100)], [x, y])).toEqual(expected)
      const [u, v] = [integers(40, 32_767), integers(40, 32_767)]
      const wide = u.map((value, index) => {
        const difference = scaled(value, a, 0) - scaled(v[index]!, b, 0)
        return within(rescaled(difference ** 2, twice ** 2 / f(900 * out)), -32_768, 32_767)
      })
      expect(ran(99, [shorts([40], a), shorts([40], b)], [shorts([40], 900 * out)], [u, v])).toEqual(wide)
    }
    const whole = { type: 'int32', shape: [3] } as const
    expect(
      ran(
        99,
        [whole, whole],
        [whole],
        [
          [1, -5, 70_000],
          [4, 6, 0],
        ],
      ),
    ).toEqual([9, 121, 4_900_000_000 | 0])
  })

  it('ADD_N of three', () => {
    const all = [floats(6), floats(6), floats(6)]
    const expected = all[0]!.map((a, index) => f(f(a + all[1]![index]!) + all[2]![index]!))
    expect(ran(106, [float(2, 3), float(2, 3), float(2, 3)], [float(2, 3)], all)).toEqual(expected)
  })

  const RELATIONS: readonly (readonly [string, number, (a: number, b: number) => boolean])[] = [
    ['EQUAL', 71, (a, b) => a === b],
    ['NOT_EQUAL', 72, (a, b) => a !== b],
    ['GREATER', 61, (a, b) => a > b],
    ['GREATER_EQUAL', 62, (a, b) => a >= b],
    ['LESS', 58, (a, b) => a < b],
    ['LESS_EQUAL', 63, (a, b) => a <= b],
  ]
  it.each(RELATIONS)('%s', (_, code, of) => {
    const told = (a: number, b: number): number => (of(a, b) ? 1 : 0)
    for (const type of ['float32', 'int32', 'int64'] as const) {
      const [x, y] = [
        [1, 2, 3, -4, -1],
        [1, 3, 2, -4, 7],
      ]
      expect(
        ran(
          code,
          [
            { type, shape: [5] },
            { type, shape: [5] },
          ],
          [bools(5)],
          [x, y],
        ),
        type,
      ).toEqual(x.map((a, index) => told(a, y[index]!)))
    }
    const [x, y] = [
      [10, 20, -30, 6],
      [5, 20, -30, 6, 7, 0, 3, -128],
    ]
    const seen = (value: number, zero: number, scale: number) => rescaled((value - zero) * 256, f(scale))
    expect(ran(code, [bytes([4, 1], 0.1, 2), bytes([2], 0.2, -1)], [bools(4, 2)], [x, y.slice(0, 2)])).toEqual(
      x.flatMap((a) => y.slice(0, 2).map((b) => told(seen(a, 2, 0.1), seen(b, -1, 0.2)))),
    )
  })

  it('bools: equal, both, any, neither, and what they choose', () => {
    const [a, b] = [
      [0, 0, 1, 1],
      [0, 1, 0, 1],
    ]
    const of = (code: number) => ran(code, [bools(4), bools(4)], [bools(4)], [a, b])
    expect([of(71), of(72), of(86), of(84)]).toEqual([
      [1, 0, 0, 1],
      [0, 1, 1, 0],
      [0, 0, 0, 1],
      [0, 1, 1, 1],
    ])
    expect(ran(87, [bools(4)], [bools(4)], [b])).toEqual([1, 0, 1, 0])
    const [x, y] = [floats(6), floats(2)]
    // Condition [3, 1], one side [3, 2], the other [2].
    expect(ran(123, [bools(3, 1), float(3, 2), float(2)], [float(3, 2)], [[1, 0, 1], x, y])).toEqual([
      x[0],
      x[1],
      y[0],
      y[1],
      x[4],
      x[5],
    ])
  })

  it('refuses what it does not have, and says what to do', () => {
    expect(refusal(42, [bytes([2]), bytes([2])], [bytes([2])])).toMatch(
      /^tiny-unsupported-type: node 0, DIV: .*int8.*float32.*DEQUANTIZE/,
    )
    expect(refusal(58, [bytes([2], 1.5), bytes([2])], [bools(2)])).toMatch(/^tiny-unsupported-type: .*scale 1.5/)
    expect(refusal(86, [float(2), float(2)], [bools(2)])).toMatch(/^tiny-unsupported-type/)
    expect(refusal(71, [float(2), float(2)], [float(2)])).toMatch(/^tiny-unsupported-type/)
  })
})

describe('BATCH_MATMUL', () => {
  it.each([
    [0, 0],
    [1, 0],
    [0, 1],
    [1, 1],
  ])('left turned %i, right turned %i', (leftTurned, rightTurned) => {
    const [rows, depth, columns] = [3, 5, 2]
    const leftShape = [2, 1, ...(leftTurned ? [depth, rows] : [rows, depth])]
    const rightShape = [3, ...(rightTurned ? [columns, depth] : [depth, columns])]
    const output = [2, 3, rows, columns]
    const options = [int8(leftTurned), int8(rightTurned)]
    const terms = (a: readonly number[], b: readonly number[], place: readonly number[]) => {
      const [i = 0, j = 0, row = 0, column = 0] = place
      return Array.from(
        { length: depth },
        (_, k) =>
          [
            a[at(leftShape, [i, 0, ...(leftTurned ? [k, row] : [row, k])])]!,
            b[at(rightShape, [j, ...(rightTurned ? [column, k] : [k, column])])]!,
          ] as const,
      )
    }
    const [x, y] = [floats(sizeOf(leftShape)), floats(sizeOf(rightShape))]
    expect(ran(126, [float(...leftShape), float(...rightShape)], [float(...output)], [x, y], options)).toEqual(
      places(output).map((place) => terms(x, y, place).reduce((sum, [a, b]) => f(sum + f(a * b)), 0)),
    )
    const [u, v] = [integers(sizeOf(leftShape)), integers(sizeOf(rightShape))]
    const factor = f(f(0.02) * f(0.3)) / f(0.25)
    expect(
      ran(126, [bytes(leftShape, 0.02, 7), bytes(rightShape, 0.3, -3)], [bytes(output, 0.25, 20)], [u, v], options),
    ).toEqual(
      places(output).map((place) => {
        const sum = terms(u, v, place).reduce((so, [a, b]) => so + (a - 7) * (b + 3), 0)
        return within(rescaled(sum, factor) + 20, -128, 127)
      }),
    )
    const [s, t] = [integers(sizeOf(leftShape), 30_000), integers(sizeOf(rightShape), 30_000)]
    const small = f(f(0.000_1) * f(0.000_2)) / f(0.001)
    expect(
      ran(126, [shorts(leftShape, 0.000_1), shorts(rightShape, 0.000_2)], [shorts(output, 0.001)], [s, t], options),
    ).toEqual(
      places(output).map((place) =>
        within(
          rescaledLong(
            terms(s, t, place).reduce((so, [a, b]) => so + a * b, 0),
            small,
          ),
          -32_768,
          32_767,
        ),
      ),
    )
  })

  it('refuses matrices that do not meet', () => {
    expect(refusal(126, [float(2, 3), float(4, 2)], [float(2, 2)])).toMatch(
      /^tiny-malformed: node 0, BATCH_MATMUL: .*3 is not 4/,
    )
    expect(refusal(126, [float(3), float(3, 2)], [float(2)])).toMatch(/^tiny-malformed.*no matrix/)
    expect(refusal(126, [float(2, 2, 3), float(3, 3, 2)], [float(3, 2, 2)])).toMatch(/^tiny-malformed/)
  })
})

describe('images', () => {
  it.each([
    ['corners aligned', 1, 0],
    ['pixels with centres', 0, 1],
    ['neither', 0, 0],
  ])('RESIZE_BILINEAR of int8 and float32, %s', (_, corners, centres) => {
    const options = [null, null, int8(corners), int8(centres)]
    for (const [height, width, rows, columns] of [
      [3, 4, 7, 5],
      [8, 6, 3, 4],
      [1, 5, 2, 11],
    ] as const) {
      const [from, to] = [
        [2, height, width, 3],
        [2, rows, columns, 3],
      ]
      const x = integers(sizeOf(from))
      const scaleOf = (a: number, b: number) =>
        corners && b > 1
          ? Math.floor((1_024 * (a - 1) + Math.floor((b - 1) / 2)) / (b - 1))
          : Math.floor((1_024 * a + Math.floor(b / 2)) / b)
      const around = (index: number, a: number, b: number) => {
        const scale = scaleOf(a, b)
        const place = index * scale + (centres ? Math.floor(scale / 2) - 512 : 0)
        const low = Math.max(Math.trunc(place / 1_024), 0)
        return { low, high: Math.min(Math.trunc((place + 1_023) / 1_024), a - 1), over: place - 1_024 * low }
      }
      const expected = places(to).map(([n = 0, row = 0, column = 0, channel = 0]) => {
        const [y, z] = [around(row, height, rows), around(column, width, columns)]
        const pixel = (i: number, j: number) => x[at(from, [n, i, j, channel])]!
        const sum =
          pixel(y.low, z.low) * (1_024 - y.over) * (1_024 - z.over) +
          pixel(y.high, z.low) * y.over * (1_024 - z.over) +
          pixel(y.low, z.high) * (1_024 - y.over) * z.over +
          pixel(y.high, z.high) * y.over * z.over
        return Math.trunc((sum + (sum > 0 ? 2 ** 19 : -(2 ** 19))) / 2 ** 20) + 0
      })
      expect(ran(23, [bytes(from), ints(rows, columns)], [bytes(to)], [x], options)).toEqual(expected)
      const real = floats(sizeOf(from))
      const got = ran(23, [float(...from), ints(rows, columns)], [float(...to)], [real], options)
      const placeOf = (index: number, a: number, b: number) => {
        const scale = f(corners && b > 1 ? (a - 1) / (b - 1) : a / b)
        return centres ? f(f(f(index + 0.5) * scale) - 0.5) : f(index * scale)
      }
      for (const [index, [n = 0, row = 0, column = 0, channel = 0]] of places(to).entries()) {
        const [y, z] = [placeOf(row, height, rows), placeOf(column, width, columns)]
        const pixel = (i: number, j: number) =>
          real[at(from, [n, Math.min(Math.max(i, 0), height - 1), Math.min(Math.max(j, 0), width - 1), channel])]!
        const [i, j] = [Math.floor(y), Math.floor(z)]
        // Between two rows, each between two columns: in another order than the reference's.
        const line = (k: number) => pixel(k, j) + (pixel(k, j + 1) - pixel(k, j)) * (z - j)
        expect(Math.abs(got[index]! - (line(i) + (line(i + 1) - line(i)) * (y - i)))).toBeLessThan(1e-5)
      }
    }
  })

  it('sizes that are computed are those of the output', () => {
    const graph = loadedGraph(operatorGraph(97, [bytes([1, 2, 2, 1]), given(2)], [bytes([1, 4, 4, 1])]))
    expect(
      runGraph(graph, [
        [1, 2, 3, 4],
        [9, 9],
      ])[0],
    ).toEqual([1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4])
  })

  it('DEPTH_TO_SPACE and SPACE_TO_DEPTH', () => {
    const [deep, wide] = [
      [2, 2, 3, 8],
      [2, 4, 6, 2],
    ]
    const x = integers(sizeOf(deep))
    const spread = places(wide).map(([n = 0, row = 0, column = 0, channel = 0]) => {
      const depth = ((row % 2) * 2 + (column % 2)) * 2 + channel
      return x[at(deep, [n, row >> 1, column >> 1, depth])]!
    })
    expect(ran(5, [bytes(deep)], [bytes(wide)], [x], [int32(2)])).toEqual(spread)
    expect(ran(26, [bytes(wide)], [bytes(deep)], [spread], [int32(2)])).toEqual(x)
    expect(refusal(26, [bytes([1, 3, 4, 1])], [bytes([1, 1, 2, 4])], [int32(2)])).toMatch(
      /^tiny-malformed: node 0, SPACE_TO_DEPTH: 3 × 4/,
    )
  })

  it('SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, of images and of sequences', () => {
    for (const [shape, blocks, margins] of [
      [
        [2, 3, 5, 2],
        [2, 3],
        [1, 0, 0, 1],
      ],
      [
        [1, 4, 4, 1],
        [2, 2],
        [0, 0, 2, 2],
      ],
      [[1, 7, 3], [3], [0, 2]],
      // A margin wider than a block: some places have nothing of the image.
      [[1, 2, 1], [4], [5, 1]],
    ] as const) {
      const flat = shape.length === 3
      const [n, height, width, channels] = flat ? [shape[0], shape[1], 1, shape[2]] : (shape as unknown as number[])
      const [by = 1, bx = 1] = blocks as readonly number[]
      const [top = 0, bottom = 0, left = 0, right = 0] = margins as readonly number[]
      const narrow = [n! * by * bx, (height! + top + bottom) / by, (width! + left + right) / bx, channels!]
      const made = flat ? [narrow[0]!, narrow[1]!, channels!] : narrow
      const x = integers(sizeOf(shape))
      const expected = places(narrow).map(([batch = 0, row = 0, column = 0, channel = 0]) => {
        const block = Math.floor(batch / n!)
        const [y, z] = [row * by + Math.floor(block / bx) - top, column * bx + (block % bx) - left]
        const inside = y >= 0 && y < height! && z >= 0 && z < width!
        return inside ? x[at([n!, height!, width!, channels!], [batch % n!, y, z, channel])]! : -3
      })
      const numbers = (values: readonly number[], dims: readonly number[]) => ({ ...ints(...values), shape: dims })
      const [block, margin] = [ints(...blocks), numbers(margins, [blocks.length, 2])]
      expect(ran(38, [bytes(shape, 0.1, -3), block, margin], [bytes(made, 0.1, -3)], [x])).toEqual(expected)
      expect(ran(37, [bytes(made, 0.1, -3), block, margin], [bytes(shape, 0.1, -3)], [expected])).toEqual(x)
    }
    expect(
      refusal(38, [bytes([1, 4, 4, 1]), given(2), { ...ints(0, 0, 0, 0), shape: [2, 2] }], [bytes([4, 2, 2, 1])]),
    ).toMatch(/^tiny-unsupported-operator: node 0, SPACE_TO_BATCH_ND: "t1" is computed/)
  })

  it('L2_POOL_2D', () => {
    const x = floats(2 * 4 * 3 * 2)
    const got = ran(
      12,
      [float(2, 4, 3, 2)],
      [float(2, 2, 3, 2)],
      [x],
      [int8(0), int32(1), int32(2), int32(2), int32(3), int8(0)],
    )
    const expected = places([2, 2, 3, 2]).map(([n = 0, row = 0, column = 0, channel = 0]) => {
      // Three rows by two columns, rows two by two; the half that is over goes behind.
      let [sum, count] = [0, 0]
      for (let i = 2 * row; i < 2 * row + 3; i++) {
        for (let j = column; j < column + 2; j++) {
          if (i >= 4 || j >= 3) continue
          const value = x[at([2, 4, 3, 2], [n, i, j, channel])]!
          ;[sum, count] = [f(sum + f(value * value)), count + 1]
        }
      }
      return f(Math.sqrt(f(sum / count)))
    })
    expect(got).toEqual(expected)
  })
})

describe('the least, and elements that are moved', () => {
  it('ARG_MIN and REDUCE_MIN', () => {
    const x = integers(24)
    const rows = (axis: readonly number[]) =>
      places([2, 4]).map(([i = 0, k = 0]) => axis.map((j) => x[at([2, 3, 4], [i, j, k])]!))
    const least = rows([0, 1, 2]).map((row) => Math.min(...row))
    expect(ran(89, [bytes([2, 3, 4]), ints(1)], [bytes([2, 4])], [x])).toEqual(least)
    expect(ran(89, [float(2, 3, 4), ints(1)], [float(2, 4)], [x])).toEqual(least)
    expect(ran(79, [bytes([2, 3, 4]), ints(1)], [{ type: 'int32', shape: [2, 4] }], [x])).toEqual(
      rows([0, 1, 2]).map((row) => row.indexOf(Math.min(...row))),
    )
  })

  it('CAST between all types', () => {
    const from = [-200.7, -1.5, -0.4, 0, 0.9, 1, 127.9, 300]
    const whole = from.map(Math.trunc)
    expect(ran(53, [float(8)], [{ type: 'int32', shape: [8] }], [from])).toEqual(whole.map((x) => x + 0))
    expect(ran(53, [float(8)], [{ type: 'int64', shape: [8] }], [from])).toEqual(whole.map((x) => x + 0))
    expect(ran(53, [float(8)], [bools(8)], [from])).toEqual([1, 1, 1, 0, 1, 1, 1, 1])
    expect(ran(53, [{ type: 'int32', shape: [3] }], [bytes([3])], [[300, -129, 5]])).toEqual([44, 127, 5])
    expect(ran(53, [bytes([3])], [float(3)], [[-128, 5, 127]])).toEqual([-128, 5, 127])
    expect(ran(53, [{ type: 'uint8', shape: [2] }], [{ type: 'int16', shape: [2] }], [[255, 3]])).toEqual([255, 3])
    expect(ran(53, [{ type: 'int16', shape: [2] }], [{ type: 'uint8', shape: [2] }], [[-1, 258]])).toEqual([255, 2])
    expect(ran(53, [{ type: 'int64', shape: [2] }], [float(2)], [[2 ** 40, -7]])).toEqual([2 ** 40, -7])
  })

  it('SHAPE, FILL, ZEROS_LIKE, BROADCAST_TO and REVERSE_V2', () => {
    expect(ran(77, [float(2, 3, 4)], [{ type: 'int32', shape: [3] }], [floats(24)])).toEqual([2, 3, 4])
    expect(ran(77, [float(2, 3)], [{ type: 'int64', shape: [2] }], [floats(6)])).toEqual([2, 3])
    expect(ran(94, [given(2), float(1)], [float(2, 3)], [[2, 3], [1.25]])).toEqual(Array(6).fill(1.25))
    expect(ran(93, [bytes([4], 1, 7)], [bytes([4], 1, 7)], [[1, 2, 3, 4]])).toEqual([0, 0, 0, 0])
    expect(
      ran(
        130,
        [float(3, 1), given(3)],
        [float(2, 3, 2)],
        [
          [1, 2, 3],
          [2, 3, 2],
        ],
      ),
    ).toEqual([1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3])
    const x = floats(12)
    expect(ran(105, [float(2, 3, 2), ints(1, -1)], [float(2, 3, 2)], [x])).toEqual(
      places([2, 3, 2]).map(([i = 0, j = 0, k = 0]) => x[at([2, 3, 2], [i, 2 - j, 1 - k])]!),
    )
    expect(refusal(130, [float(3), ints(4)], [float(4)])).toMatch(/^tiny-malformed.*does not repeat/)
  })
})
