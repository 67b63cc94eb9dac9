import { readFileSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { sha256Hex } from '../../contract/bytes.ts'
import { defaultSignals, type Head } from '../../contract/head.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { BundleInput, Pipeline, PipelineLink, PipelineManifest } from '../../contract/manifest-v2.ts'
import { present } from '../../contract/present.ts'
import type { EngineSession } from '../../model/engine/engine.ts'
import {
  checkFeatureDefinition,
  type FeatureDefinition,
  featureShape,
} from '../../model/features/feature-definition.ts'
import { mfccDefinitionHighPass, mfccDefinitionV1 } from '../../model/features/mfcc-definition.ts'
import { quantizeFeatures } from '../../model/features/quantize.ts'
import { describeGraph, readGraph } from '../../model/graph-file.ts'
import { graphIo, graphNeeds, openBundle } from '../../model/opened-bundle.ts'
import { type Packed, type PackPipelines, packPipelines } from '../../model/pack.ts'
import { hasTfliteIdentifier } from '../../model/tflite/tflite-reader.ts'
import { AudioNotes } from '../audio-notes.ts'
import { bundleEngine } from '../engines.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { readBundleFile } from '../open-bundle-file.ts'
import { endsOf } from './graph-ends.ts'
import { evidenceLines, measureLevels } from './level-evidence.ts'
import { cardText } from './model-card.ts'
import { type OpenedSpec, parseSpec } from './pack-spec.ts'
import { type GraphSpec, HEADS, type PipelineFile, type PipelineSpec, pipelineFileSchema } from './pipeline-spec.ts'
import { quantizationOf, windowsInRow } from './pipeline-windows.ts'

type Claim = PackPipelines['manifest']['graphs'][number]
type Fail = OpenedSpec['failure']
type Field = readonly (string | number)[]

/** MLPerf Tiny's window each 200 ms. */
const MFCC_HOP_FRAMES = 10
/** Chosen: as many results as a golden run has at least, so that what is carried from one to the next is in it. */
const GOLDEN_RESULTS = 3
/** Chosen: what builds of ONNX Runtime differ by in float networks of this size; TFLite graphs give the same bytes everywhere. */
const ONNX_TOLERANCE = 1e-3

/** Packs a bundle of pipelines. The same inputs give the same bytes. */
export async function packPipelineFile(
  specPath: string,
  opened: OpenedSpec,
  highPass: boolean,
): Promise<{ readonly packed: Packed; readonly notes: readonly string[] }> {
  const spec = parseSpec(pipelineFileSchema, opened)
  const { failure } = opened
  const here = dirname(specPath)
  const input = inputOf(spec)
  const graphs = new Graphs(here, failure)
  const notes = new AudioNotes()
  try {
    const definitions = spec.pipelines.map((pipeline, at) =>
      frontEndOf(pipeline, input, highPass, (what) => failure(['pipelines', at, 'features'], what)),
    )
    const rows: (readonly LoadedGraph[])[] = []
    for (const [at, pipeline] of spec.pipelines.entries()) {
      const field = ['pipelines', at, 'graphs']
      rows.push(await graphs.row(pipeline.graphs, present(definitions[at], 'a front end'), field))
    }
    const ladder = await ladderOf(spec, definitions, rows, graphs)
    const golden = goldenOf(spec, input, definitions, rows, notes, (audio) => resolve(here, audio))
    const pipelines = spec.pipelines.map((pipeline, at): Pipeline => {
      const head = headOf(pipeline)
      return {
        id: pipeline.id,
        features: { ...present(definitions[at], 'a front end') } as Pipeline['features'],
        featureQuantization: present(golden.quantizations[at], 'a quantization'),
        links: present(rows[at], 'a row of graphs')
          .slice(1)
          .map(({ link }) => link),
        head,
        signals: pipeline.signals ?? [...defaultSignals(head)],
      }
    })
    const onlyTflite = graphs.files().every(([, bytes]) => hasTfliteIdentifier(bytes))
    const { name, version, securityCounter, boards, parent, card } = spec
    const content: PackPipelines = {
      manifest: {
        ...{ name, version, securityCounter, boards, input, pipelines, ladder },
        parent: parent === null ? null : sha256Hex(readBundleFile(resolve(here, parent))),
        graphs: graphs.claims(),
        goldenTolerance: spec.golden.tolerance ?? (onlyTflite ? 0 : ONNX_TOLERANCE),
      },
      graphs: new Map(graphs.files()),
      goldenInputs: golden.inputs,
      goldenOf: golden.inputOf,
      card:
        card === undefined
          ? JSON.stringify({ name, version, pipelines: pipelines.map(({ id, head }) => ({ id, head })) })
          : cardText(resolve(here, card), graphs.read(card)),
    }
    const pack = async (levels: PipelineManifest['ladder']): Promise<Packed> => {
      const packed = await packPipelines(
        { ...content, manifest: { ...content.manifest, ladder: levels } },
        bundleEngine(),
      )
      if (!packed.ok) throw new CommandFailure(`${specPath}: ${packed.error.code}: ${packed.error.detail}`)
      return packed.value
    }
    const packed = await pack(ladder)
    if (spec.measure === undefined) return { packed, notes: notes.lines() }
    const measured = await withEvidence(packed, specPath, resolve(here, spec.measure))
    const lines = measured.flatMap((step) => evidenceLines(step, pipelines))
    return { packed: await pack(measured), notes: [...notes.lines(), ...lines] }
  } finally {
    await graphs.dispose()
  }
}

/** The ladder with what its levels were measured to do. */
async function withEvidence({ bundle }: Packed, path: string, dir: string): Promise<PipelineManifest['ladder']> {
  const opened = await openBundle(bundle, bundleEngine(), Number.POSITIVE_INFINITY)
  if (!opened.ok) throw new CommandFailure(`${path}: ${opened.error.code}: ${opened.error.detail}`)
  try {
    const measures = await measureLevels(opened.value, path, dir)
    return opened.value.manifest.ladder.map((step, at) => ({ ...step, measured: [...(measures[at] ?? [])] }))
  } finally {
    await opened.value.dispose()
  }
}

function inputOf({ input }: PipelineFile): BundleInput {
  if (input.vectors !== undefined) {
    return { kind: 'vectors', channels: input.vectors.channels, sampleRateHz: input.vectors.rate }
  }
  if (input.image !== undefined) return { kind: 'image', ...input.image }
  return { kind: 'audio', sampleRateHz: input.audio ?? 16_000 }
}

function frontEndOf(
  { features, window }: PipelineSpec,
  input: BundleInput,
  highPass: boolean,
  failure: (what: string) => CommandFailure,
): FeatureDefinition {
  const raw = (
    channels: number,
    sampleRateHz: number,
    length: number,
    every: number,
    lead: number,
    offset: number,
    gain: number,
  ) => ({
    ...{ kind: 'vector-windows', version: 1, channels, sampleRateHz },
    ...{ windowVectors: length, hopVectors: every, ...(lead > 0 && { leadVectors: lead }) },
    ...(gain === 1 && offset === 0
      ? { normalization: 'none' }
      : {
          normalization: 'fixed',
          offset: new Array<number>(channels).fill(offset),
          scale: new Array<number>(channels).fill(1 / gain),
        }),
  })
  const definition = (): unknown => {
    if (features !== undefined) return features
    if (input.kind === 'image') {
      const pixels = input.width * input.height
      const { offset = 0, gain = 1 } = window ?? {}
      return raw(input.channels, (pixels * 1000) / input.everyMs, pixels, pixels, 0, offset, gain)
    }
    if (window !== undefined) {
      const channels = input.kind === 'vectors' ? input.channels : 1
      return raw(channels, input.sampleRateHz, window.length, window.every, window.lead, window.offset, window.gain)
    }
    if (input.kind === 'audio') return mfccDefinitionV1
    throw failure('vectors need a front end: "window" with length and every, or "features"')
  }
  const { highPassHz } = mfccDefinitionHighPass
  const chosen = definition()
  const isMfcc = (chosen as { kind?: unknown }).kind === 'mfcc'
  if (highPass && !isMfcc) throw failure('--high-pass is of the MFCC front end; this pipeline has another')
  const checked = checkFeatureDefinition(highPass ? { ...(chosen as object), highPassHz } : chosen)
  if (checked.ok) return checked.value
  throw failure(`${checked.error.code}: ${checked.error.detail}`)
}

function headOf(pipeline: PipelineSpec): Head {
  const { wake, classification, anomaly, regression } = pipeline
  if (wake !== undefined) {
    const { labels, threshold, smoothingWindows, refractoryMs, wakeHoldMs, ignoreLabels } = wake
    const each = Array.isArray(threshold) ? threshold.map((value) => Math.round(1000 * value)) : null
    const thresholdPermille = each === null ? Math.round(1000 * Number(threshold)) : Math.min(...each)
    const policy = { smoothingWindows, thresholdPermille, refractoryMs, wakeHoldMs, ignoreLabels }
    return { kind: 'wake', labels, policy, cutoffs: each }
  }
  if (classification !== undefined) return { kind: 'classification', ...classification }
  if (anomaly !== undefined) return { kind: 'anomaly', ...anomaly, rearm: anomaly.rearm ?? 0.9 * anomaly.threshold }
  const { range, ...rest } = present(regression, `one of ${HEADS.join(', ')}`)
  return { kind: 'regression', ...rest, lowest: range[0], highest: range[1] }
}

async function ladderOf(
  { pipelines, ladder }: PipelineFile,
  definitions: readonly FeatureDefinition[],
  rows: readonly (readonly LoadedGraph[])[],
  graphs: Graphs,
): Promise<PipelineManifest['ladder']> {
  const levels: PipelineManifest['ladder'] = []
  for (const [number, { level, pipelines: changes }] of ladder.entries()) {
    const runs: PipelineManifest['ladder'][number]['runs'] = []
    for (const [at, pipeline] of pipelines.entries()) {
      const change = changes[pipeline.id] ?? {}
      if (change === 'off') {
        runs.push(null)
        continue
      }
      const definition = present(definitions[at], 'a front end')
      const own = present(rows[at], 'a row of graphs')
      const row =
        change.graphs === undefined
          ? own
          : await graphs.row(change.graphs, definition, ['ladder', number, 'pipelines', pipeline.id, 'graphs'], own)
      runs.push({
        graphs: row.map(({ id }) => id),
        hopFrames: change.hopFrames ?? pipeline.hopFrames ?? hopOf(definition),
        gate: change.gate === undefined ? pipeline.gate : change.gate,
      })
    }
    levels.push({ level, runs })
  }
  return levels
}

const hopOf = (definition: FeatureDefinition): number =>
  definition.kind === 'mfcc' ? MFCC_HOP_FRAMES : definition.kind === 'micro-frontend' ? definition.frames : 1

/** Golden windows, of each front end and pace once. */
function goldenOf(
  { golden, pipelines }: PipelineFile,
  input: BundleInput,
  definitions: readonly FeatureDefinition[],
  rows: readonly (readonly LoadedGraph[])[],
  notes: AudioNotes,
  pathOf: (audio: string) => string,
) {
  const audio = golden.audio === undefined ? undefined : pathOf(golden.audio)
  const hops = pipelines.map(({ hopFrames }, at) => hopFrames ?? hopOf(present(definitions[at], 'a front end')))
  const keys = definitions.map((definition, at) =>
    JSON.stringify([definition, hops[at], pipelines[at]?.featureQuantization ?? null]),
  )
  const distinct = [...new Set(keys)]
  const made = distinct.map((key) => {
    const at = keys.indexOf(key)
    const definition = present(definitions[at], 'a front end')
    const needed = Math.max(...rows.map((row, i) => (keys[i] === key ? windowsFor(row) : 0)))
    const count = Math.min(LIMITS.goldenVectors, golden.count ?? needed)
    const windows = windowsInRow(input, definition, hops[at] ?? 1, count, audio, notes)
    const quantization = pipelines[at]?.featureQuantization ?? quantizationOf(windows)
    const quantized = windows.map((window) => quantizeFeatures(window, quantization, new Int8Array(window.length)))
    return { quantization, quantized }
  })
  const inputOf = keys.map((key) => distinct.indexOf(key))
  return {
    inputs: made.map(({ quantized }) => quantized),
    inputOf,
    quantizations: inputOf.map((number) => made[number]?.quantization),
  }
}

/** Windows until a row of graphs has given some results. */
function windowsFor(row: readonly LoadedGraph[]): number {
  let runs = GOLDEN_RESULTS
  for (const { link } of [...row].reverse()) {
    if (link === null) continue
    const first = link.fill === null ? link.rows : Math.min(link.rows, link.step)
    runs = Math.ceil((first + (runs - 1) * link.step) / link.rowsPerRun)
  }
  return runs
}

interface LoadedGraph {
  readonly id: string
  readonly link: PipelineLink | null
}

/** The graphs of a pack file: read, named, loaded and joined. */
class Graphs {
  readonly #here: string
  readonly #failure: Fail
  readonly #loaded = new Map<
    string,
    { readonly claim: Claim; readonly bytes: Uint8Array; readonly session: EngineSession }
  >()

  constructor(here: string, failure: Fail) {
    this.#here = here
    this.#failure = failure
  }

  claims(): readonly Claim[] {
    return [...this.#loaded.values()].map(({ claim }) => claim)
  }

  files(): readonly (readonly [string, Uint8Array])[] {
    return [...this.#loaded].map(([id, { bytes }]) => [id, bytes])
  }

  async dispose(): Promise<void> {
    for (const { session } of this.#loaded.values()) await session.dispose()
  }

  read(file: string): Uint8Array {
    try {
      return readFileSync(resolve(this.#here, file))
    } catch (cause) {
      throw fileFailure(resolve(this.#here, file), cause)
    }
  }

  /** Loads graphs in a row, each with the window that the one before gives.
   *  @param as a row whose links they have to keep, since a pipeline has one set of them */
  async row(
    specs: readonly GraphSpec[],
    definition: FeatureDefinition,
    field: Field,
    as?: readonly LoadedGraph[],
  ): Promise<readonly LoadedGraph[]> {
    if (as !== undefined && as.length !== specs.length) {
      throw this.#failure(field, `${specs.length} graphs in a row, the pipeline has ${as.length}`)
    }
    const row: LoadedGraph[] = []
    let given = featureShape(definition).elements
    for (const [at, spec] of specs.entries()) {
      const where = [...field, at]
      if (at === 0 && spec.rows !== undefined) {
        throw this.#failure(where, 'rows are of what a graph before gives; of frames the front end takes "frames"')
      }
      const kept = as?.[at]?.link ?? null
      const bytes = this.read(spec.file)
      const id = spec.id ?? idOf(spec.file)
      const link = as === undefined ? this.#linkOf(spec, bytes, given, where) : kept
      const elements = link === null ? given : link.rows * link.rowValues
      const loaded = this.#loaded.get(id) ?? (await this.#load(id, spec, bytes, elements, definition, where))
      if (sha256Hex(loaded.bytes) !== sha256Hex(bytes)) {
        throw this.#failure(where, `two files would be graph "${id}": give one an "id" of its own`)
      }
      const { input, output } = loaded.session
      if (input.elements !== elements) {
        const giver =
          link !== null
            ? `the ${link.rows} rows before it have`
            : at === 0
              ? 'the front end gives'
              : 'the graph before gives'
        const hint = at > 0 && link === null ? '; "rows" says how many of them are its window' : ''
        throw this.#failure(
          where,
          `graph "${id}" takes ${input.elements} values ("${input.name}" [${input.dims.join(', ')}]), ${giver} ${given}${hint}`,
        )
      }
      row.push({ id, link })
      given = output.elements
    }
    return row
  }

  #linkOf(spec: GraphSpec, bytes: Uint8Array, given: number, where: Field): PipelineLink | null {
    const { rows, step, divisor, offset, fill } = spec
    if (rows === undefined) return null
    const graph = readGraph(bytes)
    if (!graph.ok) throw this.#failure(where, `${graph.error.code}: ${graph.error.detail}`)
    const { inputs } = describeGraph(graph.value)
    const window = spec.input === undefined ? inputs[0] : inputs.find(({ name }) => name === spec.input)
    const dims = spec.inputDims ?? window?.dims ?? []
    const elements = dims.reduce<number>((product, dim, axis) => product * (dim ?? (axis === 0 ? 1 : Number.NaN)), 1)
    const rowValues = elements / rows
    if (!Number.isInteger(rowValues)) {
      throw this.#failure(
        where,
        `its window [${dims.map((dim) => dim ?? '?').join(', ')}] is not ${rows} rows of one length`,
      )
    }
    const rowsPerRun = given / rowValues
    if (!Number.isInteger(rowsPerRun)) {
      throw this.#failure(where, `the graph before gives ${given} values a run, which are no rows of ${rowValues}`)
    }
    return { rowValues, rowsPerRun, rows, step: step ?? rowsPerRun, divisor, offset, fill }
  }

  async #load(
    id: string,
    spec: GraphSpec,
    bytes: Uint8Array,
    elements: number,
    definition: FeatureDefinition,
    where: Field,
  ) {
    const graph = readGraph(bytes)
    if (!graph.ok) throw this.#failure(where, `${graph.error.code}: ${graph.error.detail}`)
    const { inputs, outputs } = describeGraph(graph.value)
    const ends = endsOf(inputs, outputs, spec, elements, definition.sampleRateHz)
    if (!ends.ok) throw this.#failure(where, ends.error)
    const needs = graphNeeds(bytes)
    const { ramBytes, macs } = spec
    if (!needs.ok && (ramBytes === undefined || macs === undefined)) {
      throw this.#failure(
        where,
        `nobody can plan graph "${id}" (${needs.error.detail}): state "ramBytes" and "macs" that it may take, for the budgets of memory and energy`,
      )
    }
    const claim: Claim = {
      ...{ id, ends: ends.value, input: spec.inputQuantization, output: spec.outputQuantization },
      stated: needs.ok ? null : { ramBytes: ramBytes ?? 0, macs: macs ?? 0 },
    }
    const session = await bundleEngine().load(bytes, graphIo(claim))
    if (!session.ok) throw this.#failure(where, `graph "${id}": ${session.error.detail}`)
    const loaded = { claim, bytes, session: session.value }
    this.#loaded.set(id, loaded)
    return loaded
  }
}

/** Chosen: section names have 48 characters, ids 32. */
const idOf = (file: string): string =>
  basename(file)
    .replace(/\.[^.]*$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, LIMITS.nameLength) || 'graph'
