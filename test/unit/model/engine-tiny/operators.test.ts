import { describe, expect, it } from 'vitest'
import { loadTiny, type TinyGraph, type TinyOptions } from '../../../../model/engine-tiny/graph.ts'
import { operatorKinds, operatorVectors } from '../../../fixtures/int8-operators.ts'

/** Kinds that the engine does not have yet. */
const MISSING = new Set<string>([
  ...['arg_max', 'gather', 'hard_swish', 'l2_normalization', 'leaky_relu', 'pack', 'prelu', 'reduce_max'],
  ...['resize_nearest_neighbor', 'slice', 'sum', 'svdf', 'tanh', 'transpose', 'transpose_conv', 'unpack'],
])

const load = (graph: Uint8Array, options?: TinyOptions): TinyGraph => {
  const loaded = loadTiny(graph, options)
  if (!loaded.ok) throw new Error(`${loaded.error.code}: ${loaded.error.detail}`)
  return loaded.value
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('operators, byte for byte as the reference kernels', () => {
  it.each(operatorKinds().filter((kind) => !MISSING.has(kind)))('%s', (kind) => {
    const graphs = operatorVectors(kind)
    expect(graphs.length).toBeGreaterThan(0)
    for (const { name, graph, nonPersistent, runs } of graphs) {
      for (const guard of [undefined, 0xa5]) {
        const tiny = load(graph, guard === undefined ? {} : { guard })
        expect(tiny.memory.arenaBytes, name).toBeLessThanOrEqual(nonPersistent)
        for (const [run, { in: inputs, out }] of runs.entries()) {
          for (const [at, input] of inputs.entries()) tiny.inputBytes(at).set(input)
          tiny.run()
          const outputs = tiny.outputs.map((_, at) => hex(tiny.outputBytes(at)))
          expect(outputs, `${name}, run ${run}, ${guard === undefined ? 'plain' : 'guarded'}`).toEqual(out.map(hex))
        }
      }
    }
  })

  it('names node, operator and way out where one is missing', () => {
    for (const kind of MISSING) {
      const [first] = operatorVectors(kind)
      const loaded = loadTiny(first?.graph ?? new Uint8Array(0))
      expect(loaded, kind).toMatchObject({ ok: false, error: { code: 'tiny-unsupported-operator' } })
    }
  })
})
