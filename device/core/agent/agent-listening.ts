import { wakeLink } from '../../../contract/attested-report.ts'
import { holdMsOf } from '../../../contract/head.ts'
import { LADDER_LEVELS } from '../../../contract/ladder-levels.ts'
import { LIMITS } from '../../../contract/limits.ts'
import type { BundleManifest } from '../../../contract/manifest.ts'
import { wakeCodec } from '../../../contract/messages.ts'
import { inferenceMs } from '../../../model/boards.ts'
import { planLevel } from '../../../model/pipeline/level-plan.ts'
import { addBins, type Heard, type HeardWake, type InferenceRun } from '../listen/heard.ts'
import { FAULT_MS, NO_TROUBLE, observeMicrophone } from '../listen/microphone.ts'
import { pipelineSignals } from '../listen/pipeline-signals.ts'
import { admitWake } from '../listen/wake-limit.ts'
import { type ActiveTime, addSpan, settle } from '../power/active-time.ts'
import { addEnergy, awakeMilliwatt, listeningEnergy } from '../power/energy.ts'
import { HIBERNATE, observeListening } from '../power/governor.ts'
import { engineRan } from './agent-engine.ts'
import type { Step } from './agent-step.ts'
import type { Measures } from './measures.ts'

/** Adds a stretch of listening to what this boot has measured, and sends its wakes. */
export function heard(step: Step, stretch: Heard): void {
  const { config, governor, manifest, measures } = step.state
  const level = LADDER_LEVELS[governor.level]
  const ladderStep = manifest.ladder.find((candidate) => candidate.level === level)
  const runs = runsOf(stretch, manifest, ladderStep)
  // Stretches follow each other; after a gap the next one ends now.
  const startMs = Math.max(measures.active.floorMs, step.now.monotonicMs - stretch.elapsedMs)
  const wakes = admitted(step, stretch.wakes, startMs)
  const hold = holdOf(measures, wakes, startMs, manifest)
  const toMs = startMs + stretch.elapsedMs
  const active = settle(
    hold.active,
    toMs,
    runs.map(({ fromMs, count, hopMs, macs }) => ({
      ...{ fromMs: startMs + fromMs, count, hopMs },
      takesMs: inferenceMs(config.board, macs),
    })),
  )
  const holdMj = (hold.addedMs * awakeMilliwatt(config.board)) / 1000
  const { counters, energy, levelMs, posteriorBins, noiseBins } = measures
  const macs = runs.reduce((sum, run) => sum + run.count * run.macs, 0)
  const listening = listeningEnergy(config.board, macs, stretch)
  const next: Measures = {
    energy: addEnergy(energy, { ...listening, inference: listening.inference + holdMj }),
    levelMs: levelMs.map((ms, i) => (i === governor.level ? ms + stretch.elapsedMs : ms)),
    posteriorBins: addBins(posteriorBins, stretch.posteriorBins),
    noiseBins: addBins(noiseBins, stretch.noiseBins),
    active,
    heldToMs: hold.toMs,
    onAirToMs: measures.onAirToMs,
    signals: addSignals(manifest, measures.signals, stretch, wakes),
    inferenceMs:
      stretch.inferenceMs === undefined ? measures.inferenceMs : (measures.inferenceMs ?? 0) + stretch.inferenceMs,
    // Written out: see copyState.
    counters: {
      listeningMs: counters.listeningMs + stretch.listeningMs,
      windows: counters.windows + stretch.windows,
      inferences: counters.inferences + stretch.inferences,
      wakes: counters.wakes + wakes.length,
      gateOpenings: counters.gateOpenings + stretch.gateOpenings,
      overruns: counters.overruns + stretch.overruns,
      activeMs: active.settledMs,
      spoolDrops: counters.spoolDrops,
      radioRxBytes: counters.radioRxBytes,
      radioTxBytes: counters.radioTxBytes,
      installsStarted: counters.installsStarted,
      installsConfirmed: counters.installsConfirmed,
      installsFailed: counters.installsFailed,
      ladderMoves: counters.ladderMoves,
    },
  }
  step.set({ measures: next, governor: observeListening(governor, stretch, hold.addedMs) })
  sendWakes(step, wakes, counters.wakes, stretch.elapsedMs)
  hearMicrophone(step, stretch)
  engineRan(step, stretch)
  const { update } = step.state
  if (update.phase === 'trial') {
    // A hibernating device hears nothing; it must not fail a trial for that.
    const windowsHeard = governor.level === HIBERNATE ? Number.POSITIVE_INFINITY : update.windowsHeard + stretch.windows
    step.set({ update: { ...update, windowsHeard } })
  }
}

/** Inferences of a stretch with their pace and work, which who listens may leave to be read from the level. */
function runsOf(
  { elapsedMs, inferences, inferenceRuns }: Heard,
  manifest: BundleManifest,
  ladderStep: BundleManifest['ladder'][number] | undefined,
): readonly Required<InferenceRun>[] {
  if (inferences === 0) return []
  const known = inferenceRuns?.flatMap(({ fromMs, count, hopMs, macs }) =>
    hopMs === undefined || macs === undefined ? [] : [{ fromMs, count, hopMs, macs }],
  )
  if (known !== undefined && known.length === inferenceRuns?.length) return known
  const [group] = ladderStep === undefined ? [] : planLevel(manifest, ladderStep)
  const macs = group?.branches[0]?.macs ?? 0
  const hopMs = group?.hopMs ?? elapsedMs / inferences
  if (inferenceRuns !== undefined) return inferenceRuns.map(({ fromMs, count }) => ({ fromMs, count, hopMs, macs }))
  return [{ fromMs: 0, count: inferences, hopMs: elapsedMs / inferences, macs }]
}

/** Windows say theirs while they are heard; a wake that is not admitted is none, so events are counted here. */
function addSignals(
  manifest: BundleManifest,
  before: readonly number[],
  { signals }: Heard,
  wakes: readonly HeardWake[],
): readonly number[] {
  // A bundle that declares none has nothing to add, at every hop.
  if (before.length === 0) return before
  const numbers = before.map((number, i) => Math.min(LIMITS.signalNumber, number + (signals?.[i] ?? 0)))
  if (wakes.length === 0) return numbers
  const places = pipelineSignals(manifest)
  for (const { pipeline = 0 } of wakes) places.addEvent(numbers, pipeline)
  return numbers
}

/** A wake holds the device for the same time as the one before it: what a hold adds begins where the last one ends.
 *  @returns with `addedMs` of them all */
function holdOf(
  { active, heldToMs }: Measures,
  wakes: readonly HeardWake[],
  startMs: number,
  { pipelines }: BundleManifest,
): { readonly active: ActiveTime; readonly toMs: number; readonly addedMs: number } {
  const held = { active, toMs: heldToMs, addedMs: 0 }
  for (const { atMs, pipeline = 0 } of wakes) {
    const head = pipelines[pipeline]?.head
    const from = startMs + atMs
    const to = from + (head === undefined ? 0 : holdMsOf(head))
    if (to <= held.toMs) continue
    held.addedMs += to - Math.max(from, held.toMs)
    held.active = addSpan(held.active, [from, to])
    held.toMs = to
  }
  return held
}

/** The wakes that may wake the device. The others are as if they had not been: they hold nothing, count nowhere and are not sent. */
function admitted(step: Step, wakes: readonly HeardWake[], startMs: number): readonly HeardWake[] {
  if (wakes.length === 0) return wakes
  let limit = step.state.wakeLimit
  const passed = wakes.filter(({ atMs }) => {
    const decision = admitWake(limit, startMs + atMs)
    limit = decision.limit
    return decision.admitted
  })
  step.set({ wakeLimit: limit })
  if (passed.length < wakes.length)
    step.tellRarely('wakes-limited', { detail: 'the detector wakes more often than anyone speaks' })
  return passed
}

/** Tells when the microphone fails and when it works again. A fault that comes and goes is told once an hour, and its end only if it was. */
function hearMicrophone(step: Step, { microphone = NO_TROUBLE, listeningMs, elapsedMs }: Heard): void {
  // A device that hears nothing learns nothing of its microphone.
  if (listeningMs === 0) return
  const before = step.state.microphone
  const health = observeMicrophone(before.health, microphone, elapsedMs)
  const told = before.told
  if (health.fault !== null && health.fault !== told) {
    const detail = `for ${FAULT_MS / 1000} s`
    if (step.tellRarely(`microphone-${health.fault}`, { detail }))
      step.set({ microphone: { health, told: health.fault } })
    else step.set({ microphone: { health, told } })
    return
  }
  if (health.fault === null && told !== null) step.event('microphone-recovered', { detail: `was ${told}` })
  step.set({ microphone: { health, told: health.fault === null ? null : told } })
}

function sendWakes(step: Step, wakes: readonly HeardWake[], before: number, elapsedMs: number): void {
  const signs = step.state.config.sign !== undefined
  wakes.forEach((wake, i) => {
    step.effect({ type: 'tell-wake', wake })
    const message = wakeCodec.encode({
      incarnation: step.state.record.incarnation,
      boot: step.state.record.boots,
      index: before + i + 1,
      // Of the wake and not of the stretch's end: it belongs to the hour in which it was heard.
      uptimeMs: Math.max(0, step.uptimeMs - Math.round(Math.max(0, elapsedMs - wake.atMs))),
      wallMs: step.now.wallMs,
      model: step.state.model,
      label: wake.label,
      posteriorPermille: wake.posteriorPermille,
      level: step.state.governor.level,
      features: wake.features,
      noiseDb: Math.max(-120, Math.min(0, wake.noiseDb)),
      previous: signs ? step.state.reporting.wakeLink : undefined,
      pipeline: wake.pipeline,
    })
    step.enqueue('wake', message)
    if (signs) step.change('reporting', { wakeLink: wakeLink(message) })
  })
}
