import { expect, it } from 'vitest'
import type { Engine } from '../../../model/engine/engine.ts'
import { engineByFormat } from '../../../model/engine-by-format.ts'
import { EngineTiny } from '../../../model/engine-tiny/engine-tiny.ts'
import { operatorVectors } from '../../fixtures/int8-operators.ts'
import { keywordNetwork } from '../../fixtures/onnx-networks.ts'
import { loudnessNetwork } from '../../fixtures/wake-network.ts'

const named = (name: string): Engine & { readonly loaded: Uint8Array[] } => {
  const loaded: Uint8Array[] = []
  return {
    ...{ name, loaded },
    load: (graph) => {
      loaded.push(graph)
      return Promise.resolve({ ok: false, error: { code: 'engine-load-failed', detail: name } })
    },
  }
}

it('gives each graph to the engine of its format', async () => {
  const [tflite, onnx] = [named('lite'), named('o')]
  const engine = engineByFormat({ tflite, onnx })
  expect(engine.name).toBe('o, lite')
  const graphs = [loudnessNetwork(1), keywordNetwork({ io: 'int8' }), new Uint8Array(0)] as const
  const details = await Promise.all(
    graphs.map(async (graph) => (await engine.load(graph)) as { error: { detail: string } }),
  )
  expect(details.map(({ error }) => error.detail)).toEqual(['lite', 'o', 'o'])
})

it('a graph that remembers forgets at a reset; one that does not has none', async () => {
  const load = async (graph: Uint8Array) => {
    const session = await new EngineTiny().load(graph)
    if (!session.ok) throw new Error(session.error.detail)
    return session.value
  }
  expect((await load(loudnessNetwork(1))).reset).toBeUndefined()
  const session = await load(operatorVectors('svdf')[0]!.graph)
  const window = Float32Array.from({ length: session.input.elements }, (_, i) => 3 * Math.sin(i))
  const run = async () => {
    const result = await session.run(window)
    if (!result.ok) throw new Error(result.error.detail)
    return [...result.value]
  }
  const [first, second] = [await run(), await run()]
  expect(second).not.toEqual(first)
  session.reset?.()
  expect(await run()).toEqual(first)
  expect(await run()).toEqual(second)
})
