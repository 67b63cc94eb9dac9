import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import { planModel } from '../../../model/plan/arena-planner.ts'

const graph = (name: string): Uint8Array => readFileSync(new URL(`../../../zoo/models/${name}.onnx`, import.meta.url))

function figures(name: string): number[] | string {
  const plan = planModel(graph(name))
  if (!plan.ok) return `${plan.error.code}: ${plan.error.detail}`
  return [plan.value.constantBytes, plan.value.macs, plan.value.lowerBoundBytes, plan.value.arenaBytes]
}

describe('the trained reference models', () => {
  it.each(['kws-1', 'kws-2', 'kws-regressed'])('%s has the published figures of its network', (name) => {
    expect(figures(name)).toEqual([24_376, 2_656_768, 16_000, 16_000])
  })

  it.each(['kws-1', 'kws-2', 'kws-regressed', 'kws-lite', 'verifier'])(
    '%s plans, loads and gives twelve probabilities',
    async (name) => {
      expect(figures(name)).toBeInstanceOf(Array)
      const session = await new EngineOrtNode().load(graph(name))
      if (!session.ok) throw new Error(session.error.detail)
      const window = Float32Array.from({ length: session.value.input.elements }, (_, i) => Math.sin(i) * 4)
      const result = await session.value.run(window)
      await session.value.dispose()
      if (!result.ok) throw new Error(result.error.detail)
      expect(result.value).toHaveLength(12)
      // int8 softmax has a step of 1/256
      expect(result.value.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 1)
    },
  )
})
