import { labelsOf } from '../../contract/head.ts'
import { type BundleManifest, type GraphClaim, type LadderStep, labelsOfPipeline } from '../../contract/manifest.ts'
import { EngineOrtNode } from '../../model/engine/engine-ort-node.ts'
import { loadTinyFile } from '../../model/engine-tiny/load.ts'
import {
  describeGraph,
  type GraphDescription,
  type GraphEnd,
  type GraphFile,
  planGraph,
} from '../../model/graph-file.ts'
import { graphIo } from '../../model/opened-bundle.ts'
import type { ModelPlan } from '../../model/plan/arena-planner.ts'
import { openBundleFile } from '../open-bundle-file.ts'
import { evidenceLines } from './level-evidence.ts'
import { type ModelFile, readModelFile } from './model-file.ts'
import { tableLines } from './table-lines.ts'

/** Why an engine does not run a graph; null when it does. */
export type EngineRefusal = string | null

export interface InspectedGraph extends GraphDescription {
  readonly id: string
  readonly engines: { readonly tiny: EngineRefusal; readonly onnxruntime: EngineRefusal }
  readonly memory:
    | Pick<ModelPlan, 'arenaBytes' | 'lowerBoundBytes' | 'constantBytes' | 'stateBytes' | 'macs'>
    | { readonly refused: string }
}

export interface Inspection extends Pick<ModelFile, 'format' | 'fileBytes' | 'manifest' | 'written'> {
  readonly file: string
  readonly graphs: readonly InspectedGraph[]
}

/** Says what is in a model file. A bundle is checked as a device would before.
 *  @throws CommandFailure when it is no model, or a bundle that no device would open */
export async function inspectFile(file: string): Promise<Inspection> {
  const { format, fileBytes, manifest, written, graphs } = readModelFile(file)
  if (format === 'bundle') await (await openBundleFile(file, Number.POSITIVE_INFINITY)).dispose()
  const inspected: InspectedGraph[] = []
  for (const { id, graph } of graphs) {
    const claim = manifest?.graphs.find((one) => one.id === id)
    inspected.push({
      id,
      ...describeGraph(graph),
      engines: { tiny: tinyRefusal(graph), onnxruntime: await onnxruntimeRefusal(graph, claim) },
      memory: memoryOf(graph, claim),
    })
  }
  return { file, format, fileBytes, manifest, written, graphs: inspected }
}

/** By loading it, since nothing less would know. */
function tinyRefusal({ bytes }: GraphFile): EngineRefusal {
  const loaded = loadTinyFile(bytes)
  return loaded.ok ? null : `${loaded.error.code}: ${loaded.error.detail}`
}

/** With the ends that a bundle states of it, if it is in one. */
async function onnxruntimeRefusal({ format, bytes }: GraphFile, claim: GraphClaim | undefined): Promise<EngineRefusal> {
  if (format === 'tflite') return 'it reads ONNX, not TFLite'
  const session = await new EngineOrtNode().load(bytes, claim && graphIo(claim))
  if (!session.ok) return session.error.detail
  await session.value.dispose()
  return null
}

function memoryOf(graph: GraphFile, claim: GraphClaim | undefined): InspectedGraph['memory'] {
  const planned = planGraph(graph)
  if (!planned.ok) {
    const stated = claim && `; its packer states ${claim.ramBytes} bytes of RAM and ${claim.macs} multiply-accumulates`
    return { refused: `${planned.error.code}: ${planned.error.detail}${stated ?? ''}` }
  }
  const { arenaBytes, lowerBoundBytes, constantBytes, stateBytes, macs } = planned.value
  return { arenaBytes, lowerBoundBytes, constantBytes, stateBytes, macs }
}

/** The inspection for programs: the manifest as the bundle has it. */
export const inspectionJson = ({ written, ...inspection }: Inspection): string =>
  JSON.stringify({ ...inspection, manifest: written }, null, 2)

/** The inspection for people, line by line. */
export function inspectionLines({ file, format, fileBytes, manifest, graphs }: Inspection): string[] {
  const lines = [`${file}: ${format === 'bundle' ? `bundle of ${graphs.length} graphs` : format}, ${fileBytes} bytes`]
  if (manifest !== null) {
    const { name, version, parent, ladder, boards } = manifest
    lines.push(
      ...tableLines(
        [
          ['  model', `${name} ${version}${parent === null ? '' : `, trained from bundle ${parent}`}`],
          ...pipelineRows(manifest),
          ['  ladder', ladder.map((step) => levelText(manifest, step)).join(', ')],
          ...ladder.flatMap((step) => evidenceLines(step, manifest.pipelines).map((line) => ['  measured', line])),
          ['  boards', boards.join(', ') || 'none'],
        ],
        'll',
      ),
    )
  }
  for (const graph of graphs) lines.push('', ...graphLines(graph, format === 'bundle'))
  return lines
}

/** Of version 1 its labels; of pipelines what each of them is. */
function pipelineRows(manifest: BundleManifest): [string, string][] {
  const { v, input, pipelines } = manifest
  if (v === 1) return [['  labels', labelsOfPipeline(manifest).join(', ')]]
  const { kind, ...sizes } = input
  const size = Object.entries(sizes).map(([name, value]) => `${name} ${value}`)
  return [
    ['  input', `${kind}: ${size.join(', ')}`],
    ...pipelines.map((pipeline): [string, string] => {
      const { id, features, links, head, signals } = pipeline
      const labels = labelsOf(head).join(', ')
      const buffers = links.map((link) => (link === null ? 'straight on' : `${link.rows} rows, step ${link.step}`))
      return [
        `  pipeline ${id}`,
        [
          `front end ${String(features['kind'])}`,
          ...(buffers.length === 0 ? [] : [`between graphs: ${buffers.join('; ')}`]),
          `head ${head.kind}${labels === '' || head.kind === 'anomaly' ? '' : ` (${labels})`}`,
          `counts ${signals.map(({ name }) => name).join(', ') || 'nothing'}`,
        ].join('; '),
      ]
    }),
  ]
}

function levelText({ v, pipelines }: BundleManifest, { level, runs }: LadderStep): string {
  if (v === 1) return `${level}${runs[0] == null ? '' : ` (${runs[0].graphs.join(', ')})`}`
  const each = runs.map((run, i) => `${pipelines[i]?.id}: ${run === null ? 'off' : run.graphs.join(' > ')}`)
  return `${level} (${each.join('; ')})`
}

function graphLines(
  { id, inputs, outputs, operators, metadata, engines, memory }: InspectedGraph,
  named: boolean,
): string[] {
  const ends = [
    ...inputs.map((end) => ['  input', ...endCells(end)]),
    ...outputs.map((end) => ['  output', ...endCells(end)]),
  ]
  const counts = Object.entries(operators)
  const total = counts.reduce((sum, [, count]) => sum + count, 0)
  const memoryLine =
    'refused' in memory
      ? `not planned: ${memory.refused}`
      : `constants ${memory.constantBytes} bytes, arena ${memory.arenaBytes} (lower bound ${memory.lowerBoundBytes}), state ${memory.stateBytes}, ${memory.macs} multiply-accumulates`
  const engine = (refusal: EngineRefusal) => (refusal === null ? 'runs it' : `does not: ${refusal}`)
  return [
    ...(named ? [`graph ${id}`] : []),
    ...tableLines(ends, 'lllll'),
    ...tableLines(
      [
        ['  operators', `${total}: ${counts.map(([name, count]) => `${count} ${name}`).join(', ')}`],
        ['  memory', memoryLine],
        ...Object.entries(metadata).map(([name, value]) => [`  ${name}`, value]),
        ['  engine tiny', engine(engines.tiny)],
        ['  onnxruntime', engine(engines.onnxruntime)],
      ],
      'll',
    ),
  ]
}

function endCells({ name, elementType, dims, quantization }: GraphEnd): string[] {
  const shape = dims === null ? '[open]' : `[${dims.map((dim) => dim ?? '?').join(', ')}]`
  const scale = quantization && `scale ${quantization.scale} zero ${quantization.zeroPoint}`
  return [JSON.stringify(name), elementType ?? 'no number', shape, scale ?? 'not quantized, or the file does not tell']
}
