import type { Clock } from '../../../contract/clock.ts'
import { LIMITS } from '../../../contract/limits.ts'
import type { BundleManifest, LadderStep } from '../../../contract/manifest.ts'
import { present } from '../../../contract/present.ts'
import { err, ok, type Result } from '../../../contract/result.ts'
import type { EngineError, EngineSession } from '../../../model/engine/engine.ts'
import {
  createFeatureStream,
  type FeatureDefinition,
  featureShape,
} from '../../../model/features/feature-definition.ts'
import type { FeatureStream } from '../../../model/features/feature-stream.ts'
import { quantizeFeatures } from '../../../model/features/quantize.ts'
import { type Chain, createChain } from '../../../model/pipeline/chain.ts'
import { type PlanBranch, type PlanGroup, planLevel } from '../../../model/pipeline/level-plan.ts'
import { createHead, type HeadRunner } from './heads.ts'
import { type Heard, type HeardWake, noiseBin, posteriorBin, type Reading, zeroBins } from './heard.ts'
import { addTrouble, createMicrophoneMeter, NO_TROUBLE } from './microphone.ts'
import { pipelineSignals } from './pipeline-signals.ts'
import { createVoiceGate, dbfs, type VoiceGate } from './voice-gate.ts'

/** Chosen where a level names no gate of its own: the gate is still run, so that the governor knows what gating would save. */
const DEFAULT_GATE = { marginDb: 6, hangoverMs: 1_000 }

/** In place of a window that no message can carry. */
const NO_FEATURES = Uint8Array.of(0)

export interface ListenerOptions {
  readonly manifest: BundleManifest
  /** of each pipeline, checked by `checkFeatureDefinition` */
  readonly definitions: readonly FeatureDefinition[]
  readonly step: LadderStep
  /** engine sessions by graph id; those that the level names are there */
  readonly sessions: ReadonlyMap<string, EngineSession>
  /** for input that does not wait: windows that come due while an inference before them has taken too long are dropped and counted as
   *  overruns, and the time that inferences take is measured. Without it every window is inferred, however long that takes: files and
   *  simulations wait. */
  readonly clock?: Clock
}

/** Streaming detection at one ladder level: front ends, gates, graphs, heads. */
export interface Listener {
  /** Listens to a stretch of input; state carries over to the next stretch.
   *  @param samples of the bundle's input: mono sound in [-1, 1), vector after vector, or picture after picture
   *  @param onWake told of each wake as soon as it is known
   *  @returns what was heard, or the engine's error */
  listen(samples: Float32Array, onWake?: (wake: HeardWake) => void): Promise<Result<Heard, EngineError>>
}

/** Pipelines behind one gate, with what they remember. */
interface Branch extends PlanBranch {
  readonly voiceGate: VoiceGate
  readonly chain: Chain
  readonly heads: ReadonlyMap<number, HeadRunner>
  /** Graphs and buffers have heard something else before, or not all of it. */
  isStale: boolean
  /** inferences that follow each other, in the present stretch */
  run: Run | undefined
}

interface Run {
  readonly fromMs: number
  count: number
  readonly hopMs: number
  readonly macs: number
}

/** Pipelines of one front end. */
interface Group extends PlanGroup {
  readonly stream: FeatureStream
  readonly features: PlanGroup['features']
  readonly window: Float32Array
  readonly branches: readonly Branch[]
  readonly sparse: boolean
  readonly windowSamples: number
  /** where in the stretch it has got to */
  at: number
  startSamples: number
}

/** Sums of one stretch while it is listened to. */
interface Tally {
  windows: number
  openWindows: number
  inferences: number
  overruns: number
  inferenceMs: number
  microphone: typeof NO_TROUBLE
  readonly posteriorBins: number[]
  readonly noiseBins: number[]
  readonly signals: number[]
  readonly wakes: HeardWake[]
  readonly runs: Run[]
  readonly readings: Map<number, Reading>
  readonly onWake: ((wake: HeardWake) => void) | undefined
}

/** The agent's one detection path: on a device, in the simulator, and where the zoo scores streams. */
export function createListener({ manifest, definitions, step, sessions, clock }: ListenerOptions): Listener {
  const groups = planLevel(manifest, step).map((plan): Group => {
    const definition = present(definitions[plan.pipeline], 'a front end')
    const { elements, windowSamples } = featureShape(definition)
    // A hop longer than the window means the device sleeps between windows: only the window is listened to.
    const sparse = plan.hopMs > plan.windowMs
    return {
      ...{ ...plan, sparse, windowSamples, at: 0, startSamples: 0 },
      stream: createFeatureStream(definition, plan.hopFrames, manifest.input.kind),
      window: new Float32Array(elements),
      branches: plan.branches.map((branch) => ({
        ...{ ...branch, isStale: true, run: undefined },
        voiceGate: createVoiceGate(
          branch.gate?.marginDb ?? DEFAULT_GATE.marginDb,
          branch.gate?.hangoverMs ?? DEFAULT_GATE.hangoverMs,
        ),
        chain: createChain(branch.roots, sessions),
        heads: new Map(
          branch.pipelines.map((pipeline) => [
            pipeline,
            // Sparse windows are seconds apart: a mean over several would be about different events.
            createHead(present(manifest.pipelines[pipeline], 'a pipeline').head, !sparse),
          ]),
        ),
      })),
    }
  })
  const [first] = groups
  const sampleRateHz =
    first === undefined ? 1 : featureShape(present(definitions[first.pipeline], 'a front end')).sampleRateHz
  const signals = pipelineSignals(manifest)
  const hears = manifest.input.kind === 'audio'
  const meter = createMicrophoneMeter()
  /** how far inference is behind the input, ms, and up to which time of the input that is so */
  let behindMs = 0
  let caughtUpMs = 0
  const openings = (): number =>
    groups.reduce(
      (sum, { branches }) => sum + branches.reduce((all, { voiceGate }) => all + voiceGate.openings(), 0),
      0,
    )
  const msOf = (samples: number): number => (samples * 1000) / sampleRateHz

  /** Takes a due window through what wants it. */
  const hearWindow = async (group: Group, tally: Tally): Promise<EngineError | undefined> => {
    const { stream, hopMs, sparse } = group
    const levelDb = dbfs(sparse ? stream.windowRms() : stream.hopRms())
    const wanted: { readonly branch: Branch; readonly noiseDb: number }[] = []
    for (const branch of group.branches) {
      tally.windows++
      const open = branch.voiceGate.update(levelDb, hopMs)
      if (open) tally.openWindows++
      const noiseDb = Math.round(branch.voiceGate.floorDb())
      const bin = noiseBin(noiseDb)
      tally.noiseBins[bin] = tally.noiseBins[bin]! + 1
      if (branch.gate === null || open) wanted.push({ branch, noiseDb })
      else forget(branch)
    }
    if (wanted.length === 0) {
      stream.skipWindow()
      return undefined
    }
    const atMs = msOf(stream.samplesTaken())
    behindMs = Math.max(0, behindMs - Math.max(0, atMs - caughtUpMs))
    caughtUpMs = Math.max(caughtUpMs, atMs)
    if (behindMs >= hopMs) {
      stream.skipWindow()
      for (const { branch } of wanted) {
        tally.overruns++
        branch.isStale = true
      }
      return undefined
    }
    stream.takeWindow(group.window)
    for (const { branch, noiseDb } of wanted) {
      const error = await infer(group, branch, noiseDb, tally)
      if (error !== undefined) return error
    }
    return undefined
  }

  const infer = async (
    { stream, startSamples, window, hopMs }: Group,
    branch: Branch,
    noiseDb: number,
    tally: Tally,
  ): Promise<EngineError | undefined> => {
    if (branch.isStale) branch.chain.reset()
    branch.isStale = false
    tally.inferences++
    const atMs = msOf(stream.samplesTaken() - startSamples)
    const { run } = branch
    // Half a hop, since times are fractions.
    if (run !== undefined && Math.abs(run.fromMs + run.count * hopMs - atMs) < hopMs / 2) run.count++
    else {
      branch.run = { fromMs: atMs, count: 1, hopMs, macs: branch.macs }
      tally.runs.push(branch.run)
    }
    const fromMs = clock?.monotonicMs() ?? 0
    const results = await branch.chain.run(window)
    if (clock !== undefined) {
      const tookMs = clock.monotonicMs() - fromMs
      tally.inferenceMs += tookMs
      behindMs += tookMs
    }
    if (!results.ok) return results.error
    for (const { pipelines, output, input } of results.value) {
      for (const pipeline of pipelines) {
        const { id, head, featureQuantization } = present(manifest.pipelines[pipeline], 'a pipeline')
        const judged = branch.heads.get(pipeline)?.judge(output, input, msOf(stream.samplesTaken()))
        if (judged === undefined)
          return { code: 'engine-run-failed', detail: `pipeline "${id}": its graph gives no number` }
        const { event, permille, values, reading } = judged
        signals.addWindow(tally.signals, pipeline, values)
        if (reading !== undefined) tally.readings.set(pipeline, { pipeline, ...reading })
        if (head.kind === 'wake') {
          const best = posteriorBin(permille)
          tally.posteriorBins[best] = tally.posteriorBins[best]! + 1
        }
        if (event < 0) continue
        const wake: HeardWake = {
          ...{ atMs, label: event, posteriorPermille: permille, noiseDb },
          features: featuresOf(window, featureQuantization),
          ...(pipeline > 0 && { pipeline }),
        }
        tally.wakes.push(wake)
        tally.onWake?.(wake)
      }
    }
    return undefined
  }

  return {
    async listen(samples, onWake) {
      // Written out, as what is returned: an object put together from others takes as long as the front end.
      const tally: Tally = {
        windows: 0,
        openWindows: 0,
        inferences: 0,
        overruns: 0,
        inferenceMs: 0,
        microphone: NO_TROUBLE,
        posteriorBins: zeroBins(),
        noiseBins: zeroBins(),
        signals: new Array<number>(signals.length).fill(0),
        wakes: [],
        runs: [],
        readings: new Map(),
        onWake,
      }
      const openingsBefore = openings()
      for (const group of groups) {
        group.at = 0
        group.startSamples = group.stream.samplesTaken()
        for (const branch of group.branches) branch.run = undefined
      }
      for (let group = behindMost(groups, samples.length); group !== undefined; ) {
        const taken = group.stream.push(samples, group.at)
        // The microphone is one, whoever hears it; what is no sound may well stand still.
        if (group === first && hears) meter.take(samples, group.at, group.at + taken)
        group.at += taken
        if (group.stream.windowReady()) {
          if (group === first && hears) tally.microphone = addTrouble(tally.microphone, meter.judge(group.hopMs))
          const error = await hearWindow(group, tally)
          if (error !== undefined) return err(error)
        }
        group = behindMost(groups, samples.length)
      }
      const listened = groups.map((group) => listenedMs(group, samples.length, sampleRateHz))
      return ok({
        listeningMs: Math.max(0, ...listened),
        elapsedMs: msOf(samples.length),
        windows: tally.windows,
        openWindows: tally.openWindows,
        inferences: tally.inferences,
        inferenceRuns: tally.runs,
        gateOpenings: openings() - openingsBefore,
        overruns: tally.overruns,
        // Front ends of several hops are heard in turns.
        wakes: groups.length > 1 ? tally.wakes.sort((a, b) => a.atMs - b.atMs) : tally.wakes,
        posteriorBins: tally.posteriorBins,
        noiseBins: tally.noiseBins,
        microphone: tally.microphone,
        inferenceMs: clock && tally.inferenceMs,
        signals: signals.length > 0 ? tally.signals : undefined,
        readings: tally.readings.size > 0 ? [...tally.readings.values()] : undefined,
      })
    },
  }
}

function forget(branch: Branch): void {
  branch.isStale = true
  for (const head of branch.heads.values()) head.reset()
}

/** The group that has got least far in a stretch; undefined when all have got through. */
function behindMost(groups: readonly Group[], length: number): Group | undefined {
  let least: Group | undefined
  for (const group of groups) if (group.at < length && group.at < (least?.at ?? length)) least = group
  return least
}

/** By position and not by window, so that a stretch that ends within a window counts its part of it. */
function listenedMs(
  { stream, sparse, windowSamples, startSamples }: Group,
  taken: number,
  sampleRateHz: number,
): number {
  const { hopSamples } = stream
  const before = (samples: number): number =>
    sparse ? Math.floor(samples / hopSamples) * windowSamples + Math.min(samples % hopSamples, windowSamples) : samples
  return ((before(startSamples + taken) - before(startSamples)) * 1000) / sampleRateHz
}

function featuresOf(
  window: Float32Array,
  quantization: { readonly scale: number; readonly zeroPoint: number },
): Uint8Array {
  if (window.length > LIMITS.featureBytes) return NO_FEATURES.slice()
  return new Uint8Array(quantizeFeatures(window, quantization, new Int8Array(window.length)))
}
