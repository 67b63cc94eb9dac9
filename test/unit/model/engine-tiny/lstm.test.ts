import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../../contract/random.ts'
import { loadTiny } from '../../../../model/engine-tiny/graph.ts'
import { logistic16, rescaled, tanh16, within } from '../../../fixtures/fixed-point-oracle.ts'
import { int8, uint32 } from '../../../fixtures/flatbuffer-builder.ts'
import { loadedGraph, type OperatorTensor, operatorGraph, runGraph } from '../../../fixtures/tflite-operator.ts'

const LSTM = 44
const TANH = 4
const float32 = (value: number) => uint32(new Uint32Array(Float32Array.of(value).buffer)[0]!)

interface Network {
  readonly batches: number
  readonly steps: number
  readonly inputs: number
  readonly units: number
  readonly timeMajor: boolean
  readonly cellScale: number
  readonly clip: number
  readonly scales: { readonly input: number; readonly hidden: number; readonly weights: readonly number[] }
  readonly zero: { readonly input: number; readonly hidden: number }
  /** Eight matrices: of the input to the four gates, of the hidden state to them. */
  readonly weights: readonly (readonly number[])[]
  readonly biases: readonly (readonly number[])[]
}

function network(seed: number, changes: Partial<Network> = {}): Network {
  const random = seededRandom(seed)
  const integers = (count: number, most: number) =>
    Array.from({ length: count }, () => Math.floor((2 * random.next() - 1) * most))
  const [inputs, units] = [1 + Math.floor(random.next() * 9), 1 + Math.floor(random.next() * 7)]
  return {
    ...{ batches: 1 + (seed % 3), steps: 1 + (seed % 5), inputs, units, timeMajor: seed % 2 === 0 },
    ...{ cellScale: 2 ** -(8 + (seed % 8)), clip: 0, zero: { input: -7, hidden: 3 } },
    scales: { input: 0.03, hidden: 1 / 128, weights: integers(8, 90).map((x) => 0.01 + Math.abs(x) / 5_000) },
    weights: Array.from({ length: 8 }, (_, at) => integers(units * (at < 4 ? inputs : units), 127)),
    biases: Array.from({ length: 4 }, () => integers(units, 3_000)),
    ...changes,
  }
}

function graphOf(net: Network, more: { readonly at: number; readonly tensor: OperatorTensor } | null = null) {
  const { batches, steps, inputs, units, timeMajor } = net
  const side = (size: number) => (timeMajor ? [steps, batches, size] : [batches, steps, size])
  const quantized = (scale: number, zeroPoint = 0) => ({ scales: [scale], zeroPoints: [zeroPoint] })
  const ports: (OperatorTensor | null)[] = Array.from({ length: 24 }, () => null)
  ports[0] = { type: 'int8', shape: side(inputs), quantization: quantized(net.scales.input, net.zero.input) }
  for (const [at, elements] of net.weights.entries()) {
    const shape = [units, at < 4 ? inputs : units]
    ports[1 + at] = { type: 'int8', shape, elements, quantization: quantized(net.scales.weights[at]!) }
  }
  for (const [gate, elements] of net.biases.entries()) ports[12 + gate] = { type: 'int32', shape: [units], elements }
  const state = { shape: [batches, units], variable: true }
  ports[18] = { ...state, type: 'int8', quantization: quantized(net.scales.hidden, net.zero.hidden) }
  ports[19] = { ...state, type: 'int16', quantization: quantized(net.cellScale) }
  if (more !== null) ports[more.at] = more.tensor
  const output: OperatorTensor = {
    ...{ type: 'int8', shape: side(units), quantization: quantized(net.scales.hidden, net.zero.hidden) },
  }
  return operatorGraph(LSTM, ports, [output], [int8(TANH), float32(net.clip), null, int8(timeMajor ? 1 : 0)])
}

/** The published arithmetic, number by number. */
class Oracle {
  readonly #net: Network
  #hidden: number[]
  #cells: number[]

  constructor(net: Network) {
    this.#net = net
    this.#hidden = Array.from({ length: net.batches * net.units }, () => net.zero.hidden)
    this.#cells = this.#hidden.map(() => 0)
  }

  run(sequence: readonly number[]): number[] {
    const { batches, steps, inputs, units, timeMajor } = this.#net
    const out = Array.from({ length: batches * steps * units }, () => 0)
    for (let batch = 0; batch < batches; batch++) {
      for (let step = 0; step < steps; step++) {
        const at = timeMajor ? step * batches + batch : batch * steps + step
        const made = this.#step(batch, sequence.slice(at * inputs, (at + 1) * inputs))
        out.splice(at * units, units, ...made)
      }
    }
    return out
  }

  #step(batch: number, x: readonly number[]): number[] {
    const { units, cellScale, clip, scales, zero } = this.#net
    const before = this.#hidden.slice(batch * units, (batch + 1) * units)
    const gates = [0, 1, 2, 3].map((gate) =>
      Array.from({ length: units }, (_, unit) => {
        const fromInput = this.#row(gate, unit, x, zero.input, scales.input, this.#net.biases[gate]![unit]!)
        const fromHidden = this.#row(4 + gate, unit, before, zero.hidden, scales.hidden, 0)
        return within(fromInput + fromHidden, -32_768, 32_767)
      }),
    )
    const power = Math.log2(cellScale)
    const made = before.map((_, unit) => {
      const [enter, forget, leave] = [0, 1, 3].map((gate) => logistic16(gates[gate]![unit]!)) as [
        number,
        number,
        number,
      ]
      const at = batch * units + unit
      const kept = within(rescaled(forget * this.#cells[at]!, 2 ** -15), -32_768, 32_767)
      const added = within(rescaled(enter * tanh16(gates[2]![unit]!), 2 ** -30 / cellScale), -32_768, 32_767)
      let cell = within(kept + added, -32_768, 32_767)
      const most = Math.trunc(Math.min(clip / cellScale, 32_767))
      if (clip > 0) cell = within(cell, -most, most)
      this.#cells[at] = cell
      const seen = power + 12 < 0 ? tanh16(cell, 3, -(power + 12)) : tanh16(cell, 0, power + 12)
      return within(rescaled(seen * leave, 2 ** -30 / scales.hidden) + zero.hidden, -128, 127)
    })
    this.#hidden.splice(batch * units, units, ...made)
    return made
  }

  #row(at: number, unit: number, from: readonly number[], zero: number, scale: number, bias: number): number {
    const row = this.#net.weights[at]!
    const sum = from.reduce((so, value, index) => so + (value - zero) * row[unit * from.length + index]!, bias)
    const product = Math.fround(Math.fround(scale) * Math.fround(this.#net.scales.weights[at]!))
    return within(rescaled(sum, product / 2 ** -12), -32_768, 32_767)
  }
}

const sequences = (net: Network, count: number, seed: number) => {
  const random = seededRandom(seed)
  return Array.from({ length: count }, () =>
    Array.from({ length: net.batches * net.steps * net.inputs }, () => Math.floor(random.next() * 256) - 128),
  )
}

describe('LSTM of int8', () => {
  it.each(Array.from({ length: 16 }, (_, seed) => seed))(
    'of seed %i gives the published arithmetic, and goes on from run to run',
    (seed) => {
      const net = network(seed, seed % 4 === 3 ? { clip: 0.5 } : {})
      const [graph, oracle] = [loadedGraph(graphOf(net)), new Oracle(net)]
      for (const sequence of sequences(net, 4, seed)) {
        expect(runGraph(graph, [sequence])[0]).toEqual(oracle.run(sequence))
      }
    },
  )

  it('keeps both states as a region that is saved, restored and cleared', () => {
    const net = network(5)
    const graph = loadedGraph(graphOf(net))
    const [first, second] = sequences(net, 2, 9) as [number[], number[]]
    const start = runGraph(graph, [first])[0]
    const kept = graph.saveState()
    const next = runGraph(graph, [second])[0]
    expect(next).not.toEqual(start)
    runGraph(graph, [first])
    graph.restoreState(kept)
    expect(runGraph(graph, [second])[0]).toEqual(next)
    graph.resetState()
    expect(runGraph(graph, [first])[0]).toEqual(start)
    expect(graph.memory.stateBytes).toBeGreaterThanOrEqual(3 * net.batches * net.units)
  })

  it.each<[string, Network, Parameters<typeof graphOf>[1], RegExp]>([
    [
      'peepholes',
      network(2),
      { at: 10, tensor: { type: 'int16', shape: [1], elements: [1] } },
      /^tiny-unsupported-operator: node 0, UNIDIRECTIONAL_SEQUENCE_LSTM: peepholes/,
    ],
    [
      'a cell scale that is no power of two',
      network(2, { cellScale: 0.003 }),
      null,
      /^tiny-unsupported-type.*cells of scale/,
    ],
    [
      'a state of another size',
      network(2),
      {
        at: 19,
        tensor: { type: 'int16', shape: [1], variable: true, quantization: { scales: [2 ** -11], zeroPoints: [0] } },
      },
      /^tiny-malformed/,
    ],
    [
      'a state that is no variable',
      network(2),
      { at: 18, tensor: { type: 'int8', shape: [1], elements: [0], quantization: { scales: [1], zeroPoints: [0] } } },
      /^tiny-malformed.*no variable/,
    ],
  ])('refuses %s', (_, net, more, message) => {
    const loaded = loadTiny(graphOf(net, more))
    expect(loaded.ok ? 'loaded' : `${loaded.error.code}: ${loaded.error.detail}`).toMatch(message)
  })
})
