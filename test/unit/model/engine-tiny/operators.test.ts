import { describe, expect, it } from 'vitest'
import { loadTiny, type TinyGraph, type TinyOptions } from '../../../../model/engine-tiny/graph.ts'
import { TINY_BASE64 } from '../../../../model/engine-tiny/tiny-bytes.ts'
import { operatorKinds, operatorVectors } from '../../../fixtures/int8-operators.ts'

const load = (graph: Uint8Array, options?: TinyOptions): TinyGraph => {
  const loaded = loadTiny(graph, options)
  if (!loaded.ok) throw new Error(`${loaded.error.code}: ${loaded.error.detail}`)
  return loaded.value
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('operators, byte for byte as the reference kernels', () => {
  it.each(operatorKinds())('%s', (kind) => {
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
})

it('takes no more than 150 kB of WebAssembly, whatever operators there are', () => {
  expect(Buffer.from(TINY_BASE64, 'base64').length).toBeLessThanOrEqual(150_000)
})
