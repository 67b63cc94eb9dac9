import { ok, type Result } from '../../contract/result.ts'
import { inferShapes } from '../onnx/onnx-graph.ts'
import { readOnnx } from '../onnx/onnx-reader.ts'
import type { OnnxError, OnnxModel } from '../onnx/onnx-types.ts'
import { type ActivationBuffer, type LoweredGraph, lowerGraph } from './graph-lowering.ts'

/** Figures of TensorFlow Lite Micro on a 32-bit target, from which the parts beside the arena are estimated. */
export const RUNTIME_COSTS = {
  /** spec: TFLite Micro's MicroArenaBufferAlignment(); offsets in the arena are multiples of it. */
  alignmentBytes: 16,
  /** spec: sizeof(TfLiteEvalTensor), three 32-bit words: data, dims, type. */
  tensorRecordBytes: 12,
  /** spec: sizeof(TfLiteNode) without its debug fields (seven words) and the pointer to its registration. */
  nodeRecordBytes: 32,
  /** chosen: kernels' OpData measure 20 to 90 bytes; convolution, the most frequent, is about 64. */
  kernelDataBytes: 64,
  /** spec: an int32 multiplier and an int32 shift for every output channel of per-channel weights. */
  requantizedChannelBytes: 8,
  /** spec: CMSIS-NN's im2col holds two patches of int16: 2 · Cin · kh · kw · 2 bytes. */
  patchElementBytes: 4,
} as const

export interface Placement extends ActivationBuffer {
  readonly offset: number
}

export interface ArenaPlan {
  /** Largest sum of live bytes over the schedule; no placement can be smaller. */
  readonly lowerBoundBytes: number
  /** End of the highest buffer under the greedy planner: what a device reserves for activations. */
  readonly arenaBytes: number
  /** In the order of the buffers given. */
  readonly placements: readonly Placement[]
}

export interface ModelPlan extends ArenaPlan {
  /** Weights, biases and shape operands as held in flash; scales and zero points are metadata and not in it. */
  readonly constantBytes: number
  /** Multiply-accumulates of one run. */
  readonly macs: number
  /** Estimate: the largest im2col buffer of any convolution; it lives only while that kernel runs. */
  readonly scratchBytes: number
  /** Estimate: tensor and node records, kernel data and per-channel requantization, kept for the session. */
  readonly persistentBytes: number
  /** How many of the placements, the first ones, are graph inputs. */
  readonly inputs: number
  /** What is kept from one run to the next: variable tensors and resource variables; not part of the arena. */
  readonly stateBytes: number
  /** Kernel calls of one run, after folding. */
  readonly steps: LoweredGraph['steps']
}

/** Plans a model's memory from its file alone, as TensorFlow Lite Micro would lay it out, at batch 1.
 *  @param bytes an ONNX file, at most ONNX_LIMITS.modelBytes, not trusted
 *  @returns the plan, or whatever `readOnnx` and `inferShapes` refuse; never a number for a graph only partly understood
 *  @see docs: TFLite Micro memory management, greedy_memory_planner.cc
 */
export function planModel(bytes: Uint8Array): Result<ModelPlan, OnnxError> {
  const model = readOnnx(bytes)
  return model.ok ? planOnnx(model.value) : model
}

/** As `planModel`, for a model already read. */
export function planOnnx(model: OnnxModel): Result<ModelPlan, OnnxError> {
  const shaped = inferShapes(model)
  return shaped.ok ? ok(planLowered(lowerGraph(model, shaped.value))) : shaped
}

function planLowered(lowered: LoweredGraph): ModelPlan {
  return {
    ...memoryBeside(lowered),
    ...planArena(lowered.buffers),
    inputs: lowered.inputs,
    stateBytes: 0,
    steps: lowered.steps,
  }
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)

/** What a graph of whatever format takes beside the arena, and its work. */
export function memoryBeside({
  steps,
  constants,
  buffers,
  views,
}: LoweredGraph): Pick<ModelPlan, 'constantBytes' | 'macs' | 'scratchBytes' | 'persistentBytes'> {
  const tensors = buffers.length + constants.length + views
  const channels = total(steps.map((step) => step.requantizedChannels))
  return {
    constantBytes: total(constants.map((constant) => constant.bytes)),
    macs: total(steps.map((step) => step.macs)),
    scratchBytes: steps.reduce((most, step) => Math.max(most, step.patchElements * RUNTIME_COSTS.patchElementBytes), 0),
    persistentBytes:
      tensors * RUNTIME_COSTS.tensorRecordBytes +
      (steps.length + views) * RUNTIME_COSTS.nodeRecordBytes +
      steps.length * RUNTIME_COSTS.kernelDataBytes +
      channels * RUNTIME_COSTS.requantizedChannelBytes,
  }
}

/** Places buffers by TensorFlow Lite Micro's greedy first fit: largest first (stable), each at the lowest aligned offset
 *  where it meets no placed buffer that lives at the same time; lifetimes include both ends.
 *  @param buffers sizes in bytes, uses in steps; the order decides between equal sizes
 */
export function planArena(buffers: readonly ActivationBuffer[]): ArenaPlan {
  const placed: Occupied[] = []
  const offsets = new Array<number>(buffers.length).fill(0)
  let arenaBytes = 0
  const order = buffers.map((buffer, index) => ({ buffer, index })).sort((a, b) => b.buffer.bytes - a.buffer.bytes)
  for (const { buffer, index } of order) {
    const start = lowestOffset(buffer, placed)
    const end = start + buffer.bytes
    offsets[index] = start
    arenaBytes = Math.max(arenaBytes, end)
    insertByStart(placed, { start, end, nextStart: alignUp(end), firstUse: buffer.firstUse, lastUse: buffer.lastUse })
  }
  return {
    lowerBoundBytes: peakLiveBytes(buffers),
    arenaBytes,
    placements: buffers.map((buffer, index) => ({ ...buffer, offset: offsets[index]! })),
  }
}

/** A placed buffer in the form the inner loop reads; walking spread copies of the callers' records took a hundred
 *  times as long (8 000 live buffers: 13 s against 0.13 s). */
interface Occupied {
  readonly start: number
  readonly end: number
  readonly nextStart: number
  readonly firstUse: number
  readonly lastUse: number
}

const alignUp = (bytes: number): number =>
  Math.ceil(bytes / RUNTIME_COSTS.alignmentBytes) * RUNTIME_COSTS.alignmentBytes

/** @param placed in ascending order of start */
function lowestOffset(buffer: ActivationBuffer, placed: readonly Occupied[]): number {
  const { bytes, firstUse, lastUse } = buffer
  let offset = 0
  for (const other of placed) {
    if (other.lastUse < firstUse || other.firstUse > lastUse) continue
    if (offset + bytes <= other.start) return offset
    if (other.nextStart > offset) offset = other.nextStart
  }
  return offset
}

function insertByStart(placed: Occupied[], occupied: Occupied): void {
  let at = placed.length
  while (at > 0 && placed[at - 1]!.start > occupied.start) at--
  placed.splice(at, 0, occupied)
}

function peakLiveBytes(buffers: readonly ActivationBuffer[]): number {
  const changes = new Map<number, number>()
  const change = (step: number, bytes: number) => changes.set(step, (changes.get(step) ?? 0) + bytes)
  for (const buffer of buffers) {
    change(buffer.firstUse, buffer.bytes)
    change(buffer.lastUse + 1, -buffer.bytes)
  }
  let live = 0
  let peak = 0
  for (const [, bytes] of [...changes].sort(([a], [b]) => a - b)) {
    live += bytes
    peak = Math.max(peak, live)
  }
  return peak
}
