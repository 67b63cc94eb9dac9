import { decodeBundle } from '../contract/bundle.ts'
import { type ContractError, contractError } from '../contract/errors.ts'
import { type BundleManifest, decodeGolden, graphSection, parseManifest, SECTIONS } from '../contract/manifest.ts'
import { present } from '../contract/present.ts'
import { err, ok, type Result } from '../contract/result.ts'
import { type Engine, type EngineSession, engineFailure } from './engine/engine.ts'
import { checkFeatureDefinition, type FeatureDefinition, featureShape } from './features/feature-definition.ts'
import { dequantizeFeatures } from './features/quantize.ts'
import { planGraph, readGraph } from './graph-file.ts'

/** A bundle whose container, manifest, feature definition and resource claims hold, and whose graphs are loaded. */
export interface OpenedBundle {
  readonly manifest: BundleManifest
  readonly definition: FeatureDefinition
  readonly sections: ReadonlyMap<string, Uint8Array>
  /** engine session by graph id; every graph of the manifest has one */
  readonly sessions: ReadonlyMap<string, EngineSession>
  dispose(): Promise<void>
}

/** What a graph needs of a board, from the planner. */
export interface GraphNeeds {
  readonly arenaBytes: number
  /** arena, what the graph remembers, persistent records and kernel scratch */
  readonly ramBytes: number
  readonly constantBytes: number
  readonly macs: number
}

/** Plans one graph of a bundle.
 *  @returns `unsupported-engine` when the planner cannot vouch for a number */
export function graphNeeds(graph: Uint8Array): Result<GraphNeeds, ContractError> {
  const read = readGraph(graph)
  const plan = read.ok ? planGraph(read.value) : read
  if (!plan.ok) return err(contractError('unsupported-engine', `${plan.error.code}: ${plan.error.detail}`))
  const { arenaBytes, stateBytes, persistentBytes, scratchBytes, constantBytes, macs } = plan.value
  return ok({ arenaBytes, ramBytes: arenaBytes + stateBytes + persistentBytes + scratchBytes, constantBytes, macs })
}

/** Opens a bundle for running: container, manifest, features, memory, then the engine; each before the next.
 *  @param data one whole bundle
 *  @param ramBytes what the board can give a model; Infinity when unbounded
 *  @returns the bundle, or the contract's code for the first thing that does not hold
 */
export async function openBundle(
  data: Uint8Array,
  engine: Engine,
  ramBytes: number,
): Promise<Result<OpenedBundle, ContractError>> {
  const sections = decodeBundle(data)
  if (!sections.ok) return sections
  const parsed = parseManifest(sections.value)
  if (!parsed.ok) return parsed
  const manifest = parsed.value
  const definition = checkFeatureDefinition(manifest.features)
  if (!definition.ok) return err(contractError('unsupported-features', definition.error.detail))

  for (const claim of manifest.graphs) {
    const needs = graphNeeds(present(sections.value.get(graphSection(claim.id)), 'the section of a graph'))
    if (!needs.ok) return needs
    if (needs.value.ramBytes > claim.ramBytes || needs.value.arenaBytes > claim.arenaBytes) {
      const detail = `graph "${claim.id}" needs ${needs.value.ramBytes} bytes of RAM, its manifest claims ${claim.ramBytes}`
      return err(contractError('arena-over-budget', detail))
    }
    if (needs.value.ramBytes > ramBytes) {
      const detail = `graph "${claim.id}" needs ${needs.value.ramBytes} bytes of RAM, ${ramBytes} are free`
      return err(contractError('arena-over-budget', detail))
    }
  }

  const sessions = new Map<string, EngineSession>()
  const dispose = async (): Promise<void> => {
    for (const session of sessions.values()) await session.dispose()
  }
  for (const { id, input, output } of manifest.graphs) {
    const io = { ...(input && { input }), ...(output && { output }) }
    const session = await engine.load(present(sections.value.get(graphSection(id)), 'the section of a graph'), io)
    const refusal = session.ok ? shapeMismatch(id, session.value, definition.value, manifest) : session.error.detail
    if (session.ok) sessions.set(id, session.value)
    if (refusal !== undefined) {
      await dispose()
      return err(contractError('model-load-failed', refusal))
    }
  }
  return ok({ manifest, definition: definition.value, sections: sections.value, sessions, dispose })
}

function shapeMismatch(
  id: string,
  session: EngineSession,
  definition: FeatureDefinition,
  manifest: BundleManifest,
): string | undefined {
  const { elements } = featureShape(definition)
  if (session.input.elements !== elements) {
    return `graph "${id}" takes ${session.input.elements} elements, the front end gives ${elements}`
  }
  if (session.output.elements !== manifest.labels.length) {
    return `graph "${id}" gives ${session.output.elements} values for ${manifest.labels.length} labels`
  }
  return undefined
}

/** Runs the signed golden vectors: this runtime must reproduce the packer's outputs within the bundle's tolerance.
 *  @returns the largest difference seen, or `golden-mismatch` | `inference-failed`
 */
export async function checkGolden({
  manifest,
  sections,
  sessions,
}: OpenedBundle): Promise<Result<number, ContractError>> {
  const { golden } = manifest
  const session = present(sessions.get(golden.graph), 'the session of the golden vectors')
  const real = new Float32Array(golden.inputLength)
  let worst = 0
  // Vectors of a graph that remembers are a row, from its beginning.
  session.reset?.()
  for (const [index, vector] of decodeGolden(
    present(sections.get(SECTIONS.golden), 'the golden vectors'),
    golden,
  ).entries()) {
    const result = await session.run(dequantizeFeatures(vector.input, manifest.featureQuantization, real))
    if (!result.ok) return err(engineFailure(result.error))
    for (const [i, value] of result.value.entries()) {
      const difference = Math.abs(value - (vector.output[i] ?? Number.NaN))
      // A NaN compares false with everything, so the test is for "within", not for "beyond".
      if (!(difference <= golden.tolerance)) {
        const detail = `vector ${index}, "${manifest.labels[i]}": off by ${difference}, tolerance ${golden.tolerance}`
        return err(contractError('golden-mismatch', detail))
      }
      worst = Math.max(worst, difference)
    }
  }
  return ok(worst)
}
