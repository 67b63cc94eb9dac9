import { basename } from 'node:path'
import {
  BOARDS,
  type Board,
  boardNamed,
  inferenceMillijoule,
  inferenceMs,
  KWS_REFERENCE_MACS,
  modelRamBytes,
} from '../../model/boards.ts'
import { planGraph } from '../../model/graph-file.ts'
import type { ModelPlan, Placement } from '../../model/plan/arena-planner.ts'
import { CommandFailure } from '../failure.ts'
import { OutputFile } from '../output-file.ts'
import { arenaSvg } from './arena-picture.ts'
import { type ModelFile, readModelFile } from './model-file.ts'
import { tableLines } from './table-lines.ts'

/** What one graph costs one board. */
export interface BoardCost {
  readonly board: string
  readonly latencyMs: number
  readonly microjoule: number
  /** of the board's RAM, what a model may take */
  readonly ramLimitBytes: number
  /** of the board's flash, what two slots of the file take, and all that there is */
  readonly flashNeedBytes: number
  readonly flashLimitBytes: number
  readonly fits: boolean
  /** what is over, and by how much; empty when it fits */
  readonly over: readonly string[]
  /** where latency and energy come from */
  readonly source: string
}

export interface GraphCost {
  readonly id: string
  readonly plan: ModelPlan
  /** arena, state, records and scratch */
  readonly ramBytes: number
  readonly boards: readonly BoardCost[]
}

export interface PlanReport {
  readonly file: string
  readonly format: ModelFile['format']
  readonly fileBytes: number
  readonly graphs: readonly GraphCost[]
  /** of the board that was asked for, or of none in particular */
  readonly verdict: { readonly board: string | null; readonly fits: boolean | null; readonly over: readonly string[] }
}

/** Plans every graph of a file and says what it costs.
 *  @param board the one board that counts; all boards when undefined
 *  @throws CommandFailure when the file is none that can be planned */
export function planFile(file: string, board: string | undefined): PlanReport {
  const model = readModelFile(file)
  const asked = board === undefined ? undefined : boardNamed(board)
  const graphs = model.graphs.map(({ id, graph }): GraphCost => {
    const planned = planGraph(graph)
    if (!planned.ok) {
      throw new CommandFailure(`${file}: graph "${id}": ${planned.error.code}: ${planned.error.detail}`, {
        hint: 'nothing is planned of a graph that is only partly understood; "kinglet model inspect" tells what is in it',
      })
    }
    const plan = planned.value
    const ramBytes = plan.arenaBytes + plan.stateBytes + plan.persistentBytes + plan.scratchBytes
    const boards = (asked ? [asked] : BOARDS).map((it) => costOn(it, plan, ramBytes, model.fileBytes))
    return { id, plan, ramBytes, boards }
  })
  const over = graphs.flatMap(({ id, boards }) =>
    boards.flatMap((cost) => cost.over.map((what) => (graphs.length > 1 ? `graph "${id}": ${what}` : what))),
  )
  const verdict = asked ? { board: asked.name, fits: over.length === 0, over } : { board: null, fits: null, over: [] }
  return { file, format: model.format, fileBytes: model.fileBytes, graphs, verdict }
}

function costOn(board: Board, plan: ModelPlan, ramBytes: number, fileBytes: number): BoardCost {
  const ramLimitBytes = modelRamBytes(board)
  // A device keeps the running model and the next one.
  const flashNeedBytes = 2 * fileBytes
  const over: string[] = []
  const exceeds = (what: string, need: number, limit: number) => {
    if (need > limit) over.push(`${what}: ${need} bytes, ${need - limit} more than the ${limit} of ${board.name}`)
  }
  exceeds('RAM', ramBytes, ramLimitBytes)
  exceeds('flash for two slots', flashNeedBytes, board.flashBytes)
  const scaled = plan.macs === KWS_REFERENCE_MACS ? '' : '; scaled by multiply-accumulates, an estimate'
  return {
    board: board.name,
    latencyMs: inferenceMs(board, plan.macs),
    microjoule: 1_000 * inferenceMillijoule(board, plan.macs),
    ...{ ramLimitBytes, flashNeedBytes, flashLimitBytes: board.flashBytes },
    fits: over.length === 0,
    over,
    source: `keyword network of MLPerf Tiny on this board (${board.source})${scaled}`,
  }
}

/** Draws the report's arenas into a file.
 *  @throws CommandFailure when there is such a file and it may not be replaced */
export function drawPlan({ file, graphs }: PlanReport, path: string, replaces: boolean): void {
  const name = basename(file)
  const svg = arenaSvg(
    graphs.map(({ id, plan }) => ({ title: graphs.length > 1 ? `${name}, graph ${id}` : name, plan })),
  )
  OutputFile.write(path, new TextEncoder().encode(svg), replaces)
}

/** The report for people, line by line. */
export function planLines({ file, format, fileBytes, graphs, verdict }: PlanReport): string[] {
  const lines = [`${file}: ${format === 'bundle' ? `bundle of ${graphs.length} graphs` : format}, ${fileBytes} bytes`]
  for (const graph of graphs) {
    lines.push('', ...(format === 'bundle' ? [`graph ${graph.id}`, ''] : []), ...graphLines(graph))
  }
  lines.push('')
  if (verdict.board === null) lines.push('no board was asked for (--board NAME): what fits is in the table')
  else if (verdict.over.length === 0) lines.push(`fits ${verdict.board}`)
  else lines.push(`does not fit ${verdict.board}`, ...verdict.over.map((what) => `  ${what}`))
  return lines
}

function graphLines({ plan, ramBytes, boards }: GraphCost): string[] {
  const { steps, placements, inputs } = plan
  const buffers = (from: number, to: number, step: number | null) =>
    placements.slice(from, to).filter((it) => step === null || it.firstUse === step)
  const row = (step: string, operator: string, macs: string, buffer: Placement | undefined) => [
    ...[step, operator, macs],
    ...(buffer
      ? [String(buffer.bytes), String(buffer.offset), `${buffer.firstUse}-${buffer.lastUse}`, shortName(buffer.name)]
      : ['', '', '', '']),
  ]
  const rows = buffers(0, inputs, null).map((buffer) => row('', 'input', '', buffer))
  for (const [step, { opType, macs }] of steps.entries()) {
    const [first, ...more] = buffers(inputs, placements.length, step)
    rows.push(row(String(step), opType, String(macs), first), ...more.map((buffer) => row('', '', '', buffer)))
  }
  const heads = ['step', 'operator', 'mult-acc', 'bytes', 'offset', 'lives', 'buffer']
  const sums: [string, number, string][] = [
    ['constants', plan.constantBytes, 'weights, biases, shapes; in flash'],
    ['arena', plan.arenaBytes, `greedy placement; no placement is below ${plan.lowerBoundBytes}`],
    ['lower bound', plan.lowerBoundBytes, 'most bytes alive at one step'],
    ['state', plan.stateBytes, 'kept from one run to the next'],
    ['records', plan.persistentBytes, 'estimate: tensor and node records and kernel data of TensorFlow Lite Micro'],
    ['scratch', plan.scratchBytes, 'estimate: the largest im2col of CMSIS-NN'],
    ['RAM', ramBytes, 'arena, state, records and scratch'],
    ['work', plan.macs, 'multiply-accumulates of one run'],
  ]
  const costs = boards.map(({ board, latencyMs, microjoule, ramLimitBytes, flashLimitBytes, fits, source }) => [
    ...[board, `${threeDigits(latencyMs)} ms`, `${threeDigits(microjoule)} uJ`],
    ...[String(ramLimitBytes), String(flashLimitBytes), fits ? 'fits' : 'over', source],
  ])
  return [
    ...tableLines([heads, ...rows], 'rlrrrll'),
    '',
    ...tableLines(
      sums.map(([what, count, about]) => [what, String(count), about]),
      'lrl',
    ),
    '',
    ...tableLines(
      [['board', 'latency', 'energy', 'RAM it gives', 'flash', '', 'source of latency and energy'], ...costs],
      'lrrrrll',
    ),
  ]
}

/** Figures of boards have three digits at most. */
const threeDigits = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3))

/** Converters join the names of fused layers, so the end tells more than the beginning. */
const shortName = (name: string): string => (name.length <= 40 ? name : `…${name.slice(-39)}`)
