import { describe, expect, it } from 'vitest'
import { hexToBytes } from '../../../../../contract/bytes.ts'
import { EVENT_CODES, eventCodec, reportCodec } from '../../../../../contract/messages.ts'
import type { AgentConfig, AgentEffect, AgentState } from '../../../../../device/core/agent/agent-state.ts'
import { Step } from '../../../../../device/core/agent/agent-step.ts'
import { EMPTY_OUTBOX, OUTBOX_MESSAGES_MAX } from '../../../../../device/core/outbox.ts'
import { radioNamed } from '../../../../../device/core/power/energy.ts'
import { configSample, ofType, PureAgent, recordSample } from '../../../../fixtures/agent.ts'

const MINUTE = 60_000
const NOW = { monotonicMs: 1_000, wallMs: 1_700_000_001_000 }
/** States are never changed, so one boot will do for all. */
const booted = new PureAgent().state
/** A step of an agent that has just booted and has nothing to say. */
const stepOf = (
  state: Partial<AgentState> = {},
  config: Partial<AgentConfig> = {},
  monotonicMs = NOW.monotonicMs,
): Step => {
  return new Step(
    { ...booted, outbox: EMPTY_OUTBOX, ...state, config: { ...booted.config, ...config } },
    { ...NOW, monotonicMs },
  )
}
const newest = (step: Step) => step.state.outbox.messages.at(-1)!
const eventOf = (step: Step) => {
  const decoded = eventCodec.decode(newest(step).payload)
  if (!decoded.ok) throw new Error(decoded.error.detail)
  return decoded.value
}
const reportOf = (step: Step) => {
  const decoded = reportCodec.decode(newest(step).payload)
  if (!decoded.ok) throw new Error(decoded.error.detail)
  return decoded.value
}
const types = (effects: readonly AgentEffect[]) => effects.map(({ type }) => type)

describe('energy and the radio', () => {
  it('what is left is what the boot began with less what was spent, and never below nothing', () => {
    const step = stepOf({ batteryAtBootMj: 100 })
    expect(step.remainingMj).toBe(100)
    step.spend({ radio: 30, install: 30 })
    expect(step.remainingMj).toBe(40)
    step.spend({ sleep: 41 })
    expect(step.remainingMj).toBe(0)
    const mains = stepOf({ batteryAtBootMj: Number.POSITIVE_INFINITY })
    mains.spend({ radio: 1e9 })
    expect(mains.remainingMj).toBe(Number.POSITIVE_INFINITY)
  })

  it('a message costs its bytes on the air; a session is paid for after five idle minutes, not at five', () => {
    // 985 + kinglet/v1/lab/bird-1/wake + 11 are 1 022 bytes; of nb-iot only sessions cost.
    const spent = (idleMs: number, radio: string) => {
      const step = stepOf({ radioAtMs: 0 }, { radio: radioNamed(radio)! }, idleMs)
      step.radio('wake', 985, 'tx')
      expect(step.state.radioAtMs).toBe(idleMs)
      expect(step.state.measures.counters).toMatchObject({ radioTxBytes: 1_022, radioRxBytes: 0 })
      return step.state.measures.energy.radio
    }
    expect(spent(5 * MINUTE, 'nb-iot')).toBe(0)
    expect(spent(5 * MINUTE + 1, 'nb-iot')).toBe(1_000)
    expect(spent(5 * MINUTE, 'wifi')).toBeCloseTo((1.3 * 1_022) / 1_024, 9)
    expect(spent(5 * MINUTE + 1, 'wifi')).toBeCloseTo(600 + (1.3 * 1_022) / 1_024, 9)
  })

  it('what comes is counted apart, with the hash in the topic of a block', () => {
    const step = stepOf({ radioAtMs: 0 })
    step.radio('block', 100, 'rx', 'ab'.repeat(32))
    step.radio('block', 100, 'rx', 'ab'.repeat(32))
    expect(step.state.measures.counters).toMatchObject({ radioTxBytes: 0, radioRxBytes: 2 * (100 + 22 + 70 + 11) })
  })
})

describe('the queue', () => {
  it('numbers messages from 1 and counts the one that is dropped at the bound', () => {
    const step = stepOf()
    const ids = Array.from({ length: OUTBOX_MESSAGES_MAX }, () => step.enqueue('wake', new Uint8Array(1)))
    expect([ids[0], ids.at(-1)]).toEqual([1, OUTBOX_MESSAGES_MAX])
    expect(step.state.measures.counters.spoolDrops).toBe(0)
    expect(step.enqueue('event', new Uint8Array(1))).toBe(OUTBOX_MESSAGES_MAX + 1)
    expect(step.state.measures.counters.spoolDrops).toBe(1)
  })
})

describe('an event', () => {
  const hash = '0123456789abcdef'.repeat(4)

  it('says when, what and of which bundle: the running one unless told', () => {
    const step = stepOf({ reporting: { ...booted.reporting, eventSeq: 4 } })
    expect(step.event('level-changed', { detail: 'full to lite' })).toBe(1)
    expect(eventOf(step)).toMatchObject({
      boot: recordSample.boots,
      seq: 4,
      wallMs: NOW.wallMs,
      code: EVENT_CODES.indexOf('level-changed'),
      model: step.state.model,
      detail: 'full to lite',
    })
    expect(step.state.reporting.eventSeq).toBe(5)
    step.event('install-failed', { about: hash })
    expect(eventOf(step).model).toEqual(hexToBytes(hash.slice(0, 16)))
    step.event('install-failed', { about: hexToBytes(hash) })
    expect(eventOf(step).model).toEqual(hexToBytes(hash.slice(0, 16)))
    step.event('install-refused', { about: null })
    expect(eventOf(step).model).toBeUndefined()
  })

  it('quotes an error to 120 characters; a detail of its own goes before it', () => {
    const step = stepOf()
    const error = { code: 'expired', detail: 'x'.repeat(121) } as const
    step.event('install-refused', { error })
    expect(eventOf(step)).toMatchObject({ error: 'expired', detail: 'x'.repeat(120) })
    step.event('install-refused', { error, detail: 'mine\ud800' })
    expect(eventOf(step)).toMatchObject({ error: 'expired', detail: 'mine?' })
    const told = ofType(step.result().effects, 'tell-event')
    expect(told.map(({ code, error: said, detail }) => [code, said, detail])).toEqual([
      ['install-refused', 'expired', 'x'.repeat(120)],
      ['install-refused', 'expired', 'mine?'],
    ])
  })

  it('that counts is signed where there is a key, with where the device stands; others are not', () => {
    const record = { ...recordSample, assignmentSeq: 9, securityCounter: 3 }
    const sign = () => new Uint8Array(64).fill(7)
    const step = stepOf({ record }, { sign })
    step.event('install-failed')
    expect(eventOf(step)).toMatchObject({ signature: sign(), assignmentSeq: 9, securityCounter: 3 })
    step.event('install-failed', { assignmentSeq: 8 })
    expect(eventOf(step)).toMatchObject({ signature: sign(), assignmentSeq: 8 })
    step.event('battery-low')
    expect(eventOf(step)).toMatchObject({
      signature: undefined,
      assignmentSeq: undefined,
      securityCounter: undefined,
    })
    const keyless = stepOf({ record })
    keyless.event('install-failed')
    expect(eventOf(keyless)).toMatchObject({
      signature: undefined,
      assignmentSeq: undefined,
      securityCounter: undefined,
    })
  })
})

describe('a report', () => {
  it('is a copy of what was measured, in whole numbers, and sets the time of the next', () => {
    const step = stepOf({ bootedAtMs: 100.4, record: { ...recordSample, assignmentSeq: 5 } })
    step.count({ windows: 7, activeMs: 10.5 })
    step.spend({ listen: 1.4 })
    step.report()
    const report = reportOf(step)
    expect(report).toMatchObject({ boot: 1, seq: 0, uptimeMs: 900, wallMs: NOW.wallMs, slot: 0, level: 0 })
    expect(report).toMatchObject({ batteryPermille: 1_000, assignmentSeq: 5, energyMj: [0, 1, 0, 0, 0] })
    // listeningMs, windows, inferences, gateOpenings, wakes, activeMs …
    expect(report.counters.slice(0, 6)).toEqual([0, 7, 0, 0, 0, 11])
    expect(step.state.reporting).toMatchObject({ reportSeq: 1, nextReportMs: NOW.monotonicMs + 3_600_000 })
  })

  it('remembers which was the first of this boot', () => {
    const step = stepOf()
    step.enqueue('wake', new Uint8Array(1))
    step.report()
    step.report()
    expect(step.state.reporting.firstReportId).toBe(2)
  })

  it.each([
    [1_000, 1_000],
    [500.4, 500],
    [0, 0],
    [1_200, 1_000],
  ])('of a battery with %d of 1 000 mJ says %d permille', (batteryAtBootMj, permille) => {
    const step = stepOf({ batteryAtBootMj }, { power: { capacityMj: 1_000, horizonMs: 0 } })
    step.report()
    expect(reportOf(step).batteryPermille).toBe(permille)
  })
})

describe('the battery', () => {
  it('is low at a tenth and told once', () => {
    const told = (batteryAtBootMj: number) => {
      const step = stepOf({ batteryAtBootMj }, { power: { capacityMj: 1_000, horizonMs: 0 }, governed: false })
      step.govern()
      step.govern()
      expect(step.state.nextGovernMs).toBe(NOW.monotonicMs + 10 * MINUTE)
      return ofType(step.result().effects, 'tell-event').map(({ code, detail }) => `${code}: ${detail}`)
    }
    expect(told(100)).toEqual(['battery-low: 10 % left'])
    expect(told(100.1)).toEqual([])
  })
})

describe('the end of a step', () => {
  it('sends what may be sent when there is a link, at least once, and counts its bytes', () => {
    const step = stepOf({ connected: true })
    step.enqueue('wake', new Uint8Array(50))
    const { state, effects } = step.result()
    expect(effects).toEqual([{ type: 'publish', id: 1, kind: 'wake', payload: new Uint8Array(50), qos: 1 }])
    expect(state.outbox.messages[0]?.inFlight).toBe(true)
    expect(state.measures.counters.radioTxBytes).toBe(50 + 22 + 4 + 11)
    const apart = stepOf({ connected: false })
    apart.enqueue('wake', new Uint8Array(50))
    expect(apart.result().effects).toEqual([])
  })

  it('before a reboot saves the last report and the queue, and sends nothing', () => {
    const step = stepOf({ connected: true })
    step.enqueue('wake', new Uint8Array(50))
    expect(step.isRebooting).toBe(false)
    step.reboot('trial')
    expect(step.isRebooting).toBe(true)
    const { state, effects } = step.result()
    expect(types(effects)).toEqual(['save-spool', 'reboot'])
    const [saved] = ofType(effects, 'save-spool')
    expect(saved?.outbox.messages.map(({ kind }) => kind)).toEqual(['wake', 'report'])
    expect(effects[1]).toEqual({ type: 'reboot', reason: 'trial' })
    expect(state.reporting.spooled).toBe(true)
  })

  it('leaves the state that it was given as it was', () => {
    const before = { ...booted, connected: true }
    const copy = structuredClone({ ...before, config: null })
    const step = new Step(before, NOW)
    step.count({ wakes: 1 })
    step.spend({ radio: 1 })
    step.writeRecord({ assignmentSeq: 3 })
    step.event('battery-low')
    step.report()
    step.result()
    expect({ ...before, config: null }).toEqual(copy)
    expect(step.state.record).toEqual({ ...recordSample, assignmentSeq: 3 })
    expect(step.state.config).toEqual(configSample)
  })
})
