import { chooseSlices, type SliceTraits, slicesOf } from '../cloud/rollout/fleet-slices.ts'
import { judgeStage } from '../cloud/rollout/gate.ts'
import { DEFAULT_GATE_POLICY } from '../cloud/rollout/gate-defaults.ts'
import type { ArmOutcomes, FrozenSlice, GateInput, SignalInput } from '../cloud/rollout/gate-input.ts'
import type { DeviceOutcome } from '../cloud/rollout/log-ratio.ts'
import { stepsOn } from '../cloud/rollout/planner.ts'
import { exposedAt } from '../cloud/rollout/stage-plan.ts'
import type { GatePolicy } from '../cloud/store/gate-policy.ts'
import type { BatchEvidence, SignalReading } from '../cloud/store/gate-reading.ts'
import { present } from '../contract/present.ts'
import { type SeededRandom, seededRandom } from '../contract/random.ts'
import { FLEET_SHAPES, type FleetShape, poisson } from './gate-simulation.ts'

/** Monte Carlo of a whole rollout over a sliced fleet: several signals, stages whose evidence is frozen and added, looks every so often. Stages
 *  end by the clock, so that the gate has all its chances to be wrong.
 */
export interface SlicedFleet {
  readonly devices: number
  /** the devices' own factors of each signal's rate */
  readonly shape: FleetShape
  readonly signals: number
  /** events an hour of a device */
  readonly rate?: number
  /** ratio at the edge of what is no harm; 1: equal models are on the line */
  readonly marginRatio?: number
  readonly preHours?: number
  readonly percents?: readonly number[]
  readonly hoursOfStage?: number
  readonly every?: number
  /** factor of the candidate on the first signal of a device */
  readonly harm?: (device: SliceTraits) => number
  readonly share?: number
}

/** Three boards and three sites: six slices. The third board has a tenth of the devices. */
const BOARDS = [
  ['b-large', 0.6],
  ['b-middle', 0.9],
  ['b-small', 1],
] as const
const SITES = ['s-1', 's-2', 's-3']

const pick = (random: SeededRandom): SliceTraits => {
  const u = random.next()
  const [board] = present(
    BOARDS.find(([, below]) => u < below),
    'a board',
  )
  return { board, site: present(SITES[Math.floor(random.next() * SITES.length)], 'a site'), environment: null }
}

/** Shares of runs, by what decides. */
export interface SliceResult {
  /** the gate: the mean of e-values over whole and slices */
  readonly mixture: number
  /** the same weights as shares of the error probability: the first step of Holm, which is the only one before a roll back */
  readonly divided: number
  /** the whole alone, at all of the error probability */
  readonly whole: number
  /** runs that were rolled back and named the small board first */
  readonly named: number
  /** exposed devices when the gate rolled back, in the mean; null: it never did */
  readonly exposed: number | null
}

function policyOf({ signals, marginRatio = 1.25, share }: SlicedFleet): GatePolicy {
  return {
    ...DEFAULT_GATE_POLICY,
    ...(share !== undefined && { slices: { ...DEFAULT_GATE_POLICY.slices, share } }),
    installFailures: { p0: 0.02, alpha: 0 },
    metrics: Array.from({ length: signals }, (_, i) => ({
      ...{ name: `p/${i}`, alphaRollback: 0.05 / signals, alphaAdvance: 0, marginRatio, planRatio: 1.5 },
      declared: {
        signal: { kind: 'count' as const, name: String(i), unit: '', harm: 'higher' as const, per: 'hour' as const },
        worse: 'higher' as const,
      },
    })),
  }
}

interface SimulatedDevice {
  readonly traits: SliceTraits
  readonly slices: readonly number[]
  readonly rates: readonly number[]
  readonly past: readonly (readonly [number, number] | undefined)[]
  readonly factor: number
  stage: number | null
  sums: number[]
  first: (number | null)[]
}

const mean = (parts: readonly { weight: number; logE: number }[]): number => {
  const rest = 1 - parts.reduce((sum, { weight }) => sum + weight, 0)
  return Math.log(parts.reduce((sum, { weight, logE }) => sum + weight * Math.exp(logE), rest))
}

/** What the whole would say without slices, and what a division of the error probability would. */
function others(reading: SignalReading, weights: readonly number[]): { whole: boolean; divided: boolean } {
  const share = weights.reduce((sum, weight) => sum + weight, 0)
  const own = reading.parts.filter(({ kind }) => kind !== 'slices')
  const logE = mean(own.map((part) => ({ ...part, weight: part.weight / (1 - share) })))
  const { threshold } = present(reading.rollback, 'a test')
  const slices = reading.slices ?? []
  return {
    whole: logE >= threshold,
    divided:
      logE + Math.log(1 - share) >= threshold ||
      slices.some((slice, i) => slice.logE + Math.log(weights[i] ?? 0) >= threshold),
  }
}

export function simulateSlices(fleet: SlicedFleet, runs: number, seed: number): SliceResult {
  const { devices, shape, signals, rate = 0.2, preHours = 168, percents = [20, 50, 100] } = fleet
  const { hoursOfStage = 48, every = 1, harm = () => 1 } = fleet
  const policy = policyOf(fleet)
  const { harm: _, share: __, ...named } = fleet
  const root = seededRandom(seed).fork(JSON.stringify(named))
  const total = { mixture: 0, divided: 0, whole: 0, named: 0, exposed: 0 }
  const range = Array.from({ length: signals }, (_each, i) => i)
  for (let run = 0; run < runs; run++) {
    const random = root.fork(String(run))
    const traits = Array.from({ length: devices }, () => pick(random))
    const slices = chooseSlices(policy, traits)
    const weights = slices.map(({ weight }) => weight)
    const find = slicesOf(slices)
    const all = traits.map((own): SimulatedDevice => {
      const rates = range.map(() => rate * FLEET_SHAPES[shape](random))
      const past = rates.map((each) =>
        preHours > 0 ? ([poisson(random, each * preHours), preHours] as const) : undefined,
      )
      return { traits: own, slices: find(own), rates, past, factor: harm(own), stage: null, sums: [], first: [] }
    })
    // Devices are in the order of their buckets; the last are held back.
    const holdback = Math.ceil(policy.holdbackShare * devices)
    const frozen = range.map(() => ({
      batches: [] as BatchEvidence[],
      later: [] as { stage: number; logE: number }[],
      slices: [] as FrozenSlice[],
    }))
    const seen = { mixture: false, divided: false, whole: false }
    for (const [index, percent] of percents.entries()) {
      const stage = index + 1
      const exposed = exposedAt(percent, devices, Math.max(holdback, policy.minDevicesPerArm))
      for (const [i, device] of all.entries()) {
        if (i < exposed) device.stage ??= stage
        device.sums = range.map(() => 0)
        device.first = range.map(() => null)
      }
      const canaries = all.filter((device) => device.stage !== null)
      const fresh = all.filter((device) => device.stage === stage)
      const controls = all.filter((device) => device.stage === null)
      for (let hour = every; hour <= hoursOfStage; hour += every) {
        for (const device of all) {
          for (const signal of range) {
            const factor = signal === 0 && device.stage !== null ? device.factor : 1
            const events = poisson(random, (device.rates[signal] ?? 0) * factor * every)
            device.sums[signal] = (device.sums[signal] ?? 0) + events
            if (events > 0) device.first[signal] ??= hour / every
          }
        }
        const arms = (signal: number, canary: readonly SimulatedDevice[]): ArmOutcomes => {
          const outcome = (device: SimulatedDevice): DeviceOutcome => ({
            ...{ y: device.sums[signal] ?? 0, x: hour, past: device.past[signal], slices: device.slices },
          })
          return { canary: canary.map(outcome), control: controls.map(outcome) }
        }
        const inputs = range.map((signal): [string, SignalInput] => [
          `p/${signal}`,
          {
            batch: arms(signal, fresh),
            later: stage > 1 ? arms(signal, canaries) : null,
            spells: [...canaries, ...controls].map((device) => ({
              arm: device.stage === null ? 'control' : 'canary',
              ...{ from: 1, to: hour / every + 1, event: device.first[signal] ?? null, slices: device.slices },
            })),
            frozen: frozen[signal]?.batches ?? [],
            frozenLater: frozen[signal]?.later.filter((each) => each.stage > 1) ?? [],
            frozenSlices: frozen[signal]?.slices ?? [],
          },
        ])
        const input: GateInput = {
          ...{ stage, isLast: stage === percents.length, comparison: 'control', decides: true, elapsedHours: hour },
          ...{ watchHours: 24, maxHours: 168, signals: Object.fromEntries(inputs), slices },
          installs: { started: canaries.length, failed: 0 },
          exposure: { assigned: canaries.length, heard: canaries.length, installed: canaries.length, silent: 0 },
          counted: { canary: [fresh.length, fresh.length], control: [controls.length, controls.length] },
        }
        const reading = judgeStage(policy, input)
        for (const metric of reading.metrics) {
          const { whole, divided } = others(metric, weights)
          seen.whole ||= whole
          seen.divided ||= divided
        }
        if (reading.verdict === 'rollback' && !seen.mixture) {
          seen.mixture = true
          total.exposed += canaries.length
          if (reading.reasons.some(({ slice }) => slice?.value === 'b-small')) total.named++
        }
        if (hour + every <= hoursOfStage) continue
        const [end] = stepsOn({ state: 'running', percents, stage, policy }, reading, false)
        if (end?.kind !== 'end-stage') continue
        for (const [signal, each] of end.freeze.entries()) {
          const own = present(frozen[signal], 'a signal')
          if (each.batch !== null) own.batches.push(each.batch)
          own.later.push({ stage, logE: each.later })
          for (const [slice, { running, later }] of each.slices.entries()) {
            own.slices.push({ slice, stage, batch: running, later })
          }
        }
      }
      if (seen.mixture && seen.divided && seen.whole) break
    }
    for (const key of ['mixture', 'divided', 'whole'] as const) if (seen[key]) total[key]++
  }
  const { mixture, exposed } = total
  const share = (count: number): number => count / runs
  return {
    ...{ mixture: share(mixture), divided: share(total.divided), whole: share(total.whole), named: share(total.named) },
    exposed: mixture === 0 ? null : exposed / mixture,
  }
}
