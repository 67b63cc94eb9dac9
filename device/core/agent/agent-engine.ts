import { bytesEqual } from '../../../contract/bytes.ts'
import type { ContractError } from '../../../contract/errors.ts'
import { LADDER_LEVELS } from '../../../contract/ladder-levels.ts'
import { present } from '../../../contract/present.ts'
import { otherSlot } from '../flash/flash-layout.ts'
import type { Heard } from '../listen/heard.ts'
import { FAILURES_MAX } from '../update/update.ts'
import type { Step } from './agent-step.ts'
import { graphsOf, hasFailed, isTooSlow, levelBelow, offeredLevels, ranWell } from './engine-health.ts'

/** What becomes of a model that its device cannot run: the level below, then the image before. */

/** Nothing came of a stretch of sound. */
export function engineFailed(step: Step, error: ContractError): void {
  // An engine that fails does so at every hop, five times a second.
  step.tellRarely('engine-failed', { error })
  // A model on trial has lost its trial.
  if (step.state.update.phase === 'trial') {
    step.reboot('engine failed on trial')
    return
  }
  const { engine, manifest, governor } = step.state
  const faults = engine.faults + 1
  step.set({ engine: { ...engine, faults } })
  const failing = manifest.ladder.find(({ level }) => level === LADDER_LEVELS[governor.level])
  const graphs = failing === undefined ? [] : graphsOf(failing)
  if (!hasFailed(step.state.engine) || graphs.length === 0) return
  const isNew = failing !== undefined && offeredLevels(manifest, engine).includes(failing)
  step.set({ engine: { ...engine, faults: 0, failed: isNew ? [...engine.failed, graphs] : engine.failed } })
  stepDown(step, `the engine fails on ${graphs.join(', ')}`)
}

/** A stretch was heard, with as many windows as the engine was quick enough for. */
export function engineRan(step: Step, stretch: Heard): void {
  const before = step.state.engine
  const engine = ranWell(before, stretch)
  if (engine === before) return
  step.set({ engine })
  if (!isTooSlow(engine)) return
  const level = present(LADDER_LEVELS[step.state.governor.level], 'a level of the ladder')
  step.tellRarely('engine-failed', {
    error: { code: 'latency-over-budget', detail: `level ${level} drops more windows than it infers` },
  })
  if (step.state.update.phase === 'trial') {
    step.reboot('too slow on trial')
    return
  }
  // On the last one again and again: while an update is under way there is no image to go to.
  const slowLevels = [...new Set([...engine.slowLevels, level])]
  step.set({ engine: { ...engine, overrunShare: 0, slowLevels } })
  stepDown(step, 'too slow')
}

function stepDown(step: Step, why: string): void {
  const { manifest, engine, governor } = step.state
  const below = levelBelow(manifest, engine, governor.level)
  if (below === undefined) {
    revertModel(step, why)
    return
  }
  const level = LADDER_LEVELS.indexOf(below.level)
  step.moveTo({ ...governor, level, movedAtMs: step.now.wallMs, moves: governor.moves + 1 }, why)
}

/** Puts the image in the other slot on trial, as an update that was fetched already: it is checked like one, its security counter too, and this
 *  one comes back if it does not hold either. The model that fails is not installed again before another was. */
function revertModel(step: Step, why: string): void {
  const { record, update } = step.state
  const other = record.images[otherSlot(record.active)]
  const running = record.images[record.active]
  // One of which the same is known, and one that is being fetched, is no way out: the device goes on as far as it can.
  const isKnown = bytesEqual(record.failedSha256, other.sha256)
  if (record.phase !== 'confirmed' || other.bytes === 0 || isKnown) return
  if (update.phase !== 'idle' && update.phase !== 'waiting') return
  step.writeRecord({ failedSha256: running.sha256, failures: FAILURES_MAX, phase: 'pending' })
  step.reboot(`no level runs (${why}): the image before is tried`)
}
