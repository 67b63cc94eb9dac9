import type { Clock } from '../../../contract/clock.ts'
import type { BundleManifest, LadderStep } from '../../../contract/manifest.ts'
import { ok, type Result } from '../../../contract/result.ts'
import type { EngineError, EngineSession } from '../../../model/engine/engine.ts'
import {
  createFeatureStream,
  type FeatureDefinition,
  featureShape,
} from '../../../model/features/feature-definition.ts'
import { quantizeFeatures } from '../../../model/features/quantize.ts'
import { createDetector } from './detector.ts'
import { type Heard, type HeardWake, noiseBin, posteriorBin, zeroBins } from './heard.ts'
import { addTrouble, createMicrophoneMeter, NO_TROUBLE } from './microphone.ts'
import { createVoiceGate, dbfs } from './voice-gate.ts'

/** Chosen where a level names no gate of its own: the gate is still run, so that the governor knows what gating would save. */
const DEFAULT_GATE = { marginDb: 6, hangoverMs: 1_000 }

export interface ListenerOptions {
  readonly manifest: BundleManifest
  /** the manifest's definition, checked by `checkFeatureDefinition` */
  readonly definition: FeatureDefinition
  readonly step: LadderStep
  /** engine session of `step.graph` */
  readonly session: EngineSession
  /** for audio that does not wait: windows that come due while an inference before them has taken too long are dropped and counted as
   *  overruns, and the time that inferences take is measured. Without it every window is inferred, however long that takes: files and
   *  simulations wait. */
  readonly clock?: Clock
}

/** Streaming keyword detection at one ladder level: front end, voice-activity gate, network, smoothing, wake policy. */
export interface Listener {
  /** Listens to a stretch of audio; state carries over to the next stretch.
   *  @param samples mono at the definition's rate, in [-1, 1)
   *  @param onWake told of each wake as soon as it is known
   *  @returns what was heard, or the engine's error */
  listen(samples: Float32Array, onWake?: (wake: HeardWake) => void): Promise<Result<Heard, EngineError>>
}

/** The agent's one detection path: on a device, in the simulator, and where the zoo scores streams. */
export function createListener({ manifest, definition, step, session, clock }: ListenerOptions): Listener {
  const { elements: length, sampleRateHz, windowSamples, strideSamples } = featureShape(definition)
  const features = new Float32Array(length)
  const quantized = new Int8Array(length)
  const gate = createVoiceGate(
    step.gate?.marginDb ?? DEFAULT_GATE.marginDb,
    step.gate?.hangoverMs ?? DEFAULT_GATE.hangoverMs,
  )
  const windowMs = (1000 * windowSamples) / sampleRateHz
  const hopMs = (1000 * step.hopFrames * strideSamples) / sampleRateHz
  // A hop longer than the window means the device sleeps between windows: only the window is listened to.
  const sparse = hopMs > windowMs
  // Sparse windows are seconds apart: a mean over several would be about different sounds.
  const policy = sparse ? { ...manifest.policy, smoothingWindows: 1 } : manifest.policy
  const detector = createDetector(policy, manifest.labels)
  const stream = createFeatureStream(definition, step.hopFrames)
  const meter = createMicrophoneMeter()
  /** A graph that remembers has heard something else before, or not all of it. */
  let isStale = true
  /** how far inference is behind the audio, ms */
  let behindMs = 0
  // By position and not by window, so that a stretch that ends within a window counts its part of it.
  const listenedMs = (samples: number): number => {
    const { hopSamples } = stream
    const listened = sparse
      ? Math.floor(samples / hopSamples) * windowSamples + Math.min(samples % hopSamples, windowSamples)
      : samples
    return (listened * 1000) / sampleRateHz
  }

  return {
    async listen(samples, onWake) {
      const posteriorBins = zeroBins()
      const noiseBins = zeroBins()
      const wakes: HeardWake[] = []
      const openingsBefore = gate.openings()
      const startSamples = stream.samplesTaken()
      let windows = 0
      let openWindows = 0
      let inferences = 0
      let overruns = 0
      let microphone = NO_TROUBLE
      const runs: { fromMs: number; count: number }[] = []
      let inferenceMs = 0
      for (let at = 0; at < samples.length; ) {
        const taken = stream.push(samples, at)
        meter.take(samples, at, at + taken)
        at += taken
        if (!stream.windowReady()) continue
        windows++
        microphone = addTrouble(microphone, meter.judge(hopMs))
        const open = gate.update(dbfs(sparse ? stream.windowRms() : stream.hopRms()), hopMs)
        if (open) openWindows++
        const noiseDb = Math.round(gate.floorDb())
        const bin = noiseBin(noiseDb)
        noiseBins[bin] = noiseBins[bin]! + 1
        if (step.gate !== null && !open) {
          stream.skipWindow()
          isStale = true
          detector.reset()
          continue
        }
        if (behindMs >= hopMs) {
          behindMs -= hopMs
          overruns++
          stream.skipWindow()
          isStale = true
          continue
        }
        stream.takeWindow(features)
        if (isStale) session.reset?.()
        isStale = false
        inferences++
        const atMs = ((stream.samplesTaken() - startSamples) * 1000) / sampleRateHz
        const run = runs.at(-1)
        // Half a hop, since times are fractions.
        if (run !== undefined && Math.abs(run.fromMs + run.count * hopMs - atMs) < hopMs / 2) run.count++
        else runs.push({ fromMs: atMs, count: 1 })
        const fromMs = clock?.monotonicMs() ?? 0
        const posteriors = await session.run(features)
        if (clock !== undefined) {
          const tookMs = clock.monotonicMs() - fromMs
          inferenceMs += tookMs
          behindMs = Math.max(0, behindMs + tookMs - hopMs)
        }
        if (!posteriors.ok) return posteriors
        const label = detector.update(posteriors.value, (stream.samplesTaken() * 1000) / sampleRateHz)
        const posteriorPermille = Math.round(detector.bestPosterior() * 1000)
        const best = posteriorBin(posteriorPermille)
        posteriorBins[best] = posteriorBins[best]! + 1
        if (label < 0) continue
        quantizeFeatures(features, manifest.featureQuantization, quantized)
        const wake = { atMs, label, posteriorPermille, features: new Uint8Array(quantized), noiseDb }
        wakes.push(wake)
        onWake?.(wake)
      }
      const elapsedMs = (samples.length * 1000) / sampleRateHz
      return ok({
        listeningMs: listenedMs(startSamples + samples.length) - listenedMs(startSamples),
        elapsedMs,
        windows,
        openWindows,
        inferences,
        inferenceRuns: runs,
        gateOpenings: gate.openings() - openingsBefore,
        overruns,
        wakes,
        posteriorBins,
        noiseBins,
        microphone,
        inferenceMs: clock && inferenceMs,
      })
    },
  }
}
