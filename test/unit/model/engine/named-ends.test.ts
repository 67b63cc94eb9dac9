import { describe, expect, it } from 'vitest'
import type { GraphEnds } from '../../../../contract/manifest-v2.ts'
import type { Engine, EngineSession } from '../../../../model/engine/engine.ts'
import { EngineOrtNode } from '../../../../model/engine/engine-ort-node.ts'
import { EngineTiny } from '../../../../model/engine-tiny/engine-tiny.ts'
import { addingTflite, melLike, sileroLike, sileroOldLike, sileroOutputs } from '../../../fixtures/pipeline-graphs.ts'

const SILERO: GraphEnds = {
  input: { name: 'input', dims: [1, 576] },
  output: 'output',
  states: [{ input: 'state', output: 'stateN', dims: [2, 1, 128] }],
  constants: [{ input: 'sr', dims: [], values: [16_000] }],
}
const OLD: GraphEnds = {
  input: { name: 'input', dims: [1, 512] },
  output: 'output',
  states: [
    { input: 'h', output: 'hn', dims: [2, 1, 64] },
    { input: 'c', output: 'cn', dims: [2, 1, 64] },
  ],
  constants: [{ input: 'sr', dims: [], values: [16_000] }],
}
const ADDING: GraphEnds = {
  input: { name: 'x', dims: null },
  output: 'y',
  states: [{ input: 's', output: 'next', dims: [1, 4] }],
  constants: [],
}
const load = async (engine: Engine, graph: Uint8Array, ends: GraphEnds): Promise<EngineSession> => {
  const session = await engine.load(graph, { ends })
  if (!session.ok) throw new Error(session.error.detail)
  return session.value
}
const refusal = async (engine: Engine, graph: Uint8Array, ends: GraphEnds): Promise<string> => {
  const session = await engine.load(graph, { ends })
  return session.ok ? 'ok' : session.error.detail
}
const values = async (session: EngineSession, window: Float32Array): Promise<number[]> => {
  const result = await session.run(window)
  if (!result.ok) throw new Error(result.error.detail)
  return [...result.value]
}
const windows = [0.1, 0.2, 0.05].map((level) => new Float32Array(576).fill(level))

describe('ends by name under ONNX Runtime', () => {
  it('feeds a state back from window to window, with a 64-bit constant beside it, and begins anew on reset', async () => {
    const session = await load(new EngineOrtNode(), sileroLike(), SILERO)
    const expected = sileroOutputs(windows)
    for (const round of [0, 1]) {
      for (const [i, window] of windows.entries())
        expect((await values(session, window))[0], `round ${round}, window ${i}`).toBeCloseTo(expected[i]!, 5)
      session.reset?.()
    }
    const slow = await load(new EngineOrtNode(), sileroLike(), {
      ...SILERO,
      constants: [{ input: 'sr', dims: [], values: [8_000] }],
    })
    expect((await values(slow, windows[0]!))[0]).toBeCloseTo(sileroOutputs(windows, 8_000)[0]!, 5)
  })

  it('runs that overlap take the state in the order in which they were asked for, a reset between them too', async () => {
    const session = await load(new EngineOrtNode(), sileroLike(), SILERO)
    const first = windows.map((window) => session.run(window))
    session.reset?.()
    const again = session.run(windows[0]!)
    const given = (await Promise.all([...first, again])).map((result) => (result.ok ? result.value[0]! : Number.NaN))
    const expected = sileroOutputs(windows)
    for (const [i, value] of [...expected, expected[0]!].entries()) expect(given[i], `run ${i}`).toBeCloseTo(value, 5)
  })

  it('has two states, as older networks do', async () => {
    const session = await load(new EngineOrtNode(), sileroOldLike(), OLD)
    // h counts windows, c sums their means: 1 + 0.5, 2 + 1.
    const window = new Float32Array(512).fill(0.5)
    expect(await values(session, window)).toEqual([1.5])
    expect(await values(session, window)).toEqual([3])
  })

  it('finds the shape of a result that the file leaves open', async () => {
    const ends: GraphEnds = { input: { name: 'input', dims: [1, 1_760] }, output: 'output', states: [], constants: [] }
    const session = await load(new EngineOrtNode(), melLike(), ends)
    expect(session.output.dims).toEqual([1, 1, 8, 32])
    expect(session.reset).toBeUndefined()
    const bands = await values(session, new Float32Array(1_760).fill(32))
    expect([bands[0], bands[31]]).toEqual([1, 32])
  })

  it('a state that is no number any more fails the run and begins anew', async () => {
    const session = await load(new EngineOrtNode(), sileroLike(), SILERO)
    const broken = await session.run(new Float32Array(576).fill(1e30))
    expect(broken).toMatchObject({
      ok: false,
      error: { code: 'engine-run-failed', detail: expect.stringContaining('stateN') },
    })
    expect((await values(session, windows[0]!))[0]).toBeCloseTo(sileroOutputs(windows)[0]!, 5)
  })

  it.each<[RegExp, Partial<GraphEnds>]>([
    [/no input "in" left; its inputs are "input", "state", "sr"/, { input: { name: 'in', dims: null } }],
    [/no output "out"; its outputs are "output", "stateN"/, { output: 'out' }],
    [
      /"state" is \[2, \?, 128\], not \[2, 1, 64\]/,
      { states: [{ input: 'state', output: 'stateN', dims: [2, 1, 64] }] },
    ],
    [/nothing goes into the graph's input "state"/, { states: [] }],
    [/constant "sr" has 2 values for \[\]/, { constants: [{ input: 'sr', dims: [], values: [1, 2] }] }],
    [
      /constant "sr" is int64, which none of its values 0.5 can be/,
      { constants: [{ input: 'sr', dims: [], values: [0.5] }] },
    ],
    [/input "input" is \[\?, \?\]: what is open needs a number/, { input: { name: 'input', dims: null } }],
  ])('says which end does not fit, what it has and what it should have: %s', async (why, change) => {
    expect(await refusal(new EngineOrtNode(), sileroLike(), { ...SILERO, ...change })).toMatch(why)
  })
})

describe('ends by name in the engine tiny', () => {
  it('feeds a state back and begins anew on reset', async () => {
    const session = await load(new EngineTiny(), addingTflite(), ADDING)
    expect(await values(session, Float32Array.of(1, 2, 3, -4))).toEqual([1, 2, 3, -4])
    expect(await values(session, Float32Array.of(1, 2, 3, -4))).toEqual([2, 4, 6, -8])
    session.reset?.()
    expect(await values(session, Float32Array.of(5, 0, 0, 0))).toEqual([5, 0, 0, 0])
  })

  it('refuses what does not fit, and a graph of several ends that nobody names', async () => {
    expect(await refusal(new EngineTiny(), addingTflite(), { ...ADDING, output: 'z' })).toMatch(/no output "z"/)
    const bare = await new EngineTiny().load(addingTflite())
    expect(bare.ok ? 'ok' : bare.error.detail).toMatch(/2 inputs and 2 outputs/)
  })
})
