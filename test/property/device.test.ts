import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bytesToHex, sha256Hex } from '../../contract/bytes.ts'
import { LADDER_LEVELS } from '../../contract/ladder-levels.ts'
import { reportCodec } from '../../contract/messages.ts'
import { seededRandom } from '../../contract/random.ts'
import { ok } from '../../contract/result.ts'
import { nextDeadlineMs } from '../../device/core/agent/agent.ts'
import type { AgentEvent } from '../../device/core/agent/agent-state.ts'
import { readRecord, writeRecord } from '../../device/core/flash/boot-record.ts'
import { readFrame } from '../../device/core/flash/flash-frame.ts'
import { layoutOf } from '../../device/core/flash/flash-layout.ts'
import { decodeSpool, EMPTY_OUTBOX, encodeSpool, enqueue, OUTBOX_MESSAGES_MAX } from '../../device/core/outbox.ts'
import {
  type GovernorState,
  govern,
  initialGovernor,
  levelMilliwatt,
  observeListening,
} from '../../device/core/power/governor.ts'
import { FlashNor } from '../../firmware-sim/flash-nor.ts'
import { boardNamed } from '../../model/boards.ts'
import { heardOf, ofType, PureAgent, recordSample, wantedRelease } from '../fixtures/agent.ts'
import { assignmentBytes } from '../fixtures/documents.ts'
import { pipelineSample } from '../fixtures/manifest.ts'

const HOUR = 3_600_000
const board = boardNamed('NUCLEO-U575ZI')!

/** A device of energy alone: the governor decides every ten minutes, the level it picks is what drains the battery. */
function lifeOf(seed: number, capacityMj: number, days: number, openShare: (hour: number) => number) {
  const random = seededRandom(seed)
  const horizonMs = days * 24 * HOUR
  const budget = { capacityMj, horizonMs }
  let state: GovernorState = initialGovernor(0, 0)
  let remaining = capacityMj
  let diedAtMs: number | undefined
  const moves: { atMs: number; from: number; to: number }[] = []
  for (let now = 0; now < horizonMs; now += HOUR / 6) {
    const before = state.level
    state = govern(state, pipelineSample, pipelineSample.ladder, board, budget, remaining, now)
    if (state.level !== before) moves.push({ atMs: now, from: before, to: state.level })
    const open = Math.min(1, Math.max(0, openShare(now / HOUR) * (0.6 + 0.8 * random.next())))
    const step = pipelineSample.ladder.find(({ level }) => level === LADDER_LEVELS[state.level])
    const milliwatt = step === undefined ? 0.03 : levelMilliwatt(pipelineSample, board, step, open)
    remaining -= (milliwatt + 0.05) * 600
    state = observeListening(state, {
      windows: step === undefined ? 0 : 3_000,
      openWindows: Math.round(3_000 * open),
      elapsedMs: 600_000,
    })
    if (remaining <= 0 && diedAtMs === undefined) diedAtMs = now
  }
  return { moves, diedAtMs, remaining, horizonMs }
}

describe('governor', () => {
  const level = (index: number, open: number) =>
    levelMilliwatt(pipelineSample, board, pipelineSample.ladder[index]!, open)

  it('whatever the battery and the noise, the horizon is reached', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.double({ min: 0.3, max: 9, noNaN: true }),
        fc.double({ min: 0, max: 0.9, noNaN: true }),
        (seed, milliwatt, open) => {
          const days = 6
          const life = lifeOf(seed, milliwatt * days * 86_400, days, (hour) => open * (1 + Math.sin(hour / 4)))
          expect(life.diedAtMs).toBeUndefined()
        },
      ),
      { numRuns: 60 },
    )
  })

  it('without it the same battery dies early', () => {
    const days = 6
    const capacityMj = level(0, 0.1) * 0.6 * days * 86_400
    expect(capacityMj / (level(0, 0.1) * 1000)).toBeLessThan((days * 86_400_000 * 0.7) / 1000)
    expect(lifeOf(1, capacityMj, days, () => 0.1).diedAtMs).toBeUndefined()
  })

  it('does not flap: never up within two hours of a move, and few moves a day in steady noise', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.double({ min: 4, max: 9, noNaN: true }),
        fc.double({ min: 0, max: 0.6, noNaN: true }),
        (seed, milliwatt, open) => {
          const days = 6
          const { moves } = lifeOf(seed, milliwatt * days * 86_400, days, () => open)
          moves.forEach((move, i) => {
            const last = moves[i - 1]?.atMs ?? 0
            if (move.to < move.from) expect(move.atMs - last).toBeGreaterThanOrEqual(2 * HOUR)
          })
          // The last hours before the horizon free the reserve of what was held back; that is no flapping.
          const early = moves.filter(({ atMs }) => atMs < (days - 1) * 24 * HOUR)
          expect(early.length).toBeLessThanOrEqual(2 * days)
        },
      ),
      { numRuns: 60 },
    )
  })
})

describe('outbox', () => {
  const kinds = fc.constantFrom('report' as const, 'wake' as const, 'event' as const)
  it('never exceeds its bound, keeps the newest report, and counts every drop', () => {
    fc.assert(
      fc.property(fc.array(kinds, { maxLength: 300 }), (sequence) => {
        let outbox = EMPTY_OUTBOX
        for (const kind of sequence) {
          outbox = enqueue(outbox, kind, new Uint8Array(1))
          expect(outbox.messages.length).toBeLessThanOrEqual(OUTBOX_MESSAGES_MAX)
        }
        expect(outbox.messages.length + outbox.dropped).toBe(sequence.length)
        const newest = sequence.lastIndexOf('report')
        if (newest >= 0) expect(outbox.messages.some(({ id }) => id === newest + 1)).toBe(true)
        const ids = outbox.messages.map(({ id }) => id)
        expect([...ids].sort((a, b) => a - b)).toEqual(ids)
      }),
    )
  })

  it('comes back from its spool', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(kinds, fc.uint8Array({ maxLength: 200 })), { maxLength: 96 }), (sequence) => {
        const outbox = sequence.reduce((box, [kind, payload]) => enqueue(box, kind, payload), EMPTY_OUTBOX)
        expect(decodeSpool(encodeSpool(outbox.messages)).messages).toEqual(outbox.messages)
      }),
    )
  })

  it('random bytes are an empty spool and an empty frame, never a throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (data) => {
        decodeSpool(data)
        const flash = new FlashNor({ sizeBytes: 4_096 })
        flash.program(
          0,
          Uint8Array.from({ length: 400 }, (_, i) => data[i] ?? 0xff),
        )
        expect(readFrame(flash, 0, 4_096)).toBeUndefined()
      }),
    )
  })
})

describe('boot records', () => {
  it('however a write is torn, the record is the old one or the new one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 16 }), fc.integer({ min: 1, max: 6 }), (words, writes) => {
        const flash = new FlashNor({ sizeBytes: 262_144 })
        const layout = layoutOf(flash)
        if (!layout.ok) throw new Error('no layout')
        for (let boots = 1; boots <= writes; boots++) writeRecord(flash, layout.value, { ...recordSample, boots })
        const torn = {
          sizeBytes: flash.sizeBytes,
          sectorBytes: flash.sectorBytes,
          programBytes: flash.programBytes,
          read: (offset: number, length: number) => flash.read(offset, length),
          erase: (offset: number) => flash.erase(offset),
          program: (offset: number, data: Uint8Array) => {
            flash.program(offset, data.subarray(0, Math.min(data.length, words * 16)))
            return ok(undefined)
          },
        }
        writeRecord(torn, layout.value, { ...recordSample, boots: writes + 1 })
        expect([writes, writes + 1]).toContain(readRecord(flash, layout.value)?.boots)
      }),
    )
  })
})

describe('agent', () => {
  const assignment = assignmentBytes({ release: wantedRelease })
  const event: fc.Arbitrary<AgentEvent> = fc.oneof(
    fc.constant<AgentEvent>({ type: 'connected' }),
    fc.constant<AgentEvent>({ type: 'disconnected', reason: 'x' }),
    fc.constant<AgentEvent>({ type: 'tick' }),
    fc.constant<AgentEvent>({ type: 'report-requested' }),
    fc.nat(30).map((id): AgentEvent => ({ type: 'published', id })),
    fc.nat(5).map((wakes): AgentEvent => {
      const wake = { atMs: 0, label: 1, posteriorPermille: 700, features: new Uint8Array(490), noiseDb: -40 }
      return { type: 'heard', heard: heardOf({ windows: 50, wakes: new Array(wakes).fill(wake) as (typeof wake)[] }) }
    }),
    fc.constant<AgentEvent>({ type: 'received', kind: 'assign', payload: assignment }),
    fc.uint8Array({ maxLength: 80 }).map((payload): AgentEvent => ({ type: 'received', kind: 'assign', payload })),
    fc
      .uint8Array({ maxLength: 80 })
      .map((payload): AgentEvent => ({ type: 'received', kind: 'block', sha256: wantedRelease.sha256, payload })),
    fc.uint8Array({ maxLength: 80 }).map((payload): AgentEvent => ({ type: 'received', kind: 'verdict', payload })),
    fc.constant<AgentEvent>({ type: 'record-written' }),
    fc.constant<AgentEvent>({ type: 'flash-failed', error: { code: 'flash-full', detail: 'x' } }),
    fc.constant<AgentEvent>({ type: 'engine-failed', error: { code: 'model-load-failed', detail: 'x' } }),
  )
  const run = (events: readonly (readonly [number, AgentEvent])[]) => {
    const agent = new PureAgent()
    let counters = agent.state.measures.counters
    for (const [ms, each] of events) {
      agent.after(ms, each)
      for (const [name, value] of Object.entries(counters)) {
        expect(agent.state.measures.counters[name as keyof typeof counters]).toBeGreaterThanOrEqual(value)
      }
      counters = agent.state.measures.counters
      expect(agent.state.outbox.messages.length).toBeLessThanOrEqual(OUTBOX_MESSAGES_MAX)
      // A deadline in the past would make the host spin.
      expect(nextDeadlineMs(agent.state)).toBeGreaterThan(agent.nowMs)
    }
    return agent
  }
  const story = fc.array(fc.tuple(fc.nat(HOUR), event), { maxLength: 60 })

  it('takes any events in any order: no throw, counters only rise, reports within bounds, deadlines ahead', () => {
    fc.assert(
      fc.property(story, (events) => {
        const agent = run(events)
        for (const { kind, payload } of ofType(agent.all, 'publish')) {
          if (kind !== 'report') continue
          expect(payload.length).toBeLessThanOrEqual(256)
          expect(reportCodec.decode(payload).ok).toBe(true)
        }
      }),
      { numRuns: 40 },
    )
  })

  it('the same seed gives the same trace', () => {
    const trace = (seed: number) => {
      const events = fc.sample(story, { seed, numRuns: 1 })[0]!
      const plain = (_key: string, item: unknown) => (item instanceof Uint8Array ? bytesToHex(item) : item)
      return sha256Hex(new TextEncoder().encode(JSON.stringify(run(events).all, plain)))
    }
    expect(trace(7)).toBe(trace(7))
    expect(trace(7)).not.toBe(trace(8))
  })
})
