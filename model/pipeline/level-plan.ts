import canonicalize from 'canonicalize'
import { groupBy } from '../../contract/group-by.ts'
import type { BundleManifest, LadderStep } from '../../contract/manifest.ts'
import type { FeatureRecord, PipelineLink, PipelineRun } from '../../contract/manifest-v2.ts'
import { featureTiming } from '../features/feature-definition.ts'

/** A graph of a level and what its result goes on to. */
export interface PlanNode {
  readonly graph: string
  /** what lies before it; null: it takes what comes as it comes */
  readonly link: PipelineLink | null
  /** runs for a window of the front end, in the mean */
  readonly runsPerWindow: number
  /** indices of the pipelines whose last graph it is */
  readonly pipelines: readonly number[]
  readonly next: readonly PlanNode[]
}

/** Pipelines that hear the same windows behind the same gate. */
export interface PlanBranch {
  readonly gate: PipelineRun['gate']
  readonly pipelines: readonly number[]
  readonly roots: readonly PlanNode[]
  /** multiply-accumulates of a window, in the mean */
  readonly macs: number
}

/** Pipelines with one front end, which is computed once. */
export interface PlanGroup {
  readonly features: FeatureRecord
  /** index of a pipeline that has it */
  readonly pipeline: number
  readonly hopFrames: number
  /** ms from one window to the next, and ms that a window covers */
  readonly hopMs: number
  readonly windowMs: number
  readonly branches: readonly PlanBranch[]
}

/** What runs at a level: what several pipelines have in common from the front end on is there once. */
export function planLevel(manifest: BundleManifest, step: LadderStep): readonly PlanGroup[] {
  const macs = new Map(manifest.graphs.map((graph) => [graph.id, graph.macs]))
  const running = step.runs.flatMap((run, pipeline) => (run === null ? [] : [{ run, pipeline }]))
  const featuresOf = ({ pipeline }: { readonly pipeline: number }) => manifest.pipelines[pipeline]?.features ?? {}
  return grouped(running, (one) => canonicalize([featuresOf(one), one.run.hopFrames]) ?? '').flatMap((group) => {
    const [first] = group
    if (first === undefined) return []
    const features = featuresOf(first)
    const { frameMs, windowMs } = featureTiming(features)
    const { hopFrames } = first.run
    const branches = grouped(group, ({ run }) => JSON.stringify(run.gate)).map((branch) => {
      const chains = branch.map(({ run, pipeline }) => ({
        pipeline,
        graphs: run.graphs,
        links: [null, ...(manifest.pipelines[pipeline]?.links ?? [])],
      }))
      const roots = nodesAt(chains, 0, 1)
      return {
        gate: branch[0]?.run.gate ?? null,
        pipelines: branch.map(({ pipeline }) => pipeline),
        roots,
        macs: allNodes(roots).reduce(
          (sum, { graph, runsPerWindow }) => sum + runsPerWindow * (macs.get(graph) ?? 0),
          0,
        ),
      }
    })
    return [{ features, pipeline: first.pipeline, hopFrames, hopMs: hopFrames * frameMs, windowMs, branches }]
  })
}

/** The plan of graphs in a row, on their own, as golden vectors run them. */
export const planChain = (manifest: BundleManifest, pipeline: number, graphs: readonly string[]): readonly PlanNode[] =>
  nodesAt([{ pipeline, graphs, links: [null, ...(manifest.pipelines[pipeline]?.links ?? [])] }], 0, 1)

/** In the order in which they are met, roots first. */
export const allNodes = (roots: readonly PlanNode[]): readonly PlanNode[] =>
  roots.flatMap((node) => [node, ...allNodes(node.next)])

/** RAM that a level takes: of each graph of its own, since all are loaded, and of what lies between them. */
export function levelRamBytes(manifest: BundleManifest, step: LadderStep): number {
  const nodes = planLevel(manifest, step).flatMap(({ branches }) => branches.flatMap(({ roots }) => allNodes(roots)))
  const ids = new Set(nodes.map(({ graph }) => graph))
  const graphs = manifest.graphs.filter(({ id }) => ids.has(id))
  return (
    graphs.reduce((sum, { ramBytes }) => sum + ramBytes, 0) +
    nodes.reduce((sum, { link }) => sum + (link === null ? 0 : 4 * link.rows * link.rowValues), 0)
  )
}

/** RAM that a bundle takes at whatever level. */
export const bundleRamBytes = (manifest: BundleManifest): number =>
  Math.max(
    ...manifest.graphs.map(({ ramBytes }) => ramBytes),
    ...manifest.ladder.map((step) => levelRamBytes(manifest, step)),
  )

interface Chain {
  readonly pipeline: number
  readonly graphs: readonly string[]
  readonly links: readonly (PipelineLink | null)[]
}

function nodesAt(chains: readonly Chain[], depth: number, windows: number): readonly PlanNode[] {
  const going = chains.filter(({ graphs }) => depth < graphs.length)
  return grouped(going, ({ graphs, links }) => JSON.stringify([graphs[depth], links[depth]])).map((alike) => {
    const [first] = alike
    const link = first?.links[depth] ?? null
    const runsPerWindow = link === null ? windows : (windows * link.rowsPerRun) / link.step
    return {
      graph: first?.graphs[depth] ?? '',
      link,
      runsPerWindow,
      pipelines: alike.filter(({ graphs }) => graphs.length === depth + 1).map(({ pipeline }) => pipeline),
      next: nodesAt(alike, depth + 1, runsPerWindow),
    }
  })
}

const grouped = <T>(all: readonly T[], keyOf: (one: T) => string): readonly (readonly T[])[] => [
  ...groupBy(all, keyOf).values(),
]
