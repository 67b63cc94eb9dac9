import { LADDER_LEVELS, type LadderLevel } from '../../../contract/ladder-levels.ts'
import { levelHears } from '../../../contract/level-measures.ts'
import type { BundleManifest, LadderStep } from '../../../contract/manifest.ts'
import type { Heard } from '../listen/heard.ts'

/** What of its model a device finds that it cannot run, in this boot. */
export interface EngineHealth {
  /** runs that failed since one succeeded */
  readonly faults: number
  /** share of the windows due that were dropped because inference was not done with the one before, exponential mean */
  readonly overrunShare: number
  /** graphs of levels that failed, of which at least one does, and levels that are too slow for their hop: not offered any more */
  readonly failed: readonly (readonly string[])[]
  readonly slowLevels: readonly LadderLevel[]
}

export const ENGINE_WELL: EngineHealth = { faults: 0, overrunShare: 0, failed: [], slowLevels: [] }

/** Chosen: an engine that has failed on five stretches in a row fails on the sixth. */
const FAULTS_MAX = 5
/** Chosen: a level that drops every other window of the last minutes hears half of what it says it hears. */
const OVERRUN_SHARE_MAX = 0.5
const OVERRUN_MS = 2 * 60_000

/** Takes note of a stretch that was heard: the engine runs. */
export function ranWell(health: EngineHealth, { inferences, overruns, elapsedMs }: Heard): EngineHealth {
  const due = inferences + overruns
  // Five times a second nothing is wrong.
  if (due === 0 || (overruns === 0 && health.overrunShare === 0 && health.faults === 0)) return health
  const weight = 1 - Math.exp(-elapsedMs / OVERRUN_MS)
  const overrunShare = health.overrunShare + weight * (overruns / due - health.overrunShare)
  return { ...health, faults: inferences > 0 ? 0 : health.faults, overrunShare }
}

export const hasFailed = (health: EngineHealth): boolean => health.faults >= FAULTS_MAX
export const isTooSlow = (health: EngineHealth): boolean => health.overrunShare > OVERRUN_SHARE_MAX

export const graphsOf = ({ runs }: LadderStep): readonly string[] => [
  ...new Set(runs.flatMap((run) => run?.graphs ?? [])),
]

/** The levels of a model that are still offered, best first: whatever runs all graphs of a level that failed would fail too, and one that was
 *  measured to hear next to nothing takes energy for nothing. */
export const offeredLevels = (manifest: BundleManifest, health: EngineHealth): readonly LadderStep[] =>
  manifest.ladder.filter((step) => {
    const graphs = graphsOf(step)
    return (
      levelHears(step.measured, step.runs) &&
      !health.slowLevels.includes(step.level) &&
      !health.failed.some((set) => set.every((id) => graphs.includes(id)))
    )
  })

/** The best level below one that still runs a network; undefined when there is none. */
export const levelBelow = (manifest: BundleManifest, health: EngineHealth, level: number): LadderStep | undefined =>
  offeredLevels(manifest, health).find((step) => graphsOf(step).length > 0 && LADDER_LEVELS.indexOf(step.level) > level)

/** Where to be when a level is asked for that a model need not have: there, or at the next one below that runs a network, or above. A device
 *  that is told "gated" and gets a model of one level would be deaf otherwise.
 *  @returns index into LADDER_LEVELS */
export function nearestLevel(manifest: BundleManifest, level: number): number {
  if (LADDER_LEVELS[level] === 'hibernate') return level
  const running = manifest.ladder
    .filter((step) => graphsOf(step).length > 0)
    .map((step) => LADDER_LEVELS.indexOf(step.level))
  return running.find((candidate) => candidate >= level) ?? running.at(-1) ?? level
}
