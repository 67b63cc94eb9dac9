import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { LRUCache } from 'lru-cache'
import { sha256Hex } from '../contract/bytes.ts'
import type { LadderLevel } from '../contract/ladder-levels.ts'
import { type BundleManifest, graphSection, type LadderStep } from '../contract/manifest.ts'
import { present } from '../contract/present.ts'
import { ok } from '../contract/result.ts'
import { type Heard, type HeardWake, type InferenceRun, zeroBins } from '../device/core/listen/heard.ts'
import { createListener } from '../device/core/listen/listener.ts'
import { addTrouble, NO_TROUBLE } from '../device/core/listen/microphone.ts'
import type { EngineInput, EngineSession } from '../model/engine/engine.ts'
import { featureShape } from '../model/features/feature-definition.ts'
import type { OpenedBundle } from '../model/opened-bundle.ts'
import { type SensedTake, type Senses, TAKE_MS } from './take.ts'

/** Chosen: sensed takes that are kept, 25 MB of three axes at 3 200 Hz; those that are heard with what went before them come again and again. */
const SENSED_MAX = 64

/** What one graph heard at one ladder level. */
export interface Memory<T extends SensedTake> {
  readonly bundle: OpenedBundle
  readonly level: LadderLevel
  readonly heard: Map<T, Heard>
  readonly pending: Map<T, Promise<Heard>>
}

/** What the shipping listener hears in a take. Inference is real; because it is deterministic, the result is remembered for
 *  (model, level, take) and shared by all devices that hear the same. */
export class Hearing<T extends SensedTake> {
  readonly #senses: Senses<T>
  readonly #sensed = new LRUCache<T, Float32Array>({ max: SENSED_MAX })
  readonly #memories = new Map<string, Memory<T>>()
  /** fingerprints by level, by bundle */
  readonly #fingerprints = new WeakMap<OpenedBundle, Map<LadderLevel, string>>()
  /** posteriors by window, by graph; at most the windows of all takes of all pools, since nothing else is ever listened to */
  readonly #posteriors = new Map<string, Map<string, Float32Array>>()
  #inferred = 0

  constructor(senses: Senses<T>) {
    this.#senses = senses
  }

  /** What a take is as input, without what stands before it. */
  sense(take: T): Float32Array {
    const sensed = this.#sensed.get(take) ?? this.#senses.render(take).subarray(this.#senses.leadValues)
    this.#sensed.set(take, sensed)
    return sensed
  }

  /** windows inferred for real so far */
  get inferred(): number {
    return this.#inferred
  }

  /** What is remembered for a model at a level; empty for one that nobody ran yet. Looked up once a turn, not once a take. */
  memoryOf(bundle: OpenedBundle, level: LadderLevel): Memory<T> {
    const key = this.#fingerprint(bundle, level)
    const memory = this.#memories.get(key) ?? { bundle, level, heard: new Map(), pending: new Map() }
    this.#memories.set(key, memory)
    return memory
  }

  /** The outcome of a take, at once if it is known. */
  recall({ level, heard }: Memory<T>, take: T): Heard | undefined {
    return level === 'hibernate' ? HIBERNATED : heard.get(take)
  }

  /** The outcome of a take; listens to it if nobody has. */
  async hear(memory: Memory<T>, take: T): Promise<Heard> {
    const known = this.recall(memory, take)
    if (known !== undefined) return known
    const pending = memory.pending.get(take) ?? this.#listen(memory.bundle, memory.level, take)
    memory.pending.set(take, pending)
    const heard = await pending
    memory.pending.delete(take)
    memory.heard.set(take, heard)
    return heard
  }

  /** A session that infers each distinct window once: the gated level then costs nothing where the full level has been. */
  #remembering(graph: string, session: EngineSession): EngineSession {
    // A graph that remembers answers the same window otherwise the next time.
    if (session.reset !== undefined) return session
    const known = this.#posteriors.get(graph) ?? new Map<string, Float32Array>()
    this.#posteriors.set(graph, known)
    return {
      input: session.input,
      output: session.output,
      // A session is an object of a class: a spread of it would have no methods.
      dispose: () => session.dispose(),
      run: async (window) => {
        const key = windowKey(window)
        const found = known.get(key)
        if (found !== undefined) return ok(found)
        const result = await session.run(window)
        if (result.ok) known.set(key, result.value)
        this.#inferred++
        return result
      },
    }
  }

  #fingerprint(bundle: OpenedBundle, level: LadderLevel): string {
    const known = this.#fingerprints.get(bundle) ?? new Map<LadderLevel, string>()
    this.#fingerprints.set(bundle, known)
    const fingerprint = known.get(level) ?? fingerprintOf(bundle, level)
    known.set(level, fingerprint)
    return fingerprint
  }

  async #listen(bundle: OpenedBundle, level: LadderLevel, take: T): Promise<Heard> {
    const { manifest, definition, definitions } = bundle
    const step = present(levelOf(manifest, level), `the level ${level}`)
    const { leadValues, valuesPerSecond } = this.#senses
    const sensed = this.#senses.render(take)
    const sessions = new Map(
      [...bundle.sessions].map(([id, session]) => [id, this.#remembering(networkOf(bundle, id), session)]),
    )
    const listener = createListener({ manifest, definitions, step, sessions })
    const { strideSamples, windowSamples } = featureShape(definition)
    // One of the pipelines says how the lead-in ends; the others hear the same sound.
    const hopSamples = (step.runs.find((run) => run !== null)?.hopFrames ?? 1) * strideSamples
    const sparse = hopSamples > windowSamples
    // The lead-in fills the first window but one hop: the take then holds exactly its own hops.
    const lead = sparse ? 0 : windowSamples - hopSamples
    const samples = sensed.subarray(leadValues - lead)
    const heard = await listener.listen(samples)
    if (!heard.ok) throw new Error(`${heard.error.code}: ${heard.error.detail}`)
    const leadMs = (lead * 1000) / valuesPerSecond
    return {
      ...heard.value,
      listeningMs: sparse ? heard.value.listeningMs : TAKE_MS,
      elapsedMs: TAKE_MS,
      inferenceRuns: (heard.value.inferenceRuns ?? []).map((run) => ({
        ...run,
        fromMs: Math.max(0, run.fromMs - leadMs),
      })),
      wakes: heard.value.wakes.map((wake) => ({ ...wake, atMs: Math.max(0, wake.atMs - leadMs) })),
    }
  }
}

const windowKey = (window: EngineInput): string =>
  createHash('sha256')
    .update(new Uint8Array(window.buffer, window.byteOffset, window.byteLength))
    .digest('base64')

/** What decides what a graph answers: its network and what is said of its ends, and not the bundle, so that bundles which carry the same lite graph
 *  share what it hears. */
function networkOf({ manifest, sections }: OpenedBundle, id: string): string {
  const graph = manifest.graphs.find((claim) => claim.id === id)
  const file = sha256Hex(present(sections.get(graphSection(id)), 'the section of the graph'))
  return JSON.stringify([file, graph?.input ?? null, graph?.output ?? null, graph?.ends ?? null])
}

/** What decides what is heard at a level, hashed: networks, front ends, gates, hops, heads and labels. A graph's id means nothing beyond its
 *  bundle, and the signals that a pipeline declares are counted beside. */
function fingerprintOf(bundle: OpenedBundle, level: LadderLevel): string {
  const { manifest } = bundle
  const step = levelOf(manifest, level)
  // A hibernating device runs no graph.
  if (step === undefined || step.runs.every((run) => run === null)) return level
  const running = step.runs.map((run, pipeline) => {
    if (run === null) return null
    const { features, featureQuantization, links, head, signals } = present(manifest.pipelines[pipeline], 'a pipeline')
    const networks = run.graphs.map((id) => networkOf(bundle, id))
    return [networks, run.hopFrames, run.gate, canonicalize(features), featureQuantization, links, head, signals]
  })
  return JSON.stringify([level, running])
}

/** A level of a bundle's ladder; undefined: it has none of that name. */
export const levelOf = (manifest: BundleManifest, level: LadderLevel): LadderStep | undefined =>
  manifest.ladder.find((candidate) => candidate.level === level)

const HIBERNATED: Heard = {
  listeningMs: 0,
  elapsedMs: TAKE_MS,
  windows: 0,
  openWindows: 0,
  inferences: 0,
  gateOpenings: 0,
  overruns: 0,
  wakes: [],
  posteriorBins: zeroBins(),
  noiseBins: zeroBins(),
}

/** Whether what a level's heads say of a take depends on the takes before it: a score or a measured number is a mean of a state that lasts, and an
 *  alarm is told once for as long as it does. Words are heard take by take. */
export function hasLastingState({ manifest }: OpenedBundle, level: LadderLevel): boolean {
  const runs = levelOf(manifest, level)?.runs ?? []
  return manifest.pipelines.some(
    ({ head }, pipeline) => runs[pipeline] != null && (head.kind === 'anomaly' || head.kind === 'regression'),
  )
}

/** Adds up takes that follow each other. */
export function joinHeard(takes: readonly Heard[]): Heard {
  const sum = { listeningMs: 0, elapsedMs: 0, windows: 0, openWindows: 0, inferences: 0, gateOpenings: 0, overruns: 0 }
  const wakes: HeardWake[] = []
  const inferenceRuns: InferenceRun[] = []
  let microphone = NO_TROUBLE
  const posteriorBins = zeroBins()
  const noiseBins = zeroBins()
  const signals = (takes[0]?.signals ?? []).map((_, i) =>
    takes.reduce((all, take) => all + (take.signals?.[i] ?? 0), 0),
  )
  const readings = takes.at(-1)?.readings
  for (const take of takes) {
    for (const run of take.inferenceRuns ?? []) inferenceRuns.push({ ...run, fromMs: run.fromMs + sum.elapsedMs })
    if (take.microphone !== undefined) microphone = addTrouble(microphone, take.microphone)
    for (const wake of take.wakes) wakes.push({ ...wake, atMs: wake.atMs + sum.elapsedMs })
    for (let i = 0; i < posteriorBins.length; i++) {
      posteriorBins[i]! += take.posteriorBins[i]!
      noiseBins[i]! += take.noiseBins[i]!
    }
    for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += take[name]
  }
  return {
    ...{ ...sum, inferenceRuns, wakes, posteriorBins, noiseBins, microphone },
    ...(signals.length > 0 && { signals }),
    ...(readings !== undefined && { readings }),
  }
}
