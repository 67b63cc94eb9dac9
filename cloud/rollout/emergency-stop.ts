import { present } from '../../contract/present.ts'
import type { ReleaseRecord } from '../store/model-store.ts'
import type { Store } from '../store/store.ts'
import { isFollowed } from './after-rollout.ts'
import { performStep } from './executor.ts'

/** What an emergency stop has done, and what it left. */
export interface Stopped {
  /** rollouts that were taken back */
  readonly takenBack: readonly string[]
  /** devices that were given another release */
  readonly moved: number
  /** of those, devices that will refuse it: its security counter is lower */
  readonly refusing: number
  /** devices that are still to run it: a person chose it for them */
  readonly pinned: number
  /** it is what they run before, or beside, what an open rollout of another release judges */
  readonly inRollouts: number
  /** nothing else is production for their board */
  readonly stranded: number
}

/** Takes a release from the whole fleet, whatever has brought it there: nobody is given it any more. To be called inside a transaction. */
export function stopRelease(
  store: Store,
  release: ReleaseRecord,
  { nowMs, actor, why }: { readonly nowMs: number; readonly actor: string; readonly why: string },
): Stopped {
  const { rollouts, models, devices, cohorts } = store
  const had = devices.enrolled().filter(({ target }) => target === release.id)
  const whole = rollouts.completedOf(release.id)
  const takenBack = [
    ...rollouts.allOpen(release.family).filter((open) => open.release === release.id),
    ...(whole !== undefined && !isFollowed(store, whole) ? [whole] : []),
  ]
  for (const rollout of takenBack) {
    performStep({ kind: 'withdraw' }, { store, rollout, nowMs, actor, why, reading: rollout.reading })
  }
  const asItIs = (): ReleaseRecord => present(models.byId(release.id), 'the release that is stopped')
  if (asItIs().state === 'production' && whole !== undefined) {
    // What it had replaced comes back, below what has come after it on some boards.
    const productions = models.productions(release.family)
    const later = productions.slice(
      0,
      productions.findIndex(({ id }) => id === release.id),
    )
    const before = rollouts.devices(whole.id).map(({ previous }) => previous)
    models.restore(new Set([...before, whole.previous]), actor, why, nowMs)
    for (const { id } of later.reverse()) models.record(id, 'production', 'production', actor, why, nowMs)
  }
  if (asItIs().state !== 'archived') models.setState(asItIs(), 'archived', actor, why, nowMs)
  cohorts.endOf(release.id, 'archived')
  const left = giveProduction(store, release)
  const moved = had.flatMap(({ id }) => {
    const target = devices.byId(id)?.target ?? release.id
    return target === release.id ? [] : [present(models.byId(target), 'the target of a device')]
  })
  const refusing = moved.filter(({ content }) => content.securityCounter < release.content.securityCounter)
  return { takenBack: takenBack.map(({ id }) => id), moved: moved.length, refusing: refusing.length, ...left }
}

/** Gives who is still to run it what is production of its board. */
function giveProduction(store: Store, release: ReleaseRecord): Pick<Stopped, 'pinned' | 'inRollouts' | 'stranded'> {
  const { rollouts, models, devices } = store
  const taken = rollouts.takenByOthers(null)
  const counts = { pinned: 0, inRollouts: 0, stranded: 0 }
  for (const device of devices.enrolled()) {
    if (device.target !== release.id) continue
    const production = models.productionFor(device.family, device.board)
    if (device.pinned) counts.pinned++
    else if (taken.has(device.id)) counts.inRollouts++
    else if (production === undefined) counts.stranded++
    else devices.retarget(device.id, { release: production.id, rollout: null, stage: 0, arm: 'none' })
  }
  return counts
}
