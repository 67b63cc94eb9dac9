import type { GatePolicy } from '../store/gate-policy.ts'
import type { FleetSlice, RolloutPlan, StagePlan } from '../store/rollout-plan.ts'
import { chooseSlices, type SliceTraits } from './fleet-slices.ts'
import { RATIO_WEIGHT } from './gate.ts'
import { oneSidedBoundary, oneSidedRho } from './normal-mixture.ts'

/** What a rollout can find, worked out before it starts from the fleet's size and what its devices did before. */

/** chosen: where nothing is known of a fleet, devices that differ as much as an exponential distribution does (CV 1), .2 events an hour */
const UNKNOWN = { cv2: 1, eventsPerHour: 0.2 }
const PROPOSED_FIRST = [1, 2, 5, 10, 20, 25, 33, 50]
/** 80 % normal quantile */
const Z_POWER = 0.84

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

/** False wakes and listening hours of devices before the rollout. */
export type FleetPast = readonly (readonly [y: number, x: number])[]

interface FleetShape {
  readonly eventsPerHour: number
  /** squared coefficient of variation of the devices' own rates that their past does not explain */
  readonly unexplained: number
}

function shapeOf(past: FleetPast): FleetShape {
  const known = past.filter(([, x]) => x > 0)
  const y = known.reduce((sum, [events]) => sum + events, 0)
  const x = known.reduce((sum, [, hours]) => sum + hours, 0)
  if (known.length < 3 || y <= 0) return { eventsPerHour: UNKNOWN.eventsPerHour, unexplained: UNKNOWN.cv2 }
  const mean = y / x
  const squares = known.reduce((sum, [events, hours]) => sum + (events / hours - mean) ** 2, 0) / (known.length - 1)
  const noise = known.reduce((sum, [, hours]) => sum + mean / hours, 0) / known.length
  const between = Math.max(0, squares - noise)
  const left = between === 0 ? 0 : (between * noise) / (between + noise)
  return { eventsPerHour: mean, unexplained: left / mean ** 2 }
}

/** Standard errors beyond which a test of this strictness decides with 80 % power. */
const reach = (alpha: number): number => oneSidedBoundary(1, alpha, oneSidedRho(1, alpha)) + Z_POWER

/** @param percents rising, the last 100
 *  @returns the plan; its stages leave out those that would expose nobody new
 */
export function planStages(
  policy: GatePolicy,
  percents: readonly number[],
  fleet: { readonly devices: readonly SliceTraits[]; readonly unheard: number; readonly past: FleetPast },
): RolloutPlan {
  const { unheard, past } = fleet
  const devices = fleet.devices.length
  const comparison = comparisonOf(policy, devices)
  const holdback = holdbackOf(policy, devices)
  const shape = shapeOf(past)
  const known = past.filter(([, x]) => x > 0)
  const hours = known.reduce((sum, [, x]) => sum + x, 0) / Math.max(1, known.length)
  // What has changed at one site would be harm to a comparison with the past.
  const slices = comparison === 'control' ? chooseSlices(policy, fleet.devices) : []
  const context = { policy, devices, holdback, comparison, shape, pastHours: hours, pastDevices: known.length, slices }
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
}

function stagesOf(percents: readonly number[], context: PlanContext): StagePlan[] {
  const { policy, devices, holdback, comparison } = context
  const metric = policy.metrics.find(({ alphaAdvance, advisory }) => alphaAdvance > 0 && advisory !== true)
  const margin = Math.log(metric?.marginRatio ?? 1)
  // The ratio's part of the test: the rest is for first events, for what begins later, and for slices.
  const shareOfSlices = context.slices.reduce((sum, { weight }) => sum + weight, 0)
  const weight = comparison === 'past' ? 1 : RATIO_WEIGHT * (1 - shareOfSlices)
  const find = metric === undefined || metric.alphaRollback === 0 ? null : reach(metric.alphaRollback * weight)
  const prove = metric === undefined ? null : reach(metric.alphaAdvance / 2)
  const stages: StagePlan[] = []
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
    stages.push({
      ...{ percent, exposed, fresh, control },
      decides: prove !== null && own > 0 && Math.sqrt(own) * (margin + Math.LN2) >= prove,
      provesEqual: prove !== null && information > 0 && root * margin >= prove,
      smallestHarm: find === null || information === 0 ? null : Math.exp(margin + find / root),
    })
    before = exposed
  }
  return stages
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
