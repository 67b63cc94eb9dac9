import { describe, expect, it } from 'vitest'
import { defaultSignals, type Head } from '../../../../../contract/head.ts'
import { LIMITS } from '../../../../../contract/limits.ts'
import type { BundleManifest } from '../../../../../contract/manifest.ts'
import { reportCodec, wakeCodec } from '../../../../../contract/messages.ts'
import { heardOf, PureAgent } from '../../../../fixtures/agent.ts'
import { pipelineSample } from '../../../../fixtures/manifest.ts'

const [sample] = pipelineSample.pipelines
const anomaly: Head = {
  ...{ kind: 'anomaly', score: 'reconstruction', threshold: 4, rearm: 3, smoothingWindows: 1 },
  ...{ refractoryMs: 0, holdMs: 1_000 },
}
/** Of heads with what they count by default, on the sample's graphs. */
const manifestOf = (heads: readonly Head[]): BundleManifest => ({
  ...pipelineSample,
  v: 2,
  pipelines: heads.map((head, i) => ({ ...sample!, id: `p${i}`, head, signals: [...defaultSignals(head)] })),
  ladder: pipelineSample.ladder.map((step) => ({ ...step, runs: heads.map(() => step.runs[0]!) })),
})
const agentOf = (heads: readonly Head[]) => new PureAgent({ manifest: manifestOf(heads) })
const reportOf = (agent: PureAgent) => {
  agent.send({ type: 'report-requested' })
  const { payload } = agent.state.outbox.messages.findLast(({ kind }) => kind === 'report')!
  const report = reportCodec.decode(payload)
  if (!report.ok) throw new Error(report.error.detail)
  return { report: report.value, bytes: payload.length }
}
const wake = { atMs: 100, label: 3, posteriorPermille: 900, features: new Uint8Array(490), noiseDb: -50 }
const wakeHead = sample!.head

describe('the signals of a boot', () => {
  it('add up over stretches: windows as they were heard, events as they were admitted', () => {
    const agent = agentOf([wakeHead, anomaly])
    // Of each: events, then five bins.
    const stretch = heardOf({
      signals: [0, 40, 0, 0, 0, 10, 0, 1, 2, 3, 4, 0],
      wakes: [wake, { ...wake, atMs: 5_000, pipeline: 1, label: 0 }],
    })
    agent.send({ type: 'heard', heard: stretch })
    agent.after(10_000, { type: 'heard', heard: { ...stretch, wakes: [] } })
    expect(reportOf(agent).report.signals).toEqual([1, 80, 0, 0, 0, 20, 1, 2, 4, 6, 8, 0])
    const wakes = agent.state.outbox.messages.filter(({ kind }) => kind === 'wake')
    expect(
      wakes
        .map(({ payload }) => wakeCodec.decode(payload))
        .map((one) => one.ok && [one.value.pipeline, one.value.label]),
    ).toEqual([
      [undefined, 3],
      [1, 0],
    ])
  })

  it('are held by the longer hold of what woke', () => {
    const agent = agentOf([wakeHead, anomaly])
    agent.nowMs = 20_000
    agent.send({ type: 'heard', heard: heardOf({ wakes: [{ ...wake, pipeline: 1, label: 0 }] }) })
    expect(agent.state.measures.heldToMs).toBe(10_000 + 100 + 1_000)
  })

  it('do not count a wake that the limit drops', () => {
    const agent = agentOf([wakeHead])
    const many = Array.from({ length: 40 }, (_, i) => ({ ...wake, atMs: i * 10 }))
    agent.send({ type: 'heard', heard: heardOf({ wakes: many }) })
    const { counters, signals } = agent.state.measures
    expect(counters.wakes).toBeLessThan(40)
    expect(signals[0]).toBe(counters.wakes)
  })

  it('stay at the most that a report can say', () => {
    const agent = agentOf([wakeHead])
    const full = heardOf({ signals: [0, LIMITS.signalNumber, 0, 0, 0, 0] })
    agent.send({ type: 'heard', heard: full })
    agent.after(1, { type: 'heard', heard: full })
    expect(reportOf(agent).report.signals![1]).toBe(LIMITS.signalNumber)
  })

  it('go on over a change of level, and a bundle that declares none sends none', () => {
    const agent = agentOf([wakeHead])
    agent.send({ type: 'heard', heard: heardOf({ signals: [0, 1, 0, 0, 0, 0] }) })
    agent.state = { ...agent.state, governor: { ...agent.state.governor, level: 1 } }
    agent.after(1, { type: 'heard', heard: heardOf({ signals: [0, 1, 0, 0, 0, 0] }) })
    expect(reportOf(agent).report.signals).toEqual([0, 2, 0, 0, 0, 0])
    expect(reportOf(new PureAgent()).report.signals).toBeUndefined()
  })
})

it('a report of four pipelines has at most 400 bytes, whatever they count, and of one is within the default set for a day', () => {
  const four = agentOf([wakeHead, wakeHead, wakeHead, anomaly])
  const most = new Array<number>(24).fill(LIMITS.signalNumber)
  four.send({ type: 'heard', heard: heardOf({ signals: most }) })
  const word = 0xffff_ffff
  const counters = Object.fromEntries(Object.keys(four.state.measures.counters).map((name) => [name, word]))
  // A boot of 49 days, as test/contract/golden.test.ts has it.
  four.nowMs = word
  four.state = {
    ...four.state,
    measures: {
      ...four.state.measures,
      counters: { ...counters, installsStarted: 200, installsConfirmed: 200, ladderMoves: 0xffff } as never,
      levelMs: [word, word, word, word, word],
      posteriorBins: new Array(8).fill(word) as number[],
      noiseBins: new Array(8).fill(word) as number[],
    },
  }
  expect(reportOf(four).bytes).toBeLessThanOrEqual(400)
  const one = agentOf([wakeHead])
  one.nowMs = 86_400_000
  one.send({
    type: 'heard',
    heard: heardOf({
      signals: [50, 432_000, 20_000, 5_000, 300, 200],
      elapsedMs: 86_400_000,
      listeningMs: 86_400_000,
      windows: 432_000,
      inferences: 432_000,
    }),
  })
  expect(reportOf(one).bytes).toBeLessThanOrEqual(LIMITS.reportDefaultBytes)
})
