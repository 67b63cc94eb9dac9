import { describe, expect, it } from 'vitest'
import type { Engine, EngineIo, EngineSession } from '../../model/engine/engine.ts'
import { node, OnnxBuilder } from '../fixtures/onnx-builder.ts'
import { keywordNetwork } from '../fixtures/onnx-networks.ts'

/** The graphs that the suite runs, in the format of the engine. */
export interface SuiteGraphs {
  /** y = x W + b of three float values to two: W = [[1, 2], [3, 4], [5, 6]], b = [0.5, -0.5]; exact for whole numbers up to 9. */
  gemm(): Uint8Array
  /** int8 [3, 3] at (scale 0.1, zero 1), 2×2 kernel 1, -2, 3, -4 at 0.5, bias 6 at 0.05, to int8 [2, 2] at (scale 0.25, zero 5). */
  conv(): Uint8Array
  unknownOperator(): Uint8Array
  twoInputs(): Uint8Array
  /** An int8 output of which no scale is known. */
  unscaledOutput(): Uint8Array
  /** Pairs of a network over 490 values to 12: of other order of dimensions, and of open batch; none where a format has no such thing. */
  readonly keywords?: { readonly [pair in 'orders' | 'batches']: () => readonly [Uint8Array, Uint8Array] }
  /** Picks element x of [10, 20, 30]; none for an engine whose runs cannot fail. */
  brokenAtRun?(): Uint8Array
}

/** What every engine must do, whatever runs behind it. */
export function engineSuite(createEngine: () => Engine, graphs: SuiteGraphs = ONNX): void {
  const { gemm: gemmGraph, conv: convGraph } = graphs
  const load = async (graph: Uint8Array, io?: EngineIo): Promise<EngineSession> => {
    const session = await createEngine().load(graph, io)
    if (!session.ok) throw new Error(`${session.error.code}: ${session.error.detail}`)
    return session.value
  }
  const values = async (session: EngineSession, window: Float32Array | Int8Array): Promise<number[]> => {
    const result = await session.run(window)
    if (!result.ok) throw new Error(`${result.error.code}: ${result.error.detail}`)
    return [...result.value]
  }

  describe('results', () => {
    it('multiplies as by hand: y = x W + b', async () => {
      const session = await load(gemmGraph())
      expect(await values(session, Float32Array.of(1, 2, 3))).toEqual([
        1 + 2 * 3 + 3 * 5 + 0.5,
        2 + 2 * 4 + 3 * 6 - 0.5,
      ])
      await session.dispose()
    })

    it('gives the caller a result of its own', async () => {
      const session = await load(gemmGraph())
      const first = await session.run(Float32Array.of(1, 0, 0))
      await session.run(Float32Array.of(0, 1, 0))
      expect(first.ok && [...first.value]).toEqual([1.5, 1.5])
      await session.dispose()
    })

    it('keeps overlapping runs apart, whatever happens to the windows after the call', async () => {
      const session = await load(gemmGraph())
      const window = new Float32Array(3)
      const results = Array.from({ length: 10 }, (_, i) => {
        window.fill(i)
        return session.run(window)
      })
      const sums = (await Promise.all(results)).map((result) => result.ok && [...result.value])
      expect(sums).toEqual(Array.from({ length: 10 }, (_, i) => [9 * i + 0.5, 12 * i - 0.5]))
      await session.dispose()
    })

    it('convolves int8 in QDQ form to the hand-computed integers', async () => {
      const session = await load(convGraph())
      // Stored windows of ones and of 1..9; weights 1, -2, 3, -4 at 0.5, bias 6 at 0.05, output scale 0.25, zero point 5.
      // 1..9 at (value - 1) * 0.1: accumulators 0-2+9-16=-9, 1-4+12-20=-11, 3-8+18-28=-15, 4-10+21-32=-17;
      // real (acc + 6) * 0.05 = -0.15, -0.25, -0.45, -0.55; over 0.25 rounds to -1, -1, -2, -2.
      expect(await values(session, Int8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9))).toEqual([-0.25, -0.25, -0.5, -0.5])
      expect(await values(session, Int8Array.of(1, 1, 1, 1, 1, 1, 1, 1, 1))).toEqual([0.25, 0.25, 0.25, 0.25])
      await session.dispose()
    })

    it('quantizes a real window with the parameters of the graph, saturating', async () => {
      const session = await load(convGraph())
      expect(session.input.quantization).toEqual({ scale: Math.fround(0.1), zeroPoint: 1 })
      const real = Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9], (stored) => (stored - 1) * 0.1)
      expect(await values(session, real)).toEqual([-0.25, -0.25, -0.5, -0.5])
      const far = await values(session, new Float32Array(9).fill(1e9))
      expect(far).toEqual(await values(session, new Int8Array(9).fill(127)))
      await session.dispose()
    })

    it('lets the caller state the quantization of the ends', async () => {
      const session = await load(convGraph(), { output: { scale: 1, zeroPoint: 0 } })
      expect(await values(session, Int8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9))).toEqual([4, 4, 3, 3])
      await session.dispose()
    })

    it.skipIf(graphs.keywords === undefined)(
      'reads a flat window whatever the order of the size-1 dimensions',
      async () => {
        const window = Float32Array.from({ length: 490 }, (_, i) => Math.sin(i))
        const sessions = await Promise.all((graphs.keywords?.orders() ?? []).map((graph) => load(graph)))
        expect(sessions.map(({ input }) => input.dims)).toEqual([
          [1, 1, 49, 10],
          [1, 49, 10, 1],
        ])
        for (const session of sessions) {
          expect(await values(session, window)).toHaveLength(12)
          await session.dispose()
        }
      },
    )

    it.skipIf(graphs.keywords === undefined)('takes a symbolic batch as 1 and repeats itself to the bit', async () => {
      const window = Float32Array.from({ length: 490 }, (_, i) => Math.cos(i))
      const [open, one] = graphs.keywords?.batches() ?? []
      const [a, b] = [await load(open!), await load(one!)]
      expect(await values(a, window)).toEqual(await values(b, window))
      expect(await values(a, window)).toEqual(await values(a, window))
      await a.dispose()
      await b.dispose()
    })
  })

  describe('refusals', () => {
    const refusal = async (graph: Uint8Array): Promise<string> => {
      const session = await createEngine().load(graph)
      return session.ok ? 'loaded' : session.error.code
    }

    it('refuses bytes that are no graph', async () => {
      expect(await refusal(new Uint8Array(0))).toBe('engine-load-failed')
      expect(await refusal(Uint8Array.from({ length: 4096 }, (_, i) => (i * 131) & 0xff))).toBe('engine-load-failed')
      expect(await refusal(gemmGraph().subarray(0, 100))).toBe('engine-load-failed')
    })

    it('refuses an operator the runtime does not have', async () => {
      expect(await refusal(graphs.unknownOperator())).toBe('engine-load-failed')
    })

    it('refuses two inputs, and an int8 output whose scale nobody knows', async () => {
      expect(await refusal(graphs.twoInputs())).toBe('engine-load-failed')
      expect(await refusal(graphs.unscaledOutput())).toBe('engine-load-failed')
    })

    it('refuses a wrong element count, NaN, and bytes for a float input; the session lives on', async () => {
      const session = await load(gemmGraph())
      for (const window of [
        new Float32Array(2),
        new Float32Array(4),
        new Float32Array(0),
        Float32Array.of(1, NaN, 1),
      ]) {
        expect(await session.run(window)).toMatchObject({ ok: false, error: { code: 'engine-bad-input' } })
      }
      expect(await session.run(new Int8Array(3))).toMatchObject({ ok: false, error: { code: 'engine-bad-input' } })
      expect(await values(session, Float32Array.of(1, 0, 0))).toEqual([1.5, 1.5])
      await session.dispose()
    })

    it.skipIf(graphs.brokenAtRun === undefined)(
      'tells a failure inside a run from a bad window, with its cause',
      async () => {
        const session = await load(graphs.brokenAtRun?.() ?? new Uint8Array(0))
        const result = await session.run(Float32Array.of(7))
        expect(result).toMatchObject({ ok: false, error: { code: 'engine-run-failed', cause: expect.anything() } })
        expect(await values(session, Float32Array.of(1))).toEqual([20])
        await session.dispose()
      },
    )

    it('refuses runs after dispose, finishes those before it, and disposes twice in peace', async () => {
      const session = await load(gemmGraph())
      const running = session.run(Float32Array.of(1, 0, 0))
      await session.dispose()
      await session.dispose()
      expect(await running).toMatchObject({ ok: true })
      expect(await session.run(Float32Array.of(1, 0, 0))).toMatchObject({
        ok: false,
        error: { code: 'engine-disposed' },
      })
    })
  })
}

function gemmGraph(): Uint8Array {
  const builder = new OnnxBuilder()
  const x = builder.input('x', 'float32', [1, 3])
  const weights = builder.constant('float32', [3, 2], [1, 2, 3, 4, 5, 6])
  const bias = builder.constant('float32', [2], [0.5, -0.5])
  return builder.output(builder.op('Gemm', [x, weights, bias]), 'float32', [1, 2]).model()
}

/** int8 [1,1,3,3] at (scale 0.1, zero 1), 2×2 kernel, to int8 [1,1,2,2] at (scale 0.25, zero 5). */
function convGraph(): Uint8Array {
  const builder = new OnnxBuilder()
  const pair = (scale: number, zero: number) => [
    builder.constant('float32', [], [scale]),
    builder.constant('int8', [], [zero]),
  ]
  const x = builder.op('DequantizeLinear', [builder.input('x', 'int8', [1, 1, 3, 3]), ...pair(0.1, 1)])
  const weights = builder.op('DequantizeLinear', [
    builder.constant('int8', [1, 1, 2, 2], [1, -2, 3, -4]),
    ...pair(0.5, 0),
  ])
  const biasScale = [builder.constant('float32', [], [0.05]), builder.constant('int32', [], [0])]
  const bias = builder.op('DequantizeLinear', [builder.constant('int32', [1], [6]), ...biasScale])
  const y = builder.op('Conv', [x, weights, bias], { kernel_shape: [2, 2] })
  return builder.output(builder.op('QuantizeLinear', [y, ...pair(0.25, 5)]), 'int8', [1, 1, 2, 2]).model()
}

/** Picks element x of [10, 20, 30]: an index out of range is only seen in the run. */
function brokenAtRunGraph(): Uint8Array {
  const builder = new OnnxBuilder()
  const index = builder.op('Cast', [builder.input('x', 'float32', [1])], { to: 7 })
  builder.append(node('Gather', [builder.constant('float32', [3], [10, 20, 30]), index], ['y']))
  return builder.output('y', 'float32', [1]).model()
}

const ONNX: SuiteGraphs = {
  gemm: gemmGraph,
  conv: convGraph,
  unknownOperator() {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [1, 3])
    return builder.output(builder.op('Levitate', [x]), 'float32', [1, 3]).model()
  },
  twoInputs() {
    const builder = new OnnxBuilder()
    const sum = builder.op('Add', [builder.input('a', 'float32', [3]), builder.input('b', 'float32', [3])])
    return builder.output(sum, 'float32', [3]).model()
  },
  unscaledOutput() {
    const builder = new OnnxBuilder()
    const same = builder.op('Identity', [builder.input('a', 'int8', [3])])
    return builder.output(same, 'int8', [3]).model()
  },
  keywords: {
    orders: () => [keywordNetwork({ layout: 'nchw' }), keywordNetwork({ layout: 'nhwc', autoPad: true })],
    batches: () => [keywordNetwork({ batch: 'N' }), keywordNetwork({ batch: 1 })],
  },
  brokenAtRun: brokenAtRunGraph,
}
