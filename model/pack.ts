import canonicalize from 'canonicalize'
import { encodeBundle } from '../contract/bundle.ts'
import { sha256Hex } from '../contract/bytes.ts'
import { type ContractError, contractError } from '../contract/errors.ts'
import { labelsOf } from '../contract/head.ts'
import { LIMITS } from '../contract/limits.ts'
import {
  type BundleManifest,
  encodeGolden,
  type GraphClaim,
  graphSection,
  requirementSha256,
  SECTIONS,
} from '../contract/manifest.ts'
import { type ManifestV1, pipelinesOfV1 } from '../contract/manifest-v1.ts'
import { checkManifestV2, manifestV2Schema, type PipelineManifest } from '../contract/manifest-v2.ts'
import { present } from '../contract/present.ts'
import { parseContent, type Release } from '../contract/release.ts'
import { err, ok, type Result } from '../contract/result.ts'
import { BOARDS, boardNamed, inferenceMillijoule, inferenceMs, modelRamBytes } from './boards.ts'
import { type Engine, type EngineSession, engineFailure } from './engine/engine.ts'
import { highestOfEnd, highestOutput } from './engine/tensor-io.ts'
import { checkGolden, graphIo, graphNeeds, type OpenedBundle, openBundle, runGolden } from './opened-bundle.ts'
import { bundleRamBytes, planLevel } from './pipeline/level-plan.ts'
import { hasTfliteIdentifier } from './tflite/tflite-reader.ts'

/** What a packer is given beside the manifest. */
interface PackFiles {
  /** bytes by graph id, TFLite or ONNX */
  readonly graphs: ReadonlyMap<string, Uint8Array>
  /** model card, JSON text */
  readonly card: string
}

/** A bundle of one front end and one graph a level: the manifest without the figures that the packer measures itself. */
export interface PackInput extends PackFiles {
  readonly manifest: Omit<ManifestV1, 'v' | 'graphs' | 'golden'> & {
    readonly graphs: readonly Pick<ManifestV1['graphs'][number], 'id' | 'input' | 'output'>[]
    /** largest accepted difference of any golden output */
    readonly goldenTolerance: number
  }
  /** quantized feature maps whose outputs become golden vectors */
  readonly goldenInputs: readonly Int8Array[]
}

/** A bundle of pipelines. */
export interface PackPipelines extends PackFiles {
  readonly manifest: Omit<PipelineManifest, 'v' | 'graphs' | 'golden'> & {
    readonly graphs: readonly (Pick<GraphClaim, 'id' | 'input' | 'output' | 'ends'> & {
      /** of a graph whose memory and work the planner cannot tell: what it may take; null: it can */
      readonly stated: Pick<GraphClaim, 'ramBytes' | 'macs'> | null
    })[]
    readonly goldenTolerance: number
  }
  /** rows of quantized windows */
  readonly goldenInputs: readonly (readonly Int8Array[])[]
  /** which of them each pipeline runs */
  readonly goldenOf: readonly number[]
}

export interface Packed {
  readonly bundle: Uint8Array
  readonly manifest: BundleManifest
  /** what the image repository says of it */
  readonly release: Release
}

/** Makes a bundle: plans the memory of each graph, runs the golden vectors, checks that each named board can run it within a
 *  hop, and opens and tries the result as a device would. The same input gives the same bytes.
 *  @returns the bundle, or the code of the claim that is false
 */
export async function packBundle(input: PackInput, engine: Engine): Promise<Result<Packed, ContractError>> {
  const { goldenTolerance: tolerance, graphs: named, ...rest } = input.manifest
  const claims = claimsOf(
    input,
    named.map((graph) => ({ ...graph, ends: null, stated: null })),
  )
  if (!claims.ok) return claims
  const graphs = claims.value.map(({ planned: _planned, ends: _ends, ...figures }) => figures)
  const [first] = graphs
  if (first === undefined) return err(contractError('bundle-bad-manifest', 'a bundle needs a graph'))
  const golden = {
    graph: first.id,
    count: input.goldenInputs.length,
    inputLength: input.goldenInputs[0]?.length ?? 0,
    outputLength: input.manifest.labels.length,
    tolerance,
  }
  const written: ManifestV1 = { ...rest, v: 1, graphs, golden }
  return packManifest(written, pipelinesOfV1(written), input, [input.goldenInputs], engine)
}

/** As `packBundle`, of a bundle of pipelines. */
export async function packPipelines(input: PackPipelines, engine: Engine): Promise<Result<Packed, ContractError>> {
  const { goldenTolerance: tolerance, graphs: named, ...rest } = input.manifest
  const claims = claimsOf(input, named)
  if (!claims.ok) return claims
  const runs = rest.pipelines.map((_, pipeline) => ({
    pipeline,
    input: input.goldenOf[pipeline] ?? 0,
    graphs: rest.ladder.map((step) => step.runs[pipeline]?.graphs ?? []).find((graphs) => graphs.length > 0) ?? [],
    // Until they are run.
    ...{ results: 1, outputLength: 1 },
  }))
  const inputs = input.goldenInputs.map((windows) => ({ count: windows.length, inputLength: windows[0]?.length ?? 0 }))
  const draft: PipelineManifest = { ...rest, v: 2, graphs: [...claims.value], golden: { inputs, runs, tolerance } }
  const idle = rest.pipelines.find((_, pipeline) => runs[pipeline]?.graphs.length === 0)
  if (idle !== undefined) return bad(`pipeline "${idle.id}" runs at no level`)
  const parsed = parseContent(manifestV2Schema, draft, 'manifest', 2)
  if (!parsed.ok) return bad(parsed.error.detail)
  const checked = checkManifestV2(draft)
  if (!checked.ok) return bad(checked.error)
  return packManifest(draft, draft, input, input.goldenInputs, engine)
}

const bad = (detail: string) => err(contractError('bundle-bad-manifest', detail))

/** Plans each graph. */
function claimsOf(
  { graphs }: PackFiles,
  named: PackPipelines['manifest']['graphs'],
): Result<readonly GraphClaim[], ContractError> {
  const claims: GraphClaim[] = []
  for (const { id, input, output, ends, stated } of named) {
    const graph = graphs.get(id)
    if (graph === undefined) return bad(`graph "${id}" has no file`)
    const needs = graphNeeds(graph)
    if (needs.ok) claims.push({ id, input, output, ...needs.value, planned: true, ends })
    else if (stated === null) return needs
    else
      claims.push({
        id,
        input,
        output,
        arenaBytes: stated.ramBytes,
        ...stated,
        constantBytes: graph.length,
        planned: false,
        ends,
      })
  }
  return ok(claims)
}

/** @param written as its version writes it
 *  @param draft the same as it is read, of golden vectors that have not been run */
async function packManifest(
  written: ManifestV1 | PipelineManifest,
  draft: BundleManifest,
  { graphs, card }: PackFiles,
  goldenInputs: readonly (readonly Int8Array[])[],
  engine: Engine,
): Promise<Result<Packed, ContractError>> {
  const results = await goldenResults(draft, graphs, goldenInputs, engine)
  if (!results.ok) return results
  const golden = {
    ...draft.golden,
    runs: draft.golden.runs.map((run, number) => ({
      ...run,
      results: results.value[number]?.length ?? 0,
      outputLength: results.value[number]?.[0]?.length ?? 0,
    })),
  }
  const silent = golden.runs.find((run) => run.results === 0)
  if (silent !== undefined) return bad(noResult(draft, silent, goldenInputs))
  const manifest: BundleManifest = { ...draft, golden }
  const budget = checkBoards(manifest)
  if (!budget.ok) return budget

  const encoder = new TextEncoder()
  const sections = [
    {
      name: SECTIONS.manifest,
      data: encoder.encode(canonicalize(written.v === 1 ? written : { ...written, golden })),
    },
    ...manifest.graphs.map(({ id }) => ({
      name: graphSection(id),
      data: present(graphs.get(id), 'the file of a graph'),
    })),
    {
      name: SECTIONS.golden,
      data: encodeGolden({ inputs: goldenInputs, runs: results.value }, golden, manifest.v),
    },
    { name: SECTIONS.card, data: encoder.encode(card) },
  ]
  // The encoder throws at its bounds, for its callers' bugs; a model that is too large is a user's matter.
  const bytes = sections.reduce((sum, { data }) => sum + data.length, 0) + LIMITS.bundleTocBytes
  if (bytes > LIMITS.bundleBytes) {
    return err(contractError('too-large', `about ${bytes} bytes, a bundle has at most ${LIMITS.bundleBytes}`))
  }
  const bundle = encodeBundle(sections)
  const opened = await openBundle(bundle, engine, Number.POSITIVE_INFINITY)
  if (!opened.ok) return opened
  try {
    const judged = await judge(opened.value, goldenInputs)
    return judged.ok ? ok({ bundle, manifest, release: releaseOf(bundle, manifest) }) : judged
  } finally {
    await opened.value.dispose()
  }
}

function noResult(
  { pipelines }: BundleManifest,
  { pipeline, input }: BundleManifest['golden']['runs'][number],
  goldenInputs: readonly (readonly Int8Array[])[],
): string {
  const windows = goldenInputs[input]?.length ?? 0
  if (windows === 0) return 'a bundle needs golden vectors'
  return `pipeline "${pipelines[pipeline]?.id}" gives nothing after ${windows} golden windows: its buffers need more to fill`
}

/** Rows of graphs that are run, each once. */
function rowsOf({
  v,
  graphs,
  ladder,
}: BundleManifest): readonly { readonly pipeline: number; readonly graphs: readonly string[] }[] {
  if (v === 1) return graphs.map(({ id }) => ({ pipeline: 0, graphs: [id] }))
  const rows = ladder.flatMap(({ runs }) =>
    runs.flatMap((run, pipeline) => (run === null ? [] : [{ pipeline, graphs: run.graphs }])),
  )
  return [...new Map(rows.map((row) => [JSON.stringify(row), row])).values()]
}

/** What a device would find out in the field: a network that gives no numbers, golden vectors that do not come again, a policy under
 *  which nothing can wake. */
async function judge(
  bundle: OpenedBundle,
  goldenInputs: readonly (readonly Int8Array[])[],
): Promise<Result<unknown, ContractError>> {
  const { manifest } = bundle
  const inputOf = (pipeline: number): readonly Int8Array[] =>
    goldenInputs[manifest.golden.runs.find((run) => run.pipeline === pipeline)?.input ?? 0] ?? []
  for (const { pipeline, graphs } of rowsOf(manifest)) {
    const results = await runGolden(bundle, pipeline, graphs, inputOf(pipeline))
    if (!results.ok) return results
    const labels = labelsOf(present(manifest.pipelines[pipeline], 'a pipeline').head)
    for (const [index, result] of results.value.entries()) {
      const broken = result.findIndex((value) => !Number.isFinite(value))
      if (broken < 0) continue
      const what = labels.length === result.length ? `"${labels[broken]}"` : `value ${broken}`
      const detail = `graph "${graphs.at(-1)}" gives ${result[broken]} for ${what} of golden input ${index}`
      return err(contractError('inference-failed', detail))
    }
  }
  for (const { level, runs } of manifest.ladder) {
    for (const [pipeline, run] of runs.entries()) {
      const deaf = run === null ? undefined : deafness(bundle, pipeline, present(run.graphs.at(-1), 'a graph'))
      if (deaf !== undefined) return bad(`level ${level}: ${deaf}`)
    }
  }
  for (const { head } of manifest.pipelines) {
    if (head.kind === 'wake' && head.labels.every((label) => head.policy.ignoreLabels.includes(label)))
      return bad('the wake policy ignores every label: nothing would wake')
  }
  return checkGolden(bundle)
}

/** @returns why nothing that a graph can give would wake */
function deafness({ manifest, sections, sessions }: OpenedBundle, pipeline: number, graph: string): string | undefined {
  const { head } = present(manifest.pipelines[pipeline], 'a pipeline')
  const claim = manifest.graphs.find(({ id }) => id === graph)
  const file = sections.get(graphSection(graph))
  const session = sessions.get(graph)
  if (head.kind !== 'wake' || claim === undefined || file === undefined || session === undefined) return undefined
  const highest = highestOf(claim, file, session)
  const { thresholdPermille, ignoreLabels } = head.policy
  const waking = head.labels.flatMap((label, i) =>
    ignoreLabels.includes(label) ? [] : [head.cutoffs?.[i] ?? thresholdPermille],
  )
  const lowest = waking.length === 0 ? thresholdPermille : Math.min(...waking)
  return 1000 * highest >= lowest
    ? undefined
    : `no posterior of graph "${graph}" is above ${highest.toFixed(4)}, the threshold is ${lowest / 1000}`
}

const highestOf = ({ ends, output }: GraphClaim, file: Uint8Array, session: EngineSession): number =>
  ends !== null || hasTfliteIdentifier(file) ? highestOfEnd(session.output) : highestOutput(file, output)

/** The release of a bundle: what a device can refuse before it downloads. */
export function releaseOf(bundle: Uint8Array, manifest: BundleManifest): Release {
  const constants = new Map(manifest.graphs.map(({ id, constantBytes }) => [id, constantBytes]))
  const ofLevels = manifest.ladder.map(({ runs }) =>
    [...new Set(runs.flatMap((run) => run?.graphs ?? []))].reduce((sum, id) => sum + (constants.get(id) ?? 0), 0),
  )
  return {
    v: 1,
    type: 'release',
    name: manifest.name,
    version: manifest.version,
    sha256: sha256Hex(bundle),
    bytes: bundle.length,
    securityCounter: manifest.securityCounter,
    arenaBytes: bundleRamBytes(manifest),
    constantBytes: Math.max(...constants.values(), ...ofLevels),
    featuresSha256: requirementSha256(manifest),
    boards: [...manifest.boards],
  }
}

/** @returns what each golden run gives, in the order of the manifest */
async function goldenResults(
  manifest: BundleManifest,
  files: ReadonlyMap<string, Uint8Array>,
  goldenInputs: readonly (readonly Int8Array[])[],
  engine: Engine,
): Promise<Result<readonly (readonly Float32Array[])[], ContractError>> {
  const sessions = new Map<string, EngineSession>()
  try {
    const wanted = new Set(manifest.golden.runs.flatMap(({ graphs }) => graphs))
    for (const claim of manifest.graphs.filter(({ id }) => wanted.has(id))) {
      const session = await engine.load(present(files.get(claim.id), 'the file of a graph'), graphIo(claim))
      if (!session.ok)
        return err(engineFailure({ ...session.error, detail: `graph "${claim.id}": ${session.error.detail}` }))
      sessions.set(claim.id, session.value)
    }
    const all: (readonly Float32Array[])[] = []
    for (const { pipeline, input, graphs } of manifest.golden.runs) {
      const results = await runGolden({ manifest, sessions }, pipeline, graphs, goldenInputs[input] ?? [])
      if (!results.ok) return results
      all.push(results.value)
    }
    return ok(all)
  } finally {
    for (const session of sessions.values()) await session.dispose()
  }
}

/** @param manifest with the figures that packing measures; its own boards do not matter
 *  @returns names of the boards that can run it */
export const fittingBoards = (manifest: BundleManifest): readonly string[] =>
  BOARDS.map(({ name }) => name).filter((name) => checkBoards({ ...manifest, boards: [name] }).ok)

/** A claim that a board runs the bundle holds only if its memory suffices and every level's networks end within their hops. */
function checkBoards(manifest: BundleManifest): Result<void, ContractError> {
  for (const name of manifest.boards) {
    const board = boardNamed(name)
    if (board === undefined) return err(contractError('wrong-board', `unknown board "${name}"`))
    const free = modelRamBytes(board)
    const large = manifest.graphs.find(({ ramBytes }) => ramBytes > free)
    if (large !== undefined) {
      const detail = `graph "${large.id}" needs ${large.ramBytes} bytes, ${name} has ${free}`
      return err(contractError('arena-over-budget', detail))
    }
    if (bundleRamBytes(manifest) > free) {
      const detail = `the graphs of a level need ${bundleRamBytes(manifest)} bytes, ${name} has ${free}`
      return err(contractError('arena-over-budget', detail))
    }
    for (const step of manifest.ladder) {
      // One core runs them one after the other.
      let busy = 0
      for (const { hopMs, branches } of planLevel(manifest, step)) {
        const macs = branches.reduce((sum, branch) => sum + branch.macs, 0)
        const takesMs = inferenceMs(board, macs)
        busy += takesMs / hopMs
        if (busy <= 1) continue
        const others = busy > takesMs / hopMs ? ', beside what else the level runs,' : ''
        const detail = `level ${step.level} takes ${takesMs.toFixed(1)} ms of a ${hopMs} ms hop${others} on ${name} (${inferenceMillijoule(board, macs).toFixed(2)} mJ)`
        return err(contractError('latency-over-budget', detail))
      }
    }
  }
  return ok(undefined)
}
