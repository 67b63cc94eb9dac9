import { describe, expect, it } from 'vitest'
import { loadTiny, type TinyGraph, type TinyOptions } from '../../../../model/engine-tiny/graph.ts'
import { operatorKinds, operatorVectors } from '../../../fixtures/int8-operators.ts'

/** Kinds that the engine does not have yet. */
const MISSING = new Set<string>([
  ...['add', 'arg_max', 'average_pool_2d', 'concatenation', 'conv_2d', 'depthwise_conv_2d', 'dequantize', 'gather'],
  ...['hard_swish', 'l2_normalization', 'leaky_relu', 'logistic', 'max_pool_2d', 'maximum', 'mean', 'minimum', 'mul'],
  ...['pack', 'pad', 'prelu', 'quantize_float', 'quantize_int8', 'quantize_uint8_output', 'reduce_max', 'relu'],
  ...['relu6', 'reshape', 'resize_nearest_neighbor', 'slice', 'softmax', 'split', 'split_v', 'strided_slice', 'sub'],
  ...['sum', 'svdf', 'tanh', 'transpose', 'transpose_conv', 'unpack'],
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
      for (const guarded of [false, true]) {
        const tiny = load(graph, { guarded })
        expect(tiny.memory.arenaBytes, name).toBeLessThanOrEqual(nonPersistent)
        for (const [run, { in: inputs, out }] of runs.entries()) {
          for (const [at, input] of inputs.entries()) tiny.inputBytes(at).set(input)
          tiny.run()
          const outputs = tiny.outputs.map((_, at) => hex(tiny.outputBytes(at)))
          expect(outputs, `${name}, run ${run}, ${guarded ? 'guarded' : 'plain'}`).toEqual(out.map(hex))
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
