import { decodeBundle } from '../contract/bundle.ts'
import { type ContractError, contractError } from '../contract/errors.ts'
import { type BundleManifest, decodeGolden, graphSection, parseManifest, SECTIONS } from '../contract/manifest.ts'
import type { BundleInput } from '../contract/manifest-v2.ts'
import { present } from '../contract/present.ts'
import { err, ok, type Result } from '../contract/result.ts'
import { type Engine, type EngineIo, type EngineSession, engineFailure } from './engine/engine.ts'
import { checkFeatureDefinition, type FeatureDefinition, featureShape } from './features/feature-definition.ts'
import { dequantizeFeatures } from './features/quantize.ts'
import { planGraph, readGraph } from './graph-file.ts'
import { createChain } from './pipeline/chain.ts'
import { allNodes, levelRamBytes, planChain, planLevel } from './pipeline/level-plan.ts'

/** A bundle whose container, manifest, feature definitions and resource claims hold, and whose graphs are loaded. */
export interface OpenedBundle {
  readonly manifest: BundleManifest
  /** front end of the first pipeline */
  readonly definition: FeatureDefinition
  /** of each pipeline, in order */
  readonly definitions: readonly FeatureDefinition[]
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
  const definitions = checkFrontEnds(manifest)
  if (!definitions.ok) return definitions
  const memory = checkMemory(manifest, sections.value, ramBytes)
  if (!memory.ok) return memory

  const sessions = new Map<string, EngineSession>()
  const dispose = async (): Promise<void> => {
    for (const session of sessions.values()) await session.dispose()
  }
  for (const claim of manifest.graphs) {
    const graph = present(sections.value.get(graphSection(claim.id)), 'the section of a graph')
    const session = await engine.load(graph, graphIo(claim))
    if (!session.ok) {
      await dispose()
      return err(contractError('model-load-failed', `graph "${claim.id}": ${session.error.detail}`))
    }
    sessions.set(claim.id, session.value)
  }
  const mismatch = shapeMismatch(manifest, definitions.value, sessions) ?? sharedState(manifest, sessions)
  if (mismatch !== undefined) {
    await dispose()
    return err(contractError('model-load-failed', mismatch))
  }
  const definition = present(definitions.value[0], 'a pipeline')
  return ok({
    ...{ manifest, definition, definitions: definitions.value, sections: sections.value, sessions, dispose },
  })
}

/** What an engine must know of a graph's ends beside its file. */
export const graphIo = ({
  input,
  output,
  ends,
}: Pick<BundleManifest['graphs'][number], 'input' | 'output' | 'ends'>): EngineIo => ({
  ...(input && { input }),
  ...(output && { output }),
  ...(ends && { ends }),
})

function checkFrontEnds(manifest: BundleManifest): Result<readonly FeatureDefinition[], ContractError> {
  const definitions: FeatureDefinition[] = []
  for (const { id, features } of manifest.pipelines) {
    const definition = checkFeatureDefinition(features)
    const refusal = definition.ok ? inputMismatch(manifest.input, definition.value) : definition.error.detail
    if (refusal !== undefined) {
      return err(contractError('unsupported-features', manifest.v === 1 ? refusal : `pipeline "${id}": ${refusal}`))
    }
    if (definition.ok) definitions.push(definition.value)
  }
  return ok(definitions)
}

/** @returns why a front end does not read an input */
function inputMismatch(input: BundleInput, definition: FeatureDefinition): string | undefined {
  const { sampleRateHz } = definition
  if (input.kind === 'audio') {
    if (definition.kind === 'vector-windows' && definition.channels !== 1)
      return `it reads vectors of ${definition.channels} channels, sound has one`
    return sampleRateHz === input.sampleRateHz
      ? undefined
      : `it reads ${sampleRateHz} samples a second, the input gives ${input.sampleRateHz}`
  }
  if (definition.kind !== 'vector-windows')
    return `a ${definition.kind} front end reads sound, the input is ${input.kind}`
  const { channels, windowVectors, hopVectors } = definition
  if (channels !== input.channels) return `it reads ${channels} channels, the input gives ${input.channels}`
  if (input.kind === 'vectors') {
    return sampleRateHz === input.sampleRateHz
      ? undefined
      : `it reads ${sampleRateHz} vectors a second, the input gives ${input.sampleRateHz}`
  }
  const pixels = input.width * input.height
  if (windowVectors !== pixels || hopVectors !== pixels) return `its window is no picture of ${pixels} pixels`
  const pixelRateHz = (pixels * 1000) / input.everyMs
  return Math.abs(sampleRateHz - pixelRateHz) <= 1e-9 * pixelRateHz
    ? undefined
    : `it reads ${sampleRateHz} pixels a second, the input gives ${pixelRateHz}`
}

/** Holds the manifest's claims to the planner's figures, and those to the memory there is. */
function checkMemory(
  manifest: BundleManifest,
  sections: ReadonlyMap<string, Uint8Array>,
  ramBytes: number,
): Result<void, ContractError> {
  for (const claim of manifest.graphs) {
    const needs = graphNeeds(present(sections.get(graphSection(claim.id)), 'the section of a graph'))
    if (!needs.ok) {
      // Of a graph that nobody can plan the packer's word stands, if it says that it is one.
      if (claim.planned) return needs
    } else if (needs.value.ramBytes > claim.ramBytes || needs.value.arenaBytes > claim.arenaBytes) {
      const detail = `graph "${claim.id}" needs ${needs.value.ramBytes} bytes of RAM, its manifest claims ${claim.ramBytes}`
      return err(contractError('arena-over-budget', detail))
    }
    const needed = needs.ok ? needs.value.ramBytes : claim.ramBytes
    if (needed > ramBytes) {
      const detail = `graph "${claim.id}" needs ${needed} bytes of RAM, ${ramBytes} are free`
      return err(contractError('arena-over-budget', detail))
    }
  }
  for (const step of manifest.ladder) {
    const needed = levelRamBytes(manifest, step)
    if (manifest.v === 1 || needed <= ramBytes) continue
    const detail = `the graphs of level ${step.level} need ${needed} bytes of RAM, ${ramBytes} are free`
    return err(contractError('arena-over-budget', detail))
  }
  return ok(undefined)
}

/** Walks every row of graphs that a level or a golden run has. @returns the first end that does not fit what comes before it */
function shapeMismatch(
  manifest: BundleManifest,
  definitions: readonly FeatureDefinition[],
  sessions: ReadonlyMap<string, EngineSession>,
): string | undefined {
  const rows = [
    ...manifest.golden.runs,
    ...manifest.ladder.flatMap(({ runs }) =>
      runs.flatMap((run, pipeline) => (run === null ? [] : [{ pipeline, graphs: run.graphs }])),
    ),
    // Of version 1, whose graphs all read what the front end gives, also those that no level runs.
    ...(manifest.v === 1 ? manifest.graphs.map(({ id }) => ({ pipeline: 0, graphs: [id] })) : []),
  ]
  for (const { pipeline, graphs } of rows) {
    const { id, links, head } = present(manifest.pipelines[pipeline], 'a pipeline')
    const where = (graph: string) => (manifest.v === 1 ? `graph "${graph}"` : `pipeline "${id}", graph "${graph}"`)
    let given = featureShape(present(definitions[pipeline], 'a front end')).elements
    let giver = 'the front end'
    for (const [at, graph] of graphs.entries()) {
      const { input, output } = present(sessions.get(graph), 'the session of a graph')
      const link = at === 0 ? null : (links[at - 1] ?? null)
      if (link !== null) {
        const { rowValues, rowsPerRun, rows: kept } = link
        if (given !== rowValues * rowsPerRun) {
          return `${where(graph)}: ${giver} gives ${given} elements a run, the buffer before it takes ${rowsPerRun} rows of ${rowValues}`
        }
        given = rowValues * kept
        giver = `the buffer of ${kept} rows`
      }
      const named = manifest.v === 1 ? '' : ` ("${input.name}" ${shapeText(input.dims)})`
      if (input.elements !== given)
        return `${where(graph)} takes ${input.elements} elements${named}, ${giver} gives ${given}`
      if (at === graphs.length - 1) {
        const fault = headMismatch(head, input.elements, output.elements)
        if (fault !== undefined) return `${where(graph)} gives ${output.elements} values ${fault}`
      }
      given = output.elements
      giver = `graph "${graph}" ("${output.name}" ${shapeText(output.dims)})`
    }
  }
  return undefined
}

const shapeText = (dims: readonly number[]): string => `[${dims.join(', ')}]`

function headMismatch(
  head: BundleManifest['pipelines'][number]['head'],
  inputs: number,
  outputs: number,
): string | undefined {
  switch (head.kind) {
    case 'wake':
    case 'classification':
      return outputs === head.labels.length ? undefined : `for ${head.labels.length} labels`
    case 'anomaly':
      if (head.score === 'output') return outputs === 1 ? undefined : 'for one score'
      return outputs === inputs ? undefined : `for the ${inputs} of its input that it is to give again`
    case 'regression':
      return outputs === 1 ? undefined : 'for one number'
  }
}

/** A graph that remembers has one memory: two places that hear different things would mix theirs in it. */
function sharedState(manifest: BundleManifest, sessions: ReadonlyMap<string, EngineSession>): string | undefined {
  for (const step of manifest.ladder) {
    const met = new Set<string>()
    for (const { branches } of planLevel(manifest, step)) {
      for (const { graph } of branches.flatMap(({ roots }) => allNodes(roots))) {
        if (met.has(graph) && sessions.get(graph)?.reset !== undefined)
          return `graph "${graph}" remembers what it has heard and level ${step.level} runs it behind two front ends, gates or buffers: give each a graph of its own`
        met.add(graph)
      }
    }
  }
  return undefined
}

/** Runs the signed golden vectors: this runtime must reproduce the packer's outputs within the bundle's tolerance.
 *  @returns the largest difference seen, or `golden-mismatch` | `inference-failed`
 */
export async function checkGolden(bundle: OpenedBundle): Promise<Result<number, ContractError>> {
  const { manifest, sections } = bundle
  const { runs, tolerance } = manifest.golden
  const golden = decodeGolden(present(sections.get(SECTIONS.golden), 'the golden vectors'), manifest)
  let worst = 0
  for (const [number, { pipeline, input, graphs }] of runs.entries()) {
    const wanted = present(golden.runs[number], 'the results of a golden run')
    const given = await runGolden(bundle, pipeline, graphs, golden.inputs[input] ?? [])
    if (!given.ok) return given
    const { id } = present(manifest.pipelines[pipeline], 'a pipeline')
    const labels = labelsOfHead(manifest, pipeline)
    if (given.value.length !== wanted.length) {
      const detail = `pipeline "${id}" gives ${given.value.length} results of its golden windows, not ${wanted.length}`
      return err(contractError('golden-mismatch', detail))
    }
    for (const [index, result] of given.value.entries()) {
      for (const [i, value] of result.entries()) {
        const difference = Math.abs(value - (wanted[index]?.[i] ?? Number.NaN))
        // A NaN compares false with everything, so the test is for "within", not for "beyond".
        if (!(difference <= tolerance)) {
          const detail = `${manifest.v === 1 ? '' : `pipeline "${id}", `}vector ${index}, ${labels[i] === undefined ? `value ${i}` : `"${labels[i]}"`}: off by ${difference}, tolerance ${tolerance}`
          return err(contractError('golden-mismatch', detail))
        }
        worst = Math.max(worst, difference)
      }
    }
  }
  return ok(worst)
}

const labelsOfHead = ({ pipelines }: BundleManifest, pipeline: number): readonly string[] => {
  const head = pipelines[pipeline]?.head
  return head?.kind === 'wake' || head?.kind === 'classification' ? head.labels : []
}

/** Runs windows through graphs in a row, from the beginning of what they remember.
 *  @returns what the last one gives, in a row; or `inference-failed` */
export async function runGolden(
  { manifest, sessions }: Pick<OpenedBundle, 'manifest' | 'sessions'>,
  pipeline: number,
  graphs: readonly string[],
  windows: readonly Int8Array[],
): Promise<Result<readonly Float32Array[], ContractError>> {
  const chain = createChain(planChain(manifest, pipeline, graphs), sessions)
  const { featureQuantization } = present(manifest.pipelines[pipeline], 'a pipeline')
  const results: Float32Array[] = []
  chain.reset()
  for (const window of windows) {
    const run = await chain.run(dequantizeFeatures(window, featureQuantization, new Float32Array(window.length)))
    if (!run.ok) return err(engineFailure(run.error))
    results.push(...run.value.map(({ output }) => output))
  }
  // What golden windows have left must not be heard with the first sound.
  chain.reset()
  return ok(results)
}
