import { LADDER_LEVELS, wakeCodec } from '../../../contract/messages.ts'
import { addBins, type Heard } from '../listen/heard.ts'
import { activeMsOf, addEnergy, listeningEnergy, macsOf } from '../power/energy.ts'
import { HIBERNATE, observeListening } from '../power/governor.ts'
import type { Step } from './agent-step.ts'
import type { Measures } from './measures.ts'

/** Adds a stretch of listening to what this boot has measured, and sends its wakes. */
export function heard(step: Step, stretch: Heard): void {
  const { config, governor, manifest, update } = step.state
  const level = LADDER_LEVELS[governor.level]
  const ladderStep = manifest.ladder.find((candidate) => candidate.level === level)
  const macs = ladderStep === undefined ? 0 : macsOf(manifest, ladderStep)
  const wakes = stretch.wakes.length
  const { state } = step
  const { counters, energy, levelMs, posteriorBins, noiseBins, inferenceMs } = state.measures
  const firstWake = counters.wakes
  const activeMs = activeMsOf(config.board, macs, stretch.inferences, wakes, manifest.policy.wakeHoldMs)
  const measures: Measures = {
    energy: addEnergy(energy, listeningEnergy(config.board, macs, stretch)),
    levelMs: levelMs.map((ms, i) => (i === governor.level ? ms + stretch.elapsedMs : ms)),
    posteriorBins: addBins(posteriorBins, stretch.posteriorBins),
    noiseBins: addBins(noiseBins, stretch.noiseBins),
    inferenceMs: stretch.inferenceMs === undefined ? inferenceMs : (inferenceMs ?? 0) + stretch.inferenceMs,
    // Written out: see copyState.
    counters: {
      listeningMs: counters.listeningMs + stretch.listeningMs,
      windows: counters.windows + stretch.windows,
      inferences: counters.inferences + stretch.inferences,
      wakes: counters.wakes + wakes,
      gateOpenings: counters.gateOpenings + stretch.gateOpenings,
      overruns: counters.overruns + stretch.overruns,
      activeMs: counters.activeMs + activeMs,
      spoolDrops: counters.spoolDrops,
      radioRxBytes: counters.radioRxBytes,
      radioTxBytes: counters.radioTxBytes,
      installsStarted: counters.installsStarted,
      installsConfirmed: counters.installsConfirmed,
      installsFailed: counters.installsFailed,
      ladderMoves: counters.ladderMoves,
    },
  }
  step.set({ measures, governor: observeListening(governor, stretch) })
  stretch.wakes.forEach((wake, i) => {
    step.effect({ type: 'tell-wake', wake })
    step.enqueue(
      'wake',
      wakeCodec.encode({
        incarnation: step.state.record.incarnation,
        boot: step.state.record.boots,
        index: firstWake + i + 1,
        // Of the wake and not of the stretch's end: it belongs to the hour in which it was heard.
        uptimeMs: Math.max(0, step.uptimeMs - Math.round(Math.max(0, stretch.elapsedMs - wake.atMs))),
        wallMs: step.now.wallMs,
        model: step.state.model,
        label: wake.label,
        posteriorPermille: wake.posteriorPermille,
        level: governor.level,
        features: wake.features,
        noiseDb: Math.max(-120, Math.min(0, wake.noiseDb)),
      }),
    )
  })
  if (update.phase === 'trial') {
    step.set({ update: { ...update, windowsHeard: update.windowsHeard + stretch.windows } })
    if (governor.level === HIBERNATE) {
      // A hibernating device hears nothing; it must not fail a trial for that.
      step.set({ update: { ...update, windowsHeard: Number.POSITIVE_INFINITY } })
    }
  }
}
