import canonicalize from 'canonicalize'
import { encodeBundle } from '../contract/bundle.ts'
import { sha256Hex } from '../contract/bytes.ts'
import { type ContractError, contractError } from '../contract/errors.ts'
import { LIMITS } from '../contract/limits.ts'
import {
  type BundleManifest,
  encodeGolden,
  featuresSha256,
  type GoldenVector,
  graphSection,
  SECTIONS,
} from '../contract/manifest.ts'
import { present } from '../contract/present.ts'
import type { Release } from '../contract/release.ts'
import { err, ok, type Result } from '../contract/result.ts'
import { BOARDS, boardNamed, inferenceMillijoule, inferenceMs, modelRamBytes } from './boards.ts'
import { type Engine, engineFailure } from './engine/engine.ts'
import { highestOfEnd, highestOutput } from './engine/tensor-io.ts'
import { dequantizeFeatures } from './features/quantize.ts'
import { checkGolden, type GraphNeeds, graphNeeds, type OpenedBundle, openBundle } from './opened-bundle.ts'
import { hasTfliteIdentifier } from './tflite/tflite-reader.ts'

/** What a packer is given: the manifest without the figures it measures itself. */
export interface PackInput {
  readonly manifest: Omit<BundleManifest, 'v' | 'graphs' | 'golden'> & {
    readonly graphs: readonly Pick<BundleManifest['graphs'][number], 'id' | 'input' | 'output'>[]
    /** largest accepted difference of any golden output */
    readonly goldenTolerance: number
  }
  /** bytes by graph id, TFLite or ONNX */
  readonly graphs: ReadonlyMap<string, Uint8Array>
  /** quantized feature maps whose outputs become golden vectors */
  readonly goldenInputs: readonly Int8Array[]
  /** model card, JSON text */
  readonly card: string
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
  const needs = new Map<string, GraphNeeds>()
  for (const { id } of input.manifest.graphs) {
    const graph = input.graphs.get(id)
    if (graph === undefined) return err(contractError('bundle-bad-manifest', `graph "${id}" has no file`))
    const planned = graphNeeds(graph)
    if (!planned.ok) return planned
    needs.set(id, planned.value)
  }
  const graphs = input.manifest.graphs.map((graph) => ({
    ...graph,
    ...present(needs.get(graph.id), 'the needs of a graph'),
  }))
  const first = graphs[0]
  if (first === undefined) return err(contractError('bundle-bad-manifest', 'a bundle needs a graph'))

  const golden = await runGolden(input, first, engine)
  if (!golden.ok) return golden
  const { goldenTolerance, ...rest } = input.manifest
  const manifest: BundleManifest = {
    ...rest,
    v: 1,
    graphs,
    golden: {
      graph: first.id,
      count: golden.value.length,
      inputLength: golden.value[0]?.input.length ?? 0,
      outputLength: input.manifest.labels.length,
      tolerance: goldenTolerance,
    },
  }
  const budget = checkBoards(manifest)
  if (!budget.ok) return budget

  const encoder = new TextEncoder()
  const sections = [
    { name: SECTIONS.manifest, data: encoder.encode(canonicalize(manifest)) },
    ...graphs.map(({ id }) => ({ name: graphSection(id), data: present(input.graphs.get(id), 'the file of a graph') })),
    { name: SECTIONS.golden, data: encodeGolden(golden.value) },
    { name: SECTIONS.card, data: encoder.encode(input.card) },
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
    const judged = await judge(opened.value, input.goldenInputs)
    return judged.ok ? ok({ bundle, manifest, release: releaseOf(bundle, manifest) }) : judged
  } finally {
    await opened.value.dispose()
  }
}

/** What a device would find out in the field: a network that gives no numbers, golden vectors that do not come again, a policy under
 *  which nothing can wake. */
async function judge(
  bundle: OpenedBundle,
  goldenInputs: readonly Int8Array[],
): Promise<Result<unknown, ContractError>> {
  const { manifest, sessions } = bundle
  for (const [id, session] of sessions) {
    session.reset?.()
    for (const [index, window] of goldenInputs.entries()) {
      const result = await session.run(
        dequantizeFeatures(window, manifest.featureQuantization, new Float32Array(window.length)),
      )
      if (!result.ok) return err(engineFailure(result.error))
      const broken = result.value.findIndex((value) => !Number.isFinite(value))
      if (broken < 0) continue
      const detail = `graph "${id}" gives ${result.value[broken]} for "${manifest.labels[broken]}" of golden input ${index}`
      return err(contractError('inference-failed', detail))
    }
  }
  const { thresholdPermille, ignoreLabels } = manifest.policy
  if (manifest.labels.every((label) => ignoreLabels.includes(label))) {
    return err(contractError('bundle-bad-manifest', 'the wake policy ignores every label: nothing would wake'))
  }
  for (const { level, graph } of manifest.ladder) {
    const file = bundle.sections.get(graphSection(graph ?? ''))
    const stated = manifest.graphs.find(({ id }) => id === graph)?.output ?? null
    const session = sessions.get(graph ?? '')
    if (file === undefined || session === undefined) continue
    const highest = hasTfliteIdentifier(file) ? highestOfEnd(session.output) : highestOutput(file, stated)
    if (1000 * highest >= thresholdPermille) continue
    const detail = `level ${level}: no posterior of graph "${graph}" is above ${highest.toFixed(4)}, the threshold is ${thresholdPermille / 1000}`
    return err(contractError('bundle-bad-manifest', detail))
  }
  return checkGolden(bundle)
}

/** The release of a bundle: what a device can refuse before it downloads. */
export const releaseOf = (bundle: Uint8Array, manifest: BundleManifest): Release => ({
  v: 1,
  type: 'release',
  name: manifest.name,
  version: manifest.version,
  sha256: sha256Hex(bundle),
  bytes: bundle.length,
  securityCounter: manifest.securityCounter,
  arenaBytes: Math.max(...manifest.graphs.map(({ ramBytes }) => ramBytes)),
  constantBytes: Math.max(...manifest.graphs.map(({ constantBytes }) => constantBytes)),
  featuresSha256: featuresSha256(manifest.features),
  boards: [...manifest.boards],
})

async function runGolden(
  input: PackInput,
  graph: { readonly id: string } & Pick<BundleManifest['graphs'][number], 'input' | 'output'>,
  engine: Engine,
): Promise<Result<readonly GoldenVector[], ContractError>> {
  const io = { ...(graph.input && { input: graph.input }), ...(graph.output && { output: graph.output }) }
  const session = await engine.load(present(input.graphs.get(graph.id), 'the file of a graph'), io)
  if (!session.ok) return err(engineFailure(session.error))
  try {
    const vectors: GoldenVector[] = []
    session.value.reset?.()
    for (const quantized of input.goldenInputs) {
      const real = dequantizeFeatures(quantized, input.manifest.featureQuantization, new Float32Array(quantized.length))
      const output = await session.value.run(real)
      if (!output.ok) return err(engineFailure(output.error))
      vectors.push({ input: quantized, output: output.value })
    }
    return vectors.length > 0 ? ok(vectors) : err(contractError('bundle-bad-manifest', 'a bundle needs golden vectors'))
  } finally {
    await session.value.dispose()
  }
}

/** @param manifest with the figures that packing measures; its own boards do not matter
 *  @returns names of the boards that can run it */
export const fittingBoards = (manifest: BundleManifest): readonly string[] =>
  BOARDS.map(({ name }) => name).filter((name) => checkBoards({ ...manifest, boards: [name] }).ok)

/** A claim that a board runs the bundle holds only if its memory suffices and every level's network ends within its hop. */
function checkBoards(manifest: BundleManifest): Result<void, ContractError> {
  for (const name of manifest.boards) {
    const board = boardNamed(name)
    if (board === undefined) return err(contractError('wrong-board', `unknown board "${name}"`))
    for (const graph of manifest.graphs) {
      const free = modelRamBytes(board)
      if (graph.ramBytes > free) {
        return err(
          contractError('arena-over-budget', `graph "${graph.id}" needs ${graph.ramBytes} bytes, ${name} has ${free}`),
        )
      }
    }
    for (const step of manifest.ladder) {
      const graph = manifest.graphs.find(({ id }) => id === step.graph)
      const { sampleRateHz, strideSamples } = manifest.features
      const hopMs = (1000 * step.hopFrames * Number(strideSamples)) / Number(sampleRateHz)
      const takesMs = inferenceMs(board, graph?.macs ?? 0)
      if (takesMs > hopMs) {
        const detail = `level ${step.level} takes ${takesMs.toFixed(1)} ms of a ${hopMs} ms hop on ${name} (${inferenceMillijoule(board, graph?.macs ?? 0).toFixed(2)} mJ)`
        return err(contractError('latency-over-budget', detail))
      }
    }
  }
  return ok(undefined)
}
