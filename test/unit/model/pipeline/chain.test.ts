import { describe, expect, it } from 'vitest'
import type { PipelineLink } from '../../../../contract/manifest-v2.ts'
import { ok } from '../../../../contract/result.ts'
import type { EngineSession } from '../../../../model/engine/engine.ts'
import { createChain } from '../../../../model/pipeline/chain.ts'
import type { PlanNode } from '../../../../model/pipeline/level-plan.ts'

const io = { name: 'x', elementType: 'float32', quantization: null, dims: [1], elements: 1 } as const
/** A session that computes what it is told and keeps what it read. */
const session = (answer: (window: number[]) => number[]) => {
  const read: number[][] = []
  const made = {
    ...{ input: io, output: io, read, resets: 0 },
    run: async (window: Float32Array | Int8Array | Uint8Array) => {
      read.push([...window])
      return ok(Float32Array.from(answer([...window])))
    },
    reset: () => void made.resets++,
    dispose: async () => undefined,
  }
  return made
}
const link = (change: Partial<PipelineLink>): PipelineLink => ({
  ...{ rowValues: 1, rowsPerRun: 1, rows: 3, step: 1, divisor: 1, offset: 0, fill: null },
  ...change,
})
const node = (graph: string, at: PipelineLink | null, pipelines: number[], next: PlanNode[] = []): PlanNode => ({
  ...{ graph, link: at, pipelines, next, runsPerWindow: 1 },
})
const outputs = async (roots: PlanNode[], sessions: Record<string, EngineSession>, windows: number[][]) => {
  const chain = createChain(roots, new Map(Object.entries(sessions)))
  const all: number[][][] = []
  for (const window of windows) {
    const results = await chain.run(Float32Array.from(window))
    if (!results.ok) throw new Error(results.error.detail)
    all.push(results.value.map(({ output }) => [...output]))
  }
  return { chain, all }
}

describe('a buffer between two graphs', () => {
  it('waits until it is full, then gives its newest rows at each step, changed on the way', async () => {
    const first = session(([x]) => [10 * x!])
    const last = session((rows) => [rows.reduce((a, b) => a + b)])
    const roots = [node('a', null, [], [node('b', link({ divisor: 10, offset: 2 }), [0])])]
    const { chain, all } = await outputs(roots, { a: first, b: last }, [[1], [2], [3], [4]])
    expect(all).toEqual([[], [], [[1 + 2 + 3 + 6]], [[2 + 3 + 4 + 6]]])
    expect(last.read).toEqual([
      [3, 4, 5],
      [4, 5, 6],
    ])
    chain.reset()
    expect([first.resets, last.resets]).toEqual([1, 1])
    expect(await chain.run(Float32Array.of(7))).toEqual({ ok: true, value: [] })
  })

  it('begins full of what stands in for rows that have not come', async () => {
    const last = session((rows) => rows)
    const roots = [node('a', null, [], [node('b', link({ fill: 1 }), [0])])]
    const { all } = await outputs(roots, { a: session((x) => x), b: last }, [[5], [6]])
    expect(all).toEqual([[[1, 1, 5]], [[1, 5, 6]]])
  })

  it('runs the next graph as often as a step of rows has come, several times a window or once in several', async () => {
    const many = session((rows) => rows)
    const roots = [node('a', null, [], [node('b', link({ rowsPerRun: 4, rows: 2, step: 2 }), [0])])]
    const { all } = await outputs(roots, { a: session(([x]) => [x!, x! + 1, x! + 2, x! + 3]), b: many }, [[0], [10]])
    expect(all).toEqual([
      [
        [0, 1],
        [2, 3],
      ],
      [
        [10, 11],
        [12, 13],
      ],
    ])
    const few = session((rows) => rows)
    const slow = [node('a', null, [], [node('b', link({ rows: 2, step: 3 }), [0])])]
    const sparse = await outputs(slow, { a: session((x) => x), b: few }, [[1], [2], [3], [4], [5]])
    expect(sparse.all).toEqual([[], [[1, 2]], [], [], [[4, 5]]])
  })

  it('what two pipelines have in common runs once', async () => {
    const shared = session((x) => x)
    const roots = [node('a', null, [], [node('b', null, [0]), node('c', null, [1, 2])])]
    const sessions = { a: shared, b: session(([x]) => [x! + 1]), c: session(([x]) => [x! + 2]) }
    const { all } = await outputs(roots, sessions, [[1]])
    expect(all).toEqual([[[2], [3]]])
    expect(shared.read).toHaveLength(1)
  })
})
