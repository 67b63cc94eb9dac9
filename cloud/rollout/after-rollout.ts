import { present } from '../../contract/present.ts'
import type { AlertRecord } from '../store/alert-store.ts'
import { shareBoards } from '../store/model-store.ts'
import type { RolloutRecord } from '../store/rollout-store.ts'
import type { Store } from '../store/store.ts'
import { HOUR_MS, hourStartMs } from '../store/telemetry-store.ts'
import { gatherAfter } from './evidence.ts'
import { pairedLogRatio } from './log-ratio.ts'
import { harmLogE } from './signal-tests.ts'
import { signalOf } from './signals.ts'

/** What comes after a rollout: harm that begins later than it looked. No control is left then, so each device is compared with its own hours before
 *  the rollout; seasons and rooms change, hence a wider margin, and an alert instead of a roll back: `rollout rollback` is for a person.
 */

/** chosen: probability of a false alert a signal and rollout */
const ALPHA = 0.001
/** chosen: as for drift, a change below this ratio is nobody's alarm */
const MARGIN_MIN = 1.5
/** chosen: each window begins anew, so that a week without harm does not hide a day with it */
const WINDOW_HOURS = 48
const PAIRS_MIN = 10

const AFTER_ROLLOUT = 'after-rollout'
/** The devices that keep its release, as a query: several rollouts of one release may be watched at once. */
const OF_ROLLOUT = 'rollout:'

/** Harm that was found after a rollout, as data. */
export interface HarmAfter {
  readonly rollout: string
  readonly metric: string
  /** prefix of the release's hash */
  readonly model: string
  readonly ratio: number
  readonly numbers: Readonly<Record<string, number>>
}

/** Looks at completed rollouts that none has followed. Reads the hours of all of their devices. */
export const readAfter = (store: Store, nowMs: number): readonly HarmAfter[] =>
  store.rollouts
    .completedLately(nowMs)
    .filter((rollout) => !isFollowed(store, rollout))
    .flatMap((rollout) => compareWithPast(store, rollout, nowMs))

/** Raises alerts of what was found, and resolves those that are about nothing any more. To be called inside a transaction.
 *  @returns alerts that were raised */
export function lookAfter(store: Store, nowMs: number, found = readAfter(store, nowMs)): readonly AlertRecord[] {
  closeOld(store, nowMs)
  return found.flatMap(({ rollout: id, metric, model, ratio, numbers }) => {
    const rollout = store.rollouts.get(id)
    if (rollout?.state !== 'completed' || isFollowed(store, rollout)) return []
    const cohort = rollout.cohort === null ? null : `${OF_ROLLOUT}${id}`
    if (store.alerts.open(AFTER_ROLLOUT, metric, model, cohort) !== undefined) return []
    const raised = store.alerts.raise({ code: AFTER_ROLLOUT, metric, model, cohort, sinceMs: nowMs, ratio, numbers })
    const detail = { rollout: id, model, ...numbers }
    store.audit.append({ atMs: nowMs, actor: 'kinglet', action: 'alert.raised', subject: metric, detail })
    return [raised]
  })
}

/** Whether a rollout has started since that takes devices of this one: of its family, for a board of its own; of two whose devices were chosen, for
 *  one of them. */
export function isFollowed({ rollouts, models, cohorts }: Store, rollout: RolloutRecord): boolean {
  const own = present(models.byId(rollout.release), 'the release of a rollout')
  return rollouts.startedAfter(rollout.id).some(({ id, release, cohort }) => {
    const later = present(models.byId(release), 'the release of a rollout')
    if (later.family !== own.family || !shareBoards(later, own)) return false
    return rollout.cohort === null || cohort === null || cohorts.haveCommon(rollout.id, id)
  })
}

function compareWithPast(store: Store, rollout: RolloutRecord, nowMs: number): readonly HarmAfter[] {
  const { endedMs } = rollout
  if (endedMs === null) return []
  const from = Math.ceil(endedMs / HOUR_MS) * HOUR_MS
  const until = Math.min(hourStartMs(nowMs), from + rollout.policy.afterHours * HOUR_MS)
  const found: HarmAfter[] = []
  const model = present(store.models.byId(rollout.release), 'the release of a rollout').prefix
  const window = Math.floor((until - 1 - from) / (WINDOW_HOURS * HOUR_MS))
  if (until <= from) return []
  const start = from + window * WINDOW_HOURS * HOUR_MS
  const arms = gatherAfter(store, rollout, start, until)
  for (const policy of rollout.policy.metrics) {
    const signal = signalOf(policy)
    const arm = arms[policy.name]
    if (signal === undefined || arm === undefined || signal.kind === 'first') continue
    const paired = pairedLogRatio(arm.canary, arm.control, signal.kind)
    if (paired === undefined || paired.canary.devices < PAIRS_MIN) continue
    // The windows share alpha: 1/2, 1/6, 1/12 … add up to one.
    const alpha = ALPHA / ((window + 1) * (window + 2))
    const margin = { ...policy, alphaRollback: alpha, marginRatio: Math.max(MARGIN_MIN, policy.marginRatio) }
    const logE = harmLogE([paired], margin, signal)
    const threshold = Math.log(1 / alpha)
    if (logE < threshold) continue
    const ratio = Math.exp(paired.d)
    const numbers = {
      ...{ ratio, recent: paired.canary.rate, baseline: paired.control.rate, logE, threshold },
      ...{ devices: paired.canary.devices, hoursAfterEnd: (nowMs - endedMs) / HOUR_MS },
    }
    found.push({ rollout: rollout.id, metric: policy.name, model, ratio, numbers })
  }
  return found
}

/** An alert of a rollout that was taken back, or that another one has followed, is about nothing any more. */
function closeOld(store: Store, nowMs: number): void {
  for (const alert of store.alerts.allOpen()) {
    if (alert.code !== AFTER_ROLLOUT) continue
    const release = store.models.byPrefix(alert.model)
    const own = alert.cohort?.startsWith(OF_ROLLOUT) ? alert.cohort.slice(OF_ROLLOUT.length) : undefined
    const rollout = own === undefined ? release && store.rollouts.completedOf(release.id) : store.rollouts.get(own)
    if (rollout?.state !== 'completed' || isFollowed(store, rollout)) store.alerts.resolve(alert.id, nowMs)
  }
}
