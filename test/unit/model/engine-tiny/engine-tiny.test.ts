import { describe, expect, it } from 'vitest'
import { EngineTiny } from '../../../../model/engine-tiny/engine-tiny.ts'
import { engineSuite, type SuiteGraphs } from '../../../contract/engine.suite.ts'
import { int8, int32, table } from '../../../fixtures/flatbuffer-builder.ts'
import { operatorVectors } from '../../../fixtures/int8-operators.ts'
import { TFLITE_OPS, TfliteBuilder } from '../../../fixtures/tflite-builder.ts'

const bytes = (...values: number[]): Uint8Array => new Uint8Array(Int8Array.from(values).buffer)
const words = (...values: number[]): Uint8Array => new Uint8Array(Int32Array.from(values).buffer)
const scale = (value: number, zeroPoint = 0) => ({ scales: [value], zeroPoints: [zeroPoint] })
const QUANTIZE = 114

const graphs: SuiteGraphs = {
  gemm() {
    const builder = new TfliteBuilder()
    const main = builder.subgraph()
    const x = main.tensor({ name: 'x', type: 'float32', shape: [1, 3] })
    const stored = main.tensor({ name: 'x8', type: 'int8', shape: [1, 3], quantization: scale(0.5) })
    // A row of weights for each output.
    const weights = main.tensor({
      ...{ name: 'w', type: 'int8', shape: [2, 3], data: bytes(1, 3, 5, 2, 4, 6), quantization: scale(1) },
    })
    const bias = main.tensor({ name: 'b', type: 'int32', shape: [2], data: words(1, -1), quantization: scale(0.5) })
    const made = main.tensor({ name: 'y8', type: 'int8', shape: [1, 2], quantization: scale(0.5, -127) })
    const y = main.tensor({ name: 'y', type: 'float32', shape: [1, 2] })
    main.op(QUANTIZE, [x], [stored]).op(TFLITE_OPS.FULLY_CONNECTED, [stored, weights, bias], [made], table())
    main.op(TFLITE_OPS.DEQUANTIZE, [made], [y]).ends([x], [y])
    return builder.model()
  },
  conv() {
    const builder = new TfliteBuilder()
    const main = builder.subgraph()
    const x = main.tensor({ name: 'x', type: 'int8', shape: [1, 3, 3, 1], quantization: scale(0.1, 1) })
    const weights = main.tensor({
      ...{ name: 'w', type: 'int8', shape: [1, 2, 2, 1], data: bytes(1, -2, 3, -4), quantization: scale(0.5) },
    })
    const bias = main.tensor({ name: 'b', type: 'int32', shape: [1], data: words(6), quantization: scale(0.05) })
    const y = main.tensor({ name: 'y', type: 'int8', shape: [1, 2, 2, 1], quantization: scale(0.25, 5) })
    main.op(TFLITE_OPS.CONV_2D, [x, weights, bias], [y], table(int8(1), int32(1), int32(1), int8(0))).ends([x], [y])
    return builder.model()
  },
  unknownOperator() {
    const builder = new TfliteBuilder()
    const main = builder.subgraph()
    const [x, y] = ['x', 'y'].map((name) => main.tensor({ name, type: 'float32', shape: [1, 3] }))
    main.op(TFLITE_OPS.CUSTOM, [x!], [y!]).ends([x!], [y!])
    return builder.model()
  },
  twoInputs() {
    const builder = new TfliteBuilder()
    const main = builder.subgraph()
    const [a, b, y] = ['a', 'b', 'y'].map((name) =>
      main.tensor({ name, type: 'int8', shape: [3], quantization: scale(1) }),
    )
    main.op(TFLITE_OPS.ADD, [a!, b!], [y!], table()).ends([a!, b!], [y!])
    return builder.model()
  },
  unscaledOutput() {
    const builder = new TfliteBuilder()
    const main = builder.subgraph()
    const x = main.tensor({ name: 'x', type: 'int8', shape: [3] })
    const y = main.tensor({ name: 'y', type: 'int8', shape: [1, 3] })
    main.op(TFLITE_OPS.RESHAPE, [x], [y]).ends([x], [y])
    return builder.model()
  },
}

describe('tiny', () => {
  engineSuite(() => new EngineTiny(), graphs)

  it('keeps the state of a graph from window to window, saves, restores and clears it', async () => {
    const [svdf] = operatorVectors('svdf')
    const loaded = await new EngineTiny().load(svdf!.graph)
    if (!loaded.ok) throw new Error(loaded.error.detail)
    const session = loaded.value
    expect(session.memory.stateBytes).toBeGreaterThan(0)
    const run = async (at: number): Promise<number[]> => {
      const result = await session.run(new Int8Array(Uint8Array.from(svdf!.runs[at]!.in[0]!).buffer))
      return result.ok ? [...result.value] : [Number.NaN]
    }
    const first = await run(0)
    const saved = session.saveState()
    const second = await run(1)
    expect(await run(1)).not.toEqual(second)
    session.restoreState(saved)
    expect(await run(1)).toEqual(second)
    session.resetState()
    expect(await run(0)).toEqual(first)
    expect(() => session.restoreState(saved.subarray(1))).toThrow(/state of \d+ bytes, the graph has \d+/)
    await session.dispose()
    expect(() => session.saveState()).toThrow('disposed')
  })

  it('says what does not fit into the arena it is given, and by how much', async () => {
    const [conv] = operatorVectors('conv_2d')
    const loaded = await new EngineTiny({ arenaBytesMax: 100 }).load(conv!.graph)
    expect(loaded).toMatchObject({
      ok: false,
      error: {
        detail: expect.stringMatching(/^tiny-too-large: the arena needs (\d+) bytes, \d+ more than the 100 there are$/),
      },
    })
  })
})
