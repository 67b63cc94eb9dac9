import { describe, expect, it } from 'vitest'
import { bytesToHex, hexToBytes, sha256Hex } from '../../../../../contract/bytes.ts'
import { holdMsOf } from '../../../../../contract/head.ts'
import { LIMITS } from '../../../../../contract/limits.ts'
import { COUNTER_NAMES, EVENT_CODES, eventCodec, reportCodec, wakeCodec } from '../../../../../contract/messages.ts'
import { nextDeadlineMs } from '../../../../../device/core/agent/agent.ts'
import type { AgentEffect } from '../../../../../device/core/agent/agent-state.ts'
import { OUTBOX_MESSAGES_MAX } from '../../../../../device/core/outbox.ts'
import {
  ACTIVE_SHA,
  codes,
  heardOf,
  heardSample,
  kinds,
  ofType,
  PureAgent,
  recordSample,
} from '../../../../fixtures/agent.ts'
import { pipelineSample } from '../../../../fixtures/manifest.ts'

const HOUR = 3_600_000
const wake = { atMs: 100, label: 3, posteriorPermille: 900, features: new Uint8Array(490), noiseDb: -50 }
const value = <T>(result: { ok: true; value: T } | { ok: false; error: unknown }): T => {
  if (!result.ok) throw new Error(JSON.stringify(result.error))
  return result.value
}
const reports = (effects: readonly AgentEffect[]) =>
  ofType(effects, 'publish')
    .filter(({ kind }) => kind === 'report')
    .map(({ payload }) => {
      expect(payload.length).toBeLessThanOrEqual(LIMITS.reportDefaultBytes)
      return value(reportCodec.decode(payload))
    })
/** A report as it would be sent now, wherever in the queue it is. */
const nextReport = (agent: PureAgent) => {
  agent.send({ type: 'report-requested' })
  const message = agent.state.outbox.messages.findLast(({ kind }) => kind === 'report')
  return value(reportCodec.decode(message!.payload))
}
const counter = (report: { counters: readonly number[] }, name: (typeof COUNTER_NAMES)[number]) =>
  report.counters[COUNTER_NAMES.indexOf(name)]

describe('boot', () => {
  it('says that it booted, and sends nothing before there is a link', () => {
    const agent = new PureAgent()
    expect(codes(agent.all)).toEqual(['booted'])
    expect(kinds(agent.all)).toEqual([])
    expect(kinds(agent.send({ type: 'connected' }))).toEqual(['event'])
  })

  it('counts and names a reverted image', () => {
    const failed = hexToBytes('cd'.repeat(32))
    const agent = new PureAgent({
      outcome: 'reverted',
      record: { ...recordSample, untold: 'reverted', failedSha256: failed, failures: 1 },
    })
    expect(codes(agent.all)).toEqual(['booted', 'reverted: trial-failed'])
    expect(agent.state.measures.counters.installsFailed).toBe(1)
    const events = ofType(agent.send({ type: 'connected' }), 'publish').map(({ payload }) =>
      value(eventCodec.decode(payload)),
    )
    expect(events.map(({ code, model }) => [EVENT_CODES[code], bytesToHex(model!)])).toEqual([
      ['booted', bytesToHex(ACTIVE_SHA.slice(0, 8))],
      ['reverted', 'cd'.repeat(8)],
    ])
  })
})

describe('battery', () => {
  it('low is told once a boot, when a tenth is left', () => {
    const power = { capacityMj: 1_000_000, horizonMs: 9e15 }
    const full = new PureAgent({ batteryMj: 100_001 }, { power })
    expect(codes(full.all)).not.toContain('battery-low')
    const low = new PureAgent({ batteryMj: 100_000 }, { power })
    for (let i = 0; i < 12; i++) low.after(HOUR / 6)
    expect(codes(low.all).filter((code) => code === 'battery-low')).toHaveLength(1)
  })
})

describe('reports', () => {
  it('come once an interval and are cumulative over the boot', () => {
    const agent = new PureAgent()
    agent.send({ type: 'connected' })
    agent.send({ type: 'heard', heard: { ...heardSample, wakes: [wake] } })
    const [first] = reports(agent.after(HOUR))
    expect(reports(agent.after(HOUR / 2))).toEqual([])
    agent.send({ type: 'heard', heard: heardSample })
    const [second] = reports(agent.after(HOUR / 2))
    expect([first!.seq, second!.seq]).toEqual([0, 1])
    expect(first).toMatchObject({ boot: 1, slot: 0, level: 0, model: ACTIVE_SHA.slice(0, 8), batteryPermille: 1000 })
    expect([counter(first!, 'listeningMs'), counter(second!, 'listeningMs')]).toEqual([10_000, 20_000])
    expect([counter(first!, 'wakes'), counter(second!, 'wakes')]).toEqual([1, 1])
    expect(first!.levelMs[0]).toBe(10_000)
    expect(second!.posteriorBins[0]).toBe(100)
    expect(second!.noiseBins[2]).toBe(100)
    for (const [i, sum] of second!.counters.entries()) expect(sum).toBeGreaterThanOrEqual(first!.counters[i]!)
  })

  it('the first comes after the phase, so that a fleet does not report at once', () => {
    const agent = new PureAgent({}, { reportPhaseMs: 1_000 })
    agent.send({ type: 'connected' })
    expect(nextDeadlineMs(agent.state)).toBe(1_000)
    expect(reports(agent.after(1_000))).toHaveLength(1)
    expect(reports(agent.after(HOUR - 1))).toHaveLength(0)
    expect(reports(agent.after(1))).toHaveLength(1)
  })

  it('go to flash too while the link is down, and leave it when all is acknowledged', () => {
    const agent = new PureAgent()
    expect(ofType(agent.after(HOUR), 'save-spool')).toHaveLength(1)
    const sent = ofType(agent.send({ type: 'connected' }), 'publish')
    expect(sent.map(({ kind }) => kind)).toEqual(['event', 'report'])
    expect(agent.send({ type: 'published', id: sent[0]!.id })).toEqual([])
    expect(agent.send({ type: 'published', id: sent[1]!.id })).toEqual([{ type: 'clear-spool' }])
    expect(agent.state.outbox.messages).toEqual([])
  })

  it('on request, as before a planned stop', () => {
    const agent = new PureAgent()
    agent.send({ type: 'connected' })
    expect(reports(agent.send({ type: 'report-requested' }))).toHaveLength(1)
  })

  it('when the power is about to go: at once, and into flash', () => {
    const agent = new PureAgent()
    agent.send({ type: 'connected' })
    const effects = agent.send({ type: 'stopping' })
    expect(reports(effects)).toHaveLength(1)
    expect(ofType(effects, 'save-spool')[0]?.outbox.messages.map(({ kind }) => kind)).toContain('report')
  })
})

describe('what a message says of its time', () => {
  const decoded = <T>(result: { ok: true; value: T } | { ok: false }): T => {
    if (!result.ok) throw new Error('malformed')
    return result.value
  }
  const last = (agent: PureAgent, kind: string) =>
    ofType(agent.all, 'publish').findLast((m) => m.kind === kind)!.payload

  it('its uptime, whatever the wall clock does, and the incarnation of the flash', () => {
    const agent = new PureAgent({ record: { ...recordSample, incarnation: 77 } })
    agent.send({ type: 'connected' })
    agent.after(90_000)
    const stretch = { ...heardSample, elapsedMs: 60_000, wakes: [{ ...wake, atMs: 20_000 }] }
    agent.send({ type: 'heard', heard: stretch })
    agent.send({ type: 'report-requested' })
    // Of a stretch of a minute that ends now, 20 s after its beginning.
    expect(decoded(wakeCodec.decode(last(agent, 'wake')))).toMatchObject({ incarnation: 77, uptimeMs: 50_000 })
    expect(decoded(reportCodec.decode(last(agent, 'report')))).toMatchObject({ incarnation: 77, uptimeMs: 90_000 })
    expect(decoded(eventCodec.decode(last(agent, 'event')))).toMatchObject({ incarnation: 77, uptimeMs: 0 })
  })

  it('nothing of an incarnation on a flash that has none', () => {
    const agent = new PureAgent()
    agent.send({ type: 'connected' })
    agent.send({ type: 'report-requested' })
    expect(decoded(reportCodec.decode(last(agent, 'report'))).incarnation).toBeUndefined()
  })

  it('what inferences took, where that is measured', () => {
    const agent = new PureAgent()
    agent.send({ type: 'connected' })
    agent.send({ type: 'heard', heard: heardSample })
    agent.send({ type: 'report-requested' })
    expect(decoded(reportCodec.decode(last(agent, 'report'))).inferenceMs).toBeUndefined()
    for (const inferenceMs of [10.4, 20.2]) agent.send({ type: 'heard', heard: { ...heardSample, inferenceMs } })
    for (const { id } of agent.state.outbox.messages) agent.send({ type: 'published', id })
    agent.send({ type: 'report-requested' })
    expect(decoded(reportCodec.decode(last(agent, 'report'))).inferenceMs).toBe(31)
  })
})

describe('wakes', () => {
  it('are numbered as the counter counts, told at once and sent with their features', () => {
    const agent = new PureAgent()
    agent.send({ type: 'connected' })
    for (const count of [1, 3, 2]) {
      const effects = agent.send({
        type: 'heard',
        heard: { ...heardSample, wakes: new Array(count).fill(wake) as (typeof wake)[] },
      })
      expect(ofType(effects, 'tell-wake')).toHaveLength(count)
      for (const { id } of ofType(effects, 'publish')) agent.send({ type: 'published', id })
    }
    const indexes = ofType(agent.all, 'publish')
      .filter(({ kind }) => kind === 'wake')
      .map(({ payload }) => value(wakeCodec.decode(payload)).index)
    expect(indexes).toEqual([1, 2, 3, 4, 5, 6])
    expect(agent.state.measures.counters.wakes).toBe(6)
  })

  it('hold the device awake for as long as the policy says', () => {
    const quiet = new PureAgent()
    quiet.send({ type: 'heard', heard: heardSample })
    const woken = new PureAgent()
    woken.send({ type: 'heard', heard: { ...heardSample, wakes: [wake] } })
    // The 25 inferences of those five seconds, 29 ms each, are in the hold and not beside it.
    expect(holdMsOf(pipelineSample.pipelines[0]!.head)).toBe(5_000)
    expect(woken.state.measures.counters.activeMs - quiet.state.measures.counters.activeMs).toBeCloseTo(5_000 - 25 * 29)
    expect(woken.state.measures.energy.inference - quiet.state.measures.energy.inference).toBeCloseTo((5 * 664) / 29)
  })

  it('hold it once, however many come: it is never awake for longer than it has been up', () => {
    const agent = new PureAgent()
    agent.send({ type: 'connected' })
    const wakes = [0, 1_000, 2_000, 3_000].map((atMs) => ({ ...wake, atMs }))
    for (let i = 0; i < 30; i++) agent.after(10_000, { type: 'heard', heard: { ...heardSample, wakes } })
    const report = nextReport(agent)
    // Eight seconds of ten, and the ten inferences of the other two.
    expect(counter(report, 'activeMs')).toBeLessThanOrEqual(report.uptimeMs)
    expect(counter(report, 'activeMs')! / report.uptimeMs).toBeGreaterThan(0.35)
    expect(counter(report, 'activeMs')! / report.uptimeMs).toBeLessThan(0.83)
  })

  it('of a stretch that is faster than the clock are not more than the clock says', () => {
    const agent = new PureAgent()
    for (let i = 0; i < 100; i++) agent.after(1, { type: 'heard', heard: { ...heardSample, wakes: [wake] } })
    const report = nextReport(agent)
    expect(report.uptimeMs).toBe(100)
    expect(counter(report, 'activeMs')).toBeLessThanOrEqual(report.uptimeMs)
  })

  it('are at most a dozen at once and one in five seconds after that, and the others are told of once an hour', () => {
    const agent = new PureAgent()
    for (let i = 0; i < 360; i++) {
      const stuck = Array.from({ length: 10 }, (_, second) => ({ ...wake, atMs: second * 1_000 }))
      agent.after(10_000, { type: 'heard', heard: { ...heardSample, wakes: stuck } })
      if (i === 5) expect(agent.state.measures.counters.wakes).toBeLessThanOrEqual(24)
    }
    expect(agent.state.measures.counters.wakes).toBeGreaterThan(700)
    expect(agent.state.measures.counters.wakes).toBeLessThanOrEqual(12 + 720)
    expect(codes(agent.all).filter((code) => code === 'wakes-limited')).toHaveLength(1)
    expect(ofType(agent.all, 'tell-wake')).toHaveLength(agent.state.measures.counters.wakes)
  })

  it('a noise floor beyond the wire is clipped, not thrown on', () => {
    const agent = new PureAgent()
    agent.send({
      type: 'heard',
      heard: {
        ...heardSample,
        wakes: [
          { ...wake, noiseDb: 3 },
          { ...wake, noiseDb: -200 },
        ],
      },
    })
    const noise = ofType(agent.send({ type: 'connected' }), 'publish')
      .filter(({ kind }) => kind === 'wake')
      .map(({ payload }) => value(wakeCodec.decode(payload)).noiseDb)
    expect(noise).toEqual([0, -120])
  })
})

describe('a microphone', () => {
  const none = { clippedMs: 0, stuckMs: 0, silentMs: 0 }
  const hears = (agent: PureAgent, minutes: number, microphone: Partial<typeof none>) => {
    for (let i = 0; i < minutes * 6; i++)
      agent.after(10_000, { type: 'heard', heard: { ...heardSample, microphone: { ...none, ...microphone } } })
  }
  const told = (agent: PureAgent) => codes(agent.all).filter((code) => code.startsWith('microphone'))

  it.each([
    ['clipped', { clippedMs: 10_000 }],
    ['stuck', { stuckMs: 10_000 }],
    ['silent', { silentMs: 10_000 }],
  ])('that is %s for a minute is told of once, and once that it works again', (fault, trouble) => {
    const agent = new PureAgent()
    hears(agent, 5 / 6, trouble)
    expect(told(agent)).toEqual([])
    hears(agent, 1, trouble)
    expect(told(agent)).toEqual([`microphone-${fault}`])
    hears(agent, 300, trouble)
    expect(told(agent)).toEqual([`microphone-${fault}`])
    hears(agent, 2, {})
    expect(told(agent)).toEqual([`microphone-${fault}`, 'microphone-recovered'])
  })

  it('with a loose contact is told of once an hour', () => {
    const agent = new PureAgent()
    for (let i = 0; i < 60; i++) {
      hears(agent, 2, { silentMs: 10_000 })
      hears(agent, 2, {})
    }
    expect(told(agent).filter((code) => code === 'microphone-silent')).toHaveLength(4)
    expect(told(agent).filter((code) => code === 'microphone-recovered')).toHaveLength(4)
  })

  it('that clips a little, or is not listened to, is none to tell of', () => {
    const agent = new PureAgent()
    hears(agent, 60, { clippedMs: 4_000 })
    for (let i = 0; i < 60; i++)
      agent.after(10_000, { type: 'heard', heard: { ...heardSample, listeningMs: 0, windows: 0 } })
    expect(told(agent)).toEqual([])
  })
})

describe('a link that breaks', () => {
  it('what was on the air is sent again, and nothing twice while it is', () => {
    const agent = new PureAgent()
    const first = ofType(agent.send({ type: 'connected' }), 'publish')
    expect(agent.after(1)).toEqual([])
    agent.send({ type: 'disconnected', reason: 'test' })
    const again = ofType(agent.send({ type: 'connected' }), 'publish')
    expect(again).toEqual(first)
    agent.send({ type: 'published', id: first[0]!.id })
    agent.send({ type: 'disconnected', reason: 'test' })
    expect(agent.send({ type: 'connected' })).toEqual([])
  })

  it('eight messages are on the air at once, the next goes when one is acknowledged', () => {
    const agent = new PureAgent()
    for (let i = 0; i < 12; i++) agent.send({ type: 'heard', heard: { ...heardSample, wakes: [wake] } })
    const sent = ofType(agent.send({ type: 'connected' }), 'publish')
    expect(sent).toHaveLength(8)
    const next = ofType(agent.send({ type: 'published', id: sent[3]!.id }), 'publish')
    expect(next.map(({ id }) => id)).toEqual([sent[7]!.id + 1])
  })

  it('drops at the bound are counted', () => {
    const agent = new PureAgent()
    for (let i = 0; i < OUTBOX_MESSAGES_MAX + 4; i++)
      agent.send({ type: 'heard', heard: { ...heardSample, wakes: [wake] } })
    expect(agent.state.outbox.messages).toHaveLength(OUTBOX_MESSAGES_MAX)
    expect(agent.state.measures.counters.spoolDrops).toBe(5)
  })

  it('radio bytes are what goes over the air: payload, topic and MQTT', () => {
    const agent = new PureAgent()
    const [sent] = ofType(agent.send({ type: 'connected' }), 'publish')
    expect(agent.state.measures.counters.radioTxBytes).toBe(
      sent!.payload.length + 'kinglet/v1/lab/bird-1/event'.length + 11,
    )
    agent.send({ type: 'received', kind: 'verdict', payload: new Uint8Array(7) })
    expect(agent.state.measures.counters.radioRxBytes).toBe(7 + 'kinglet/v1/lab/bird-1/verdict'.length + 11)
    agent.send({ type: 'received', kind: 'block', sha256: '0'.repeat(64), payload: new Uint8Array(7) })
    expect(agent.state.measures.counters.radioRxBytes).toBe(
      2 * 7 + 'kinglet/v1/lab/bird-1/verdict'.length + 'kinglet/v1/lab/bird-1/block/'.length + 64 + 2 * 11,
    )
  })
})

describe('engine failures', () => {
  const error = { code: 'model-load-failed', detail: 'out of memory' } as const

  it('are told once a report interval, however often they come', () => {
    const agent = new PureAgent()
    for (let i = 0; i < 100; i++) agent.after(200, { type: 'engine-failed', error })
    // Down the ladder meanwhile, once: below is no other network.
    expect(codes(agent.all)).toEqual(['booted', 'engine-failed: model-load-failed', 'level-changed'])
    agent.after(HOUR, { type: 'engine-failed', error })
    expect(codes(agent.last)).toEqual(['engine-failed: model-load-failed'])
  })
})

describe('the governor inside the agent', () => {
  const power = { capacityMj: 1_000, horizonMs: 1_700_000_000_000 + 100 * HOUR }

  it('moves the level, counts the move and says so', () => {
    const agent = new PureAgent({ batteryMj: 1_000 }, { power })
    expect(ofType(agent.all, 'set-level')).toHaveLength(1)
    expect(codes(agent.all)).toEqual(['booted', 'level-changed'])
    expect(agent.state.measures.counters.ladderMoves).toBe(1)
    const [report] = reports([...agent.send({ type: 'connected' }), ...agent.after(HOUR)])
    expect(report!.level).toBe(agent.state.governor.level)
    expect(report!.batteryPermille).toBeGreaterThan(990)
  })

  it('is not asked where it is switched off, nor on mains', () => {
    expect(codes(new PureAgent({ batteryMj: 1_000 }, { power, governed: false }).all)).toEqual(['booted'])
    expect(codes(new PureAgent({ batteryMj: 1_000 }).all)).toEqual(['booted'])
  })
})

describe('determinism', () => {
  it('the same events at the same times give the same effects and state', () => {
    const run = () => {
      const agent = new PureAgent()
      agent.send({ type: 'connected' })
      for (let i = 0; i < 300; i++) {
        agent.after(10_000 + i, { type: 'heard', heard: heardOf({ wakes: i % 7 === 0 ? [wake] : [], windows: i }) })
        if (i % 31 === 0) agent.send({ type: 'disconnected', reason: 'test' })
        if (i % 31 === 5) agent.send({ type: 'connected' })
        for (const { id } of ofType(agent.last, 'publish')) agent.send({ type: 'published', id })
      }
      const plain = (_key: string, item: unknown) => (item instanceof Uint8Array ? bytesToHex(item) : item)
      return sha256Hex(new TextEncoder().encode(JSON.stringify([agent.all, agent.state], plain)))
    }
    expect(run()).toBe(run())
  })

  it('a step changes nothing of the state it was given', () => {
    const agent = new PureAgent()
    const before = agent.state
    const copy = structuredClone({ ...before, config: undefined, manifest: undefined })
    agent.send({ type: 'connected' })
    agent.send({ type: 'heard', heard: { ...heardSample, wakes: [wake] } })
    expect(structuredClone({ ...before, config: undefined, manifest: undefined })).toEqual(copy)
  })
})
