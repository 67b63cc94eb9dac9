import { describe, expect, it } from 'vitest'
import { LADDER_LEVELS } from '../../../../../contract/ladder-levels.ts'
import type { LadderStep } from '../../../../../contract/manifest.ts'
import {
  govern,
  HIBERNATE,
  initialGovernor,
  levelMilliwatt,
  observeListening,
} from '../../../../../device/core/power/governor.ts'
import { boardNamed } from '../../../../../model/boards.ts'
import { pipelineSample } from '../../../../fixtures/manifest.ts'

const board = boardNamed('NUCLEO-U575ZI')!
const HOUR = 3_600_000
const power = (step: LadderStep, openShare = 0.1) => levelMilliwatt(pipelineSample, board, step, openShare)
const [full, gated, lite, sparse] = pipelineSample.ladder as [LadderStep, LadderStep, LadderStep, LadderStep]

describe('ladder levels', () => {
  it('take less power from one to the next, in a quiet place', () => {
    const watts = [full, gated, lite, sparse].map((step) => power(step))
    expect([...watts].sort((a, b) => b - a)).toEqual(watts)
  })

  it('one that listens for a second in ten leaves the input off for nine', () => {
    // Between the windows the board sleeps.
    expect(power(sparse)).toBeLessThan(0.2 * board.listenIdleMilliwatt)
    expect(power(lite)).toBeGreaterThan(board.listenIdleMilliwatt)
  })

  it('gating saves nothing where the gate is always open', () => {
    expect(power(gated, 1)).toBeCloseTo(power(full))
  })
})

describe('governor', () => {
  const capacityMj = 1_000_000
  const start = 1_700_000_000_000
  /** energy that affords `milliwatt` for the hours left, beside reserve and base load */
  const energyFor = (milliwatt: number, hours: number) => (milliwatt + 0.05) * hours * 3600 + capacityMj * 0.03
  const at = (level: number, remaining: number, hours: number, nowMs = start) =>
    govern(
      { ...initialGovernor(level, start), movedAtMs: start },
      pipelineSample,
      pipelineSample.ladder,
      board,
      { capacityMj, horizonMs: nowMs + hours * HOUR },
      remaining,
      nowMs,
    )

  it.each([
    ['full', full],
    ['gated', gated],
    ['lite', lite],
    ['sparse', sparse],
  ] as const)('picks %s when the battery affords just that', (name, step) => {
    expect(LADDER_LEVELS[at(0, energyFor(power(step) * 1.001, 10), 10).level]).toBe(name)
  })

  it('hibernates when nothing is affordable, and with an empty battery', () => {
    expect(at(0, energyFor(power(sparse) * 0.9, 10), 10).level).toBe(HIBERNATE)
    expect(at(0, 0, 10).level).toBe(HIBERNATE)
  })

  it('goes down at once and keeps count', () => {
    const next = at(0, energyFor(power(lite) * 1.01, 10), 10)
    expect(next).toMatchObject({ level: 2, moves: 1, movedAtMs: start })
  })

  it('comes up only after the dwell, and only with margin', () => {
    const rich = energyFor(power(full) * 1.5, 10)
    const tight = energyFor(power(full) * 1.05, 10)
    expect(at(2, rich, 10, start + 2 * HOUR - 1).level).toBe(2)
    expect(at(2, rich, 10, start + 2 * HOUR).level).toBe(0)
    expect(at(2, tight, 10, start + 2 * HOUR).level).toBe(1)
    expect(at(1, tight, 10, start + 2 * HOUR).level).toBe(1)
  })

  it('past the horizon there is nothing to save for', () => {
    expect(at(2, capacityMj / 2, -1, start + 3 * HOUR).level).toBe(0)
  })

  it('learns the share of open windows with the time constant of an hour', () => {
    const open = { windows: 100, openWindows: 100, elapsedMs: HOUR }
    const once = observeListening(initialGovernor(0, 0), open)
    expect(once.openShare).toBeCloseTo(0.1 + (1 - Math.exp(-1)) * 0.9)
    // However the hour is cut into stretches.
    let pieces = initialGovernor(0, 0)
    for (let i = 0; i < 360; i++) pieces = observeListening(pieces, { windows: 1, openWindows: 1, elapsedMs: 10_000 })
    expect(pieces.openShare).toBeCloseTo(once.openShare)
    expect(observeListening(once, { windows: 0, openWindows: 0, elapsedMs: HOUR })).toBe(once)
  })
})
