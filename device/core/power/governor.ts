import { LADDER_LEVELS } from '../../../contract/ladder-levels.ts'
import type { BundleManifest, LadderStep } from '../../../contract/manifest.ts'
import { type Board, inferenceMillijoule } from '../../../model/boards.ts'
import { planLevel } from '../../../model/pipeline/level-plan.ts'
import { awakeMilliwatt, sleepMilliwatt } from './energy.ts'

/** A battery and the time it must last. */
export interface PowerBudget {
  readonly capacityMj: number
  /** wall or virtual time, Unix ms, that the battery must reach */
  readonly horizonMs: number
}

export interface GovernorState {
  /** index into LADDER_LEVELS */
  readonly level: number
  readonly movedAtMs: number
  readonly moves: number
  /** share of windows with an open gate, exponential mean */
  readonly openShare: number
  /** share of listening time that wakes hold the device, exponential mean */
  readonly holdShare: number
  /** mean power that does not depend on the level (radio, installs), mW */
  readonly baseMilliwatt: number
}

export const HIBERNATE = LADDER_LEVELS.indexOf('hibernate')

/** Chosen: keeps a reserve for a last report and an install. */
const RESERVE_SHARE = 0.03
/** Chosen: a better level must be affordable with this much to spare … */
const UP_MARGIN = 0.15
/** … and the present one must have been held this long, so that a noisy hour does not make the ladder flap. */
const UP_DWELL_MS = 2 * 3_600_000

export const initialGovernor = (level: number, nowMs: number): GovernorState => ({
  level,
  movedAtMs: nowMs,
  moves: 0,
  // Chosen prior: nothing is known of the environment yet; real use soon replaces it.
  openShare: 0.1,
  holdShare: 0,
  baseMilliwatt: 0.05,
})

/** Exponential mean with a time constant of about an hour, fed by stretches of any length.
 *  @param holdMs by how much the stretch's wakes hold the device longer */
export function observeListening(
  state: GovernorState,
  heard: { readonly windows: number; readonly openWindows: number; readonly elapsedMs: number },
  holdMs = 0,
): GovernorState {
  if (heard.windows === 0) return state
  const weight = 1 - Math.exp(-heard.elapsedMs / 3_600_000)
  const share = heard.openWindows / heard.windows
  const held = heard.elapsedMs > 0 ? holdMs / heard.elapsedMs : 0
  const { level, movedAtMs, moves, openShare, holdShare, baseMilliwatt } = state
  return {
    level,
    movedAtMs,
    moves,
    openShare: openShare + weight * (share - openShare),
    holdShare: holdShare + weight * (held - holdShare),
    baseMilliwatt,
  }
}

/** Mean power a ladder level would take in this environment, mW.
 *  @param holdShare how much of its listening wakes hold the device; a level that hears less wakes less */
export function levelMilliwatt(
  manifest: BundleManifest,
  board: Board,
  step: LadderStep,
  openShare: number,
  holdShare = 0,
): number {
  const groups = planLevel(manifest, step)
  // The input is on for whoever listens longest.
  const listenShare = Math.max(0, ...groups.map(({ windowMs, hopMs }) => Math.min(1, windowMs / hopMs)))
  let macsPerSecond = 0
  for (const { hopMs, branches } of groups) {
    for (const { gate, macs } of branches) macsPerSecond += (1000 / hopMs) * (gate === null ? 1 : openShare) * macs
  }
  return (
    board.listenIdleMilliwatt * listenShare +
    sleepMilliwatt(board) * (1 - listenShare) +
    inferenceMillijoule(board, macsPerSecond) +
    Math.min(1, holdShare * listenShare) * awakeMilliwatt(board)
  )
}

/** Picks the highest ladder level the horizon affords, with hysteresis: down at once, up only with margin and after a dwell.
 *  @param ladder levels that are offered, best first
 *  @param remainingMj energy left in the battery
 *  @param nowMs same time base as `budget.horizonMs`
 *  @returns the state with its level, moved or not */
export function govern(
  state: GovernorState,
  manifest: BundleManifest,
  ladder: readonly LadderStep[],
  board: Board,
  budget: PowerBudget,
  remainingMj: number,
  nowMs: number,
): GovernorState {
  const secondsLeft = Math.max(1, (budget.horizonMs - nowMs) / 1000)
  const affordable = (remainingMj - budget.capacityMj * RESERVE_SHARE) / secondsLeft - state.baseMilliwatt
  const power = (step: LadderStep) => levelMilliwatt(manifest, board, step, state.openShare, state.holdShare)
  const fits = (limit: number): number => {
    const step = ladder.find((candidate) => power(candidate) <= limit)
    return step === undefined ? HIBERNATE : LADDER_LEVELS.indexOf(step.level)
  }
  const wanted = fits(affordable)
  if (wanted > state.level) return { ...state, level: wanted, movedAtMs: nowMs, moves: state.moves + 1 }
  if (wanted < state.level && nowMs - state.movedAtMs >= UP_DWELL_MS) {
    const careful = fits(affordable * (1 - UP_MARGIN))
    if (careful < state.level) return { ...state, level: careful, movedAtMs: nowMs, moves: state.moves + 1 }
  }
  return state
}
