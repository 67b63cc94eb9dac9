import { describe, expect, it } from 'vitest'
import { metaCodec, metaGetCodec } from '../../../../../contract/messages.ts'
import { targetPathOf } from '../../../../../contract/metadata-file.ts'
import type { Release } from '../../../../../contract/release.ts'
import {
  ageFloor,
  type Consulted,
  consult,
  consultationTimedOut,
  forgetConsultation,
  metaArrived,
  repeatRequest,
  trustedNow,
} from '../../../../../device/core/agent/agent-repository.ts'
import type { AgentEffect, AgentState } from '../../../../../device/core/agent/agent-state.ts'
import { Step } from '../../../../../device/core/agent/agent-step.ts'
import { EMPTY_OUTBOX } from '../../../../../device/core/outbox.ts'
import { NODE_SCHEMES } from '../../../../../device/node/signature-schemes.ts'
import { answerMeta, MemoryRepository } from '../../../../../firmware-sim/memory-repository.ts'
import { configSample, ofType, PureAgent, wantedRelease } from '../../../../fixtures/agent.ts'
import { ISSUED_MS } from '../../../../fixtures/documents.ts'
import { directorKey } from '../../../../fixtures/keys.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const PATH = targetPathOf(wantedRelease)
type MetaMessage = Parameters<typeof metaCodec.encode>[0]

/** States are never changed, so one boot will do for all; so will one repository, where nobody publishes. */
const booted = new PureAgent({}, { schemes: NODE_SCHEMES }).state
const founded = (): MemoryRepository => {
  const repository = new MemoryRepository(directorKey.role, ISSUED_MS)
  repository.publish([wantedRelease], ISSUED_MS)
  return repository
}
const shared = founded()

/** An agent that asks, and what it has asked for; answers are given by hand. */
class Asking {
  state: AgentState
  nowMs = 0
  readonly effects: AgentEffect[] = []
  readonly repository: MemoryRepository

  constructor(change: Partial<AgentState> = {}, repository = shared) {
    this.state = { ...booted, outbox: EMPTY_OUTBOX, connected: true, ...change }
    this.repository = repository
  }

  do<T>(what: (step: Step) => T): T {
    const step = new Step(this.state, { monotonicMs: this.nowMs, wallMs: ISSUED_MS + this.nowMs })
    const done = what(step)
    const { state, effects } = step.result()
    this.state = state
    this.effects.push(...effects)
    return done
  }

  get requests() {
    return ofType(this.effects, 'publish').map(({ payload }) => {
      const get = metaGetCodec.decode(payload)
      if (!get.ok) throw new Error(get.error.detail)
      return get.value
    })
  }

  get asked(): string[] {
    return this.requests.map(({ file, offset }) => (offset === 0 ? file : `${file} from ${offset}`))
  }

  /** As an honest gateway answers the newest request. */
  honest(): Uint8Array {
    const payload = ofType(this.effects, 'publish').at(-1)!.payload
    return answerMeta((name) => this.repository.file(name), payload)
  }

  /** The honest answer with something else in it. */
  changed(change: Partial<MetaMessage>): Uint8Array {
    const meta = metaCodec.decode(this.honest())
    if (!meta.ok) throw new Error(meta.error.detail)
    return metaCodec.encode({ ...meta.value, ...change })
  }

  arrives(payload: Uint8Array): Consulted | undefined {
    return this.do((step) => metaArrived(step, payload))
  }

  timedOut(): Consulted | undefined {
    return this.do(consultationTimedOut)
  }

  /** Answers honestly to the end. */
  finish(): Consulted {
    for (let i = 0; i < 100; i++) {
      const end = this.arrives(this.honest())
      if (end !== undefined) return end
    }
    throw new Error('a hundred answers and no end')
  }

  /** Answers honestly until this file is asked for. */
  upTo(file: string): void {
    for (let i = 0; i < 10 && this.asked.at(-1) !== file; i++) this.arrives(this.honest())
    expect(this.asked.at(-1)).toBe(file)
  }
}
const asking = (change: Partial<AgentState> = {}, path: string = PATH) => {
  const agent = new Asking(change)
  expect(agent.do((step) => consult(step, path))).toBeUndefined()
  return agent
}
const codeOf = (end: Consulted | undefined) => (end?.result.ok === false ? end.result.error.code : end?.result)

describe('a consultation', () => {
  it('asks for a newer root or the timestamp at once, then for snapshot and targets, and ends with the release', () => {
    const agent = asking()
    expect(agent.requests).toMatchObject([{ file: '2.root.json', offset: 0, orTimestamp: true }])
    expect(agent.finish()).toEqual({ path: PATH, result: { ok: true, value: wantedRelease } })
    expect(agent.asked).toEqual(['2.root.json', '2.snapshot.json', '2.targets.json'])
    expect(agent.requests.map(({ orTimestamp }) => orTimestamp)).toEqual([true, undefined, undefined])
    expect(agent.state.repository).toMatchObject({ consultation: null, trustVerified: true })
  })

  it('keeps what it has verified, once, before it looks for a target', () => {
    const agent = asking()
    agent.upTo('2.targets.json')
    const written = ofType(agent.effects, 'write-trust')
    expect(written).toHaveLength(1)
    const { root, timestamp, snapshot } = written[0]!.trust.files
    expect([root, timestamp, snapshot]).toEqual(
      ['1.root.json', 'timestamp.json', '2.snapshot.json'].map((name) => agent.repository.file(name)),
    )
    expect(written[0]!.trust.floor.floorMs).toBe(ISSUED_MS)
    agent.finish()
    // Nothing is new the second time.
    agent.do((step) => consult(step, undefined))
    agent.finish()
    expect(ofType(agent.effects, 'write-trust')).toHaveLength(1)
  })

  it('that only asks what is new ends before any target', () => {
    const agent = new Asking()
    expect(agent.do((step) => consult(step, undefined))).toBeUndefined()
    expect(agent.finish()).toEqual({ path: undefined, result: { ok: true, value: undefined } })
    expect(agent.asked.some((file) => file.includes('targets'))).toBe(false)
  })

  it('for what the repository does not have ends with that', () => {
    expect(codeOf(asking({}, 'kws-9/9.kinglet').finish())).toBe('target-unknown')
  })

  it('without a root ends at once, and the factory holds again', () => {
    const { repository } = booted
    const rotten = { ...repository.trust, files: { root: Uint8Array.of(1), timestamp: undefined, snapshot: undefined } }
    const agent = new Asking({ repository: { ...repository, trust: rotten, trustVerified: true } })
    const end = agent.do((step) => consult(step, PATH))
    expect(end).toMatchObject({ path: PATH, result: { ok: false } })
    expect(agent.state.repository).toMatchObject({ consultation: null, trustVerified: false })
    expect(agent.state.repository.trust.files.root).toEqual(configSample.trustRoot)
    expect(agent.effects).toEqual([])
  })

  it('without a link asks nothing until there is one', () => {
    const agent = asking({ connected: false })
    expect(agent.requests).toEqual([])
    agent.nowMs = 7 * HOUR
    expect(agent.timedOut()).toBeUndefined()
    agent.do((step) => {
      step.set({ connected: true })
      repeatRequest(step)
    })
    expect(agent.asked).toEqual(['2.root.json'])
    // Nobody consults: nothing is repeated.
    const idle = new Asking()
    idle.do(repeatRequest)
    expect(idle.requests).toEqual([])
  })
})

describe('answers', () => {
  const many = (): Release[] =>
    Array.from({ length: 12 }, (_, i) => ({ ...wantedRelease, name: `kws-2-${i}` })).concat(wantedRelease)

  it('come block by block, each asked for by its offset', () => {
    const agent = new Asking({}, founded())
    agent.repository.publish(many(), ISSUED_MS)
    agent.do((step) => consult(step, PATH))
    const bytes = agent.repository.file('3.targets.json')!.length
    expect(bytes).toBeGreaterThan(4_096)
    expect(bytes).toBeLessThanOrEqual(8_192)
    expect(agent.finish().result).toEqual({ ok: true, value: wantedRelease })
    expect(agent.asked.slice(-2)).toEqual(['3.targets.json', '3.targets.json from 4096'])
  })

  it.each<[string, (agent: Asking) => Uint8Array]>([
    ['cannot be read', () => Uint8Array.of(1, 2)],
    ['is of another file', (agent) => agent.changed({ file: '1.snapshot.json' })],
    ['is from another offset', (agent) => agent.changed({ offset: 1 })],
    ['says that the gateway is busy', (agent) => agent.changed({ error: 'rate-limited', data: undefined })],
    ['has no data', (agent) => agent.changed({ data: undefined })],
    ['is shorter than it could be', (agent) => agent.changed({ data: new Uint8Array(7) })],
    ['is the timestamp, which was not asked for', (agent) => agent.changed({ file: 'timestamp.json' })],
  ])('one that %s is none: the request stands', (_what, answer) => {
    const agent = asking()
    agent.upTo('2.snapshot.json')
    const { consultation } = agent.state.repository
    const asked = agent.asked.length
    expect(agent.arrives(answer(agent))).toBeUndefined()
    expect(agent.state.repository.consultation).toEqual(consultation)
    expect(agent.asked).toHaveLength(asked)
    expect(agent.finish().result.ok).toBe(true)
  })

  it('when nobody asks are nothing', () => {
    const agent = asking()
    const payload = agent.honest()
    agent.do(forgetConsultation)
    expect(agent.arrives(payload)).toBeUndefined()
    expect(agent.state.repository.consultation).toBeNull()
  })

  it('that a file is not there end it', () => {
    const agent = asking()
    agent.upTo('2.snapshot.json')
    expect(codeOf(agent.arrives(agent.changed({ error: 'not-found', data: undefined, totalBytes: 0 })))).toBe(
      'metadata-missing',
    )
    expect(agent.state.repository.consultation).toBeNull()
  })

  it('that a file is larger than its bound end it at the first block', () => {
    for (const change of [
      { error: 'too-large', data: undefined },
      { totalBytes: 64 * 1024, data: new Uint8Array(4_096) },
    ]) {
      const agent = asking()
      agent.upTo('2.snapshot.json')
      expect(codeOf(agent.arrives(agent.changed(change)))).toBe('metadata-too-large')
    }
  })

  it('that are forged end it, and what was believed before still is', () => {
    const agent = asking()
    const before = agent.state.repository.trust.files
    const stranger = new MemoryRepository(directorKey.role, ISSUED_MS, 9)
    const forged = answerMeta((name) => stranger.file(name), ofType(agent.effects, 'publish').at(-1)!.payload)
    expect(agent.arrives(forged)).toMatchObject({ result: { ok: false } })
    expect(agent.state.repository.trust.files.root).toEqual(before.root)
    expect(agent.state.repository.trust.files.timestamp).toBeUndefined()
    expect(ofType(agent.effects, 'write-trust')).toEqual([])
  })
})

describe('silence', () => {
  it('is broken after ten minutes, and ends it after the sixth request', () => {
    const agent = asking()
    for (let sent = 1; sent < 6; sent++) {
      agent.nowMs += 10 * MINUTE - 1
      expect(agent.timedOut()).toBeUndefined()
      expect(agent.asked).toHaveLength(sent)
      agent.nowMs += 1
      expect(agent.timedOut()).toBeUndefined()
      expect(agent.asked).toHaveLength(sent + 1)
    }
    agent.nowMs += 10 * MINUTE
    expect(codeOf(agent.timedOut())).toBe('metadata-unavailable')
    expect(agent.asked).toEqual(new Array(6).fill('2.root.json'))
  })

  it('is counted anew after an answer', () => {
    const agent = asking()
    for (let i = 0; i < 5; i++) {
      agent.nowMs += 10 * MINUTE
      agent.timedOut()
    }
    agent.upTo('2.snapshot.json')
    agent.nowMs += 10 * MINUTE
    expect(agent.timedOut()).toBeUndefined()
    expect(agent.asked.at(-1)).toBe('2.snapshot.json')
    expect(agent.finish().result.ok).toBe(true)
  })

  it('and answers together last six hours at most; what was verified is kept', () => {
    const agent = asking()
    agent.nowMs = 6 * HOUR - 1
    expect(agent.timedOut()).toBeUndefined()
    agent.upTo('2.snapshot.json')
    agent.nowMs = 6 * HOUR
    expect(codeOf(agent.timedOut())).toBe('download-stalled')
    expect(agent.state.repository.consultation).toBeNull()
    expect(agent.state.repository.trust.files.timestamp).toEqual(agent.repository.file('timestamp.json'))
  })
})

describe('the time', () => {
  const withFloor = (floorMs: number): Asking => {
    const { repository } = booted
    const trust = { ...repository.trust, floor: { floorMs, witness: 'w' } }
    return new Asking({ repository: { ...repository, trust, floorAtMs: 0 } })
  }

  it('is the clock as far as it is believed', () => {
    const { state } = withFloor(ISSUED_MS)
    expect(trustedNow(state, ISSUED_MS + 5)).toBe(ISSUED_MS + 5)
    expect(trustedNow(state, ISSUED_MS - 5)).toBe(ISSUED_MS)
    // A device without a clock says 0.
    expect(trustedNow(state, 0)).toBe(ISSUED_MS)
    // Ahead by more than 366 days.
    expect(trustedNow(state, ISSUED_MS + 366 * 24 * HOUR + 1)).toBe(ISSUED_MS)
  })

  it('passes for the floor too, at the pace of the slowest clock, and no stretch counts twice', () => {
    const agent = withFloor(ISSUED_MS)
    agent.nowMs = 16_000
    agent.do(ageFloor)
    expect(agent.state.repository.trust.floor.floorMs).toBe(ISSUED_MS + 15_000)
    agent.do(ageFloor)
    expect(agent.state.repository.trust.floor.floorMs).toBe(ISSUED_MS + 15_000)
  })
})
