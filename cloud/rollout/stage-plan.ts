import type { GatePolicy, SignalPolicy } from '../store/gate-policy.ts'
import type { FleetSlice, RolloutPlan, StagePlan } from '../store/rollout-plan.ts'
import { amountShape, countShape, type FleetShape, findOf, reach, reachOfFew, type SignalPast } from './detection.ts'
import { chooseSlices, type SliceTraits } from './fleet-slices.ts'
import { partWeights } from './signal-tests.ts'
import { signalOf } from './signals.ts'
import { SLICE_DEVICES_PER_ARM } from './slice-tests.ts'

/** What a rollout can find, worked out before it starts from the fleet's size and what its devices did before. */

/** chosen: where nothing is known of a fleet, devices that differ as much as an exponential distribution does (CV 1), .2 events an hour */
const UNKNOWN: FleetShape = { unexplained: 1, eventsPerHour: 0.2 }
const PROPOSED_FIRST = [1, 2, 5, 10, 20, 25, 33, 50]

/** Devices of each arm once the stage's share is exposed.
 *  @param devices that take part, hold-back included */
export function exposedAt(percent: number, devices: number, holdback: number): number {
  const most = Math.max(devices - holdback, 0)
  return percent >= 100 ? most : Math.min(most, Math.max(1, Math.ceil((percent / 100) * devices - 1e-9)))
}

function holdbackOf(policy: GatePolicy, devices: number): number {
  if (comparisonOf(policy, devices) !== 'control' || policy.holdbackShare === 0) return 0
  const wanted = Math.max(policy.minDevicesPerArm, Math.ceil(policy.holdbackShare * devices))
  return Math.min(wanted, Math.floor(devices / 4))
}

function comparisonOf(policy: GatePolicy, devices: number): RolloutPlan['comparison'] {
  if (policy.ungated) return 'none'
  if (policy.comparison !== 'auto') return policy.comparison
  return devices >= 4 * policy.minDevicesPerArm ? 'control' : 'past'
}

export interface FleetBefore {
  /** devices that take part */
  readonly devices: readonly SliceTraits[]
  readonly unheard: number
  /** what they did before, by signal */
  readonly pasts: ReadonlyMap<string, SignalPast>
  /** bytes on the air of one of them, in the mean */
  readonly bytesPerDevice: number
}

/** @param percents rising, the last 100
 *  @returns the plan; its stages leave out those that would expose nobody new
 */
export function planStages(policy: GatePolicy, percents: readonly number[], fleet: FleetBefore): RolloutPlan {
  const { unheard } = fleet
  const metric = policy.metrics.find(({ alphaAdvance, advisory }) => alphaAdvance > 0 && advisory !== true)
  const past = fleet.pasts.get(metric?.name ?? '')?.past ?? []
  const devices = fleet.devices.length
  const comparison = comparisonOf(policy, devices)
  const holdback = holdbackOf(policy, devices)
  const shape = countShape(past) ?? UNKNOWN
  const known = past.filter(([, x]) => x > 0)
  const hours = known.reduce((sum, [, x]) => sum + x, 0) / Math.max(1, known.length)
  // What has changed at one site would be harm to a comparison with the past.
  const slices = comparison === 'control' ? chooseSlices(policy, fleet.devices) : []
  const context = {
    policy,
    devices,
    holdback,
    comparison,
    shape,
    pastHours: hours,
    pastDevices: known.length,
    slices,
    metric,
    fleet,
  }
  const stages = stagesOf(percents, context)
  let proposal: number[] | null = null
  if (comparison === 'control' && stages[0]?.decides === false) {
    const first = PROPOSED_FIRST.find((percent) => stagesOf([percent, 100], context)[0]?.decides === true)
    if (first !== undefined) proposal = [...new Set([first, Math.max(50, Math.min(100, 2 * first)), 100])]
  }
  return { devices, unheard, holdback, comparison, history: { devices: known.length, hours }, stages, slices, proposal }
}

interface PlanContext {
  readonly policy: GatePolicy
  readonly devices: number
  readonly holdback: number
  readonly comparison: RolloutPlan['comparison']
  readonly shape: FleetShape
  readonly pastHours: number
  readonly pastDevices: number
  readonly slices: readonly FleetSlice[]
  /** the first signal that asks for a proof */
  readonly metric: SignalPolicy | undefined
  readonly fleet: FleetBefore
}

function stagesOf(percents: readonly number[], context: PlanContext): StagePlan[] {
  const { policy, devices, holdback, comparison, metric, fleet } = context
  const margin = Math.log(metric?.marginRatio ?? 1)
  // The ratio's part of the test: the rest is for first events, for what begins later, and for slices.
  const shareOfSlices = context.slices.reduce((sum, { weight }) => sum + weight, 0)
  const weight = comparison === 'past' ? 1 : partWeights('count').ratio * (1 - shareOfSlices)
  const find = metric === undefined || metric.alphaRollback === 0 ? null : reach(metric.alphaRollback * weight)
  const prove = metric === undefined ? null : reach(metric.alphaAdvance / 2)
  const stages: StagePlan[] = []
  const tested = policy.metrics.flatMap((each) => {
    const signal = signalOf(each)
    if (signal === undefined || each.alphaRollback === 0 || each.advisory === true) return []
    const { past = [], halves = [] } = fleet.pasts.get(each.name) ?? {}
    const shape =
      signal.kind === 'count' ? countShape(past) : signal.kind === 'amount' ? amountShape(halves) : undefined
    return [{ policy: each, signal, shape, information: 0 }]
  })
  const ofSlices = context.slices.map(() => 0)
  let information = 0
  let before = 0
  for (const percent of percents) {
    const exposed = exposedAt(percent, devices, holdback)
    const fresh = exposed - before
    if (fresh <= 0) continue
    const control = devices - exposed
    const own = comparison === 'none' ? 0 : informationOf(fresh, exposed, control, context)
    if (comparison === 'past') information = own
    else information += own
    const root = Math.sqrt(information)
    if (comparison === 'control') {
      for (const each of tested) {
        if (each.shape !== undefined)
          each.information += informationOf(fresh, exposed, control, { ...context, shape: each.shape })
      }
    }
    const finds = tested.map((each) =>
      findOf(each.policy, each.signal, {
        ...{ information: each.information, sliced: shareOfSlices },
        arms: { canary: exposed, control: comparison === 'control' ? control : 0 },
      }),
    )
    stages.push({
      ...{ percent, exposed, fresh, control },
      decides: prove !== null && own > 0 && Math.sqrt(own) * (margin + Math.LN2) >= prove,
      provesEqual: prove !== null && information > 0 && root * margin >= prove,
      smallestHarm: find === null || information === 0 ? null : Math.exp(margin + find / root),
      ...(comparison !== 'past' && { finds }),
      ...(context.slices.length > 0 && {
        slices: context.slices.map((slice, i) => sliceHarm(slice, i, ofSlices, { fresh, control }, context)),
      }),
      bytes: Math.round(fresh * fleet.bytesPerDevice),
    })
    before = exposed
  }
  return stages
}

/** What is found in a slice, whose devices are among the new and the staying ones as often as in the whole.
 *  @param sums information of each slice over the stages, which this adds to */
function sliceHarm(
  slice: FleetSlice,
  index: number,
  sums: number[],
  { fresh, control }: { readonly fresh: number; readonly control: number },
  context: PlanContext,
): number | null {
  const { metric, devices, policy } = context
  if (metric === undefined || metric.alphaRollback === 0) return null
  const share = slice.devices / devices
  const own = { fresh: Math.floor(fresh * share), control: Math.floor(control * share) }
  const minDevicesPerArm = Math.min(policy.minDevicesPerArm, SLICE_DEVICES_PER_ARM)
  const small = { ...context, policy: { ...policy, minDevicesPerArm } }
  const sum = (sums[index] ?? 0) + informationOf(own.fresh, own.fresh, own.control, small)
  sums[index] = sum
  if (sum === 0) return null
  const alpha = metric.alphaRollback * partWeights('count').ratio * slice.weight
  const fewest = Math.max(SLICE_DEVICES_PER_ARM, Math.min(own.fresh, own.control))
  return metric.marginRatio * Math.exp(reachOfFew(alpha, fewest) / Math.sqrt(sum))
}

/** Information that a stage adds by its longest exposure; 0 where it lacks the devices or the events. */
function informationOf(fresh: number, exposed: number, control: number, context: PlanContext): number {
  const { policy, comparison, shape, pastHours, pastDevices } = context
  const eventsPerDevice = shape.eventsPerHour * policy.maxHours
  if (comparison === 'past') {
    const pairs = Math.min(exposed, pastDevices)
    if (pairs < 10 || pairs * eventsPerDevice < policy.minEvents) return 0
    return pairs / (1 / eventsPerDevice + 1 / Math.max(1e-9, shape.eventsPerHour * pastHours))
  }
  if (Math.min(fresh, control) < policy.minDevicesPerArm || (fresh + control) * eventsPerDevice < policy.minEvents)
    return 0
  return 1 / ((shape.unexplained + 1 / eventsPerDevice) * (1 / fresh + 1 / control))
}
