import type { Result } from '../../contract/result.ts'
import { catchTfliteFault, type TfliteError } from '../tflite/tflite-fault.ts'
import type { TfliteModel } from '../tflite/tflite-types.ts'
import { type ArenaPlan, type ModelPlan, memoryBeside, planArena, RUNTIME_COSTS } from './arena-planner.ts'
import { type LoweredTflite, lowerTflite, type ScratchOf } from './tflite-lowering.ts'

/** The plan of a TFLite file: where each tensor of subgraph 0 is, and what it costs. */
export interface TflitePlan extends ModelPlan, Pick<LoweredTflite, 'places' | 'scratch' | 'states'> {
  readonly steps: LoweredTflite['steps']
}

/** Plans subgraph 0 of a TFLite file at the shapes it states, from its records alone.
 *  @param scratchOf working memory that the kernels of an engine want in the arena; none by default
 *  @returns the plan, or `tflite-bad-graph` | `tflite-dynamic-shape` | `tflite-shape-mismatch` | `tflite-unsupported-op` |
 *    `tflite-unsupported-type` | `tflite-too-large` | `tflite-malformed`; never a number for a graph only partly understood
 */
export const planTflite = (model: TfliteModel, scratchOf: ScratchOf = () => []): Result<TflitePlan, TfliteError> =>
  catchTfliteFault(() => {
    const lowered = lowerTflite(model, scratchOf)
    const { inputs, places, scratch, states, steps } = lowered
    return {
      ...memoryBeside(lowered),
      ...smallerPlan(lowered),
      stateBytes: states.reduce((sum, state) => sum + state.bytes, 0),
      ...{ inputs, places, scratch, states, steps },
    }
  })

/** Between buffers of one size the order decides, and no order is always the best: that by producer gives MobileNetV1 0.25 64 512 bytes,
 *  TensorFlow Lite Micro's, by tensor number and sizes rounded up, 73 728. With both tried the arena is never larger than TensorFlow Lite
 *  Micro's of the same buffers. */
function smallerPlan({ buffers, definedBy }: LoweredTflite): ArenaPlan {
  const byProducer = planArena(buffers)
  // As small as any can be.
  if (byProducer.arenaBytes === byProducer.lowerBoundBytes) return byProducer
  const { alignmentBytes } = RUNTIME_COSTS
  const order = buffers.map((_, index) => index).sort((a, b) => definedBy[a]! - definedBy[b]!)
  const byTensor = planArena(
    order.map((index) => {
      const buffer = buffers[index]!
      return { ...buffer, bytes: Math.ceil(buffer.bytes / alignmentBytes) * alignmentBytes }
    }),
  )
  const placements = buffers.map((buffer) => ({ ...buffer, offset: 0 }))
  for (const [at, index] of order.entries()) placements[index]!.offset = byTensor.placements[at]!.offset
  const arenaBytes = placements.reduce((end, { offset, bytes }) => Math.max(end, offset + bytes), 0)
  return arenaBytes < byProducer.arenaBytes ? { ...byProducer, arenaBytes, placements } : byProducer
}
