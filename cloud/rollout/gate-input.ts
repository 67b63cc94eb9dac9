import * as z from 'zod/mini'
import { gatePolicySchema } from '../store/gate-policy.ts'
import type { BatchEvidence, Exposure, GateReading } from '../store/gate-reading.ts'
import type { FleetSlice } from '../store/rollout-plan.ts'
import type { Spell } from './first-event.ts'
import type { DeviceOutcome } from './log-ratio.ts'

/** What a gate judges, and a verdict with what it was computed from as it is read from a file: by `kinglet gate eval --json`, or by hand. */

export interface ArmOutcomes {
  readonly canary: readonly DeviceOutcome[]
  /** of a comparison with the past: the same devices before, in the same order */
  readonly control: readonly DeviceOutcome[]
}

export interface SignalInput {
  /** the running stage's new canaries against control; null: no comparison yet */
  readonly batch: ArmOutcomes | null
  /** everybody exposed so far against control in the running stage, from the second stage on */
  readonly later: ArmOutcomes | null
  readonly spells: readonly Spell[]
  /** evidence frozen when earlier stages ended */
  readonly frozen: readonly BatchEvidence[]
  /** log e-values of `later`, frozen likewise */
  readonly frozenLater: readonly { readonly stage: number; readonly logE: number }[]
  /** both of each slice, by its index; absent: none has been frozen */
  readonly frozenSlices?: readonly FrozenSlice[] | undefined
}

export interface FrozenSlice {
  readonly slice: number
  readonly stage: number
  readonly batch: BatchEvidence | null
  readonly later: number
}

/** What a stage is judged by beside what its devices measured. */
export interface GateFrame {
  readonly stage: number
  readonly isLast: boolean
  readonly comparison: GateReading['comparison']
  /** whether the stage is large enough to decide; if not it only watches */
  readonly decides: boolean
  /** hours since the stage began, without those in which it was paused */
  readonly elapsedHours: number
  /** the gate does not end this stage but to take it back; absent: it does */
  readonly manual?: boolean | undefined
  /** how long a stage watches that cannot decide */
  readonly watchHours: number
  /** hours after which an undecided stage pauses: the policy's, plus what a person granted by resuming */
  readonly maxHours: number
  /** the plan's; absent: the fleet is not sliced */
  readonly slices?: readonly FleetSlice[] | undefined
  /** devices of the whole rollout that began to install the candidate, and those that failed or reverted */
  readonly installs: { readonly started: number; readonly failed: number }
  readonly exposure: Omit<Exposure, 'minShare'>
  readonly counted: GateReading['counted']
}

export interface GateInput extends GateFrame {
  readonly signals: Readonly<Record<string, SignalInput>>
}

const number = z.number().check(z.refine(Number.isFinite, 'a finite number'))
const amount = number.check(z.minimum(0))
const index = z.int().check(z.minimum(0), z.maximum(1_000))
const slices = z.optional(z.array(index))
const pair = z.tuple([amount, amount])
const outcome = z.object({ y: amount, x: amount, past: z.optional(pair), slices })
const arms = z.object({ canary: z.array(outcome), control: z.array(outcome) })
const batch = z.object({ d: number, variance: number.check(z.gt(0)) })
const spell = z.object({
  arm: z.enum(['canary', 'control']),
  from: z.int(),
  to: z.int(),
  event: z.nullable(z.int()),
  slices,
})
const signalInput = z.object({
  batch: z.nullable(arms),
  later: z.nullable(arms),
  spells: z.array(spell),
  frozen: z.array(batch),
  frozenLater: z.array(z.object({ stage: index, logE: number })),
  frozenSlices: z.optional(z.array(z.object({ slice: index, stage: index, batch: z.nullable(batch), later: number }))),
})
const counted = z.tuple([z.int(), z.int()])
const devices = z.int().check(z.minimum(0))

const gateInputSchema = z.object({
  stage: index,
  isLast: z.boolean(),
  comparison: z.enum(['control', 'past', 'none']),
  decides: z.boolean(),
  elapsedHours: amount,
  manual: z.optional(z.boolean()),
  watchHours: amount,
  maxHours: amount,
  signals: z.record(z.string(), signalInput),
  slices: z.optional(
    z.array(
      z.object({
        by: z.enum(['board', 'site', 'environment']),
        value: z.string(),
        devices,
        weight: z.number().check(z.gt(0), z.maximum(1)),
      }),
    ),
  ),
  installs: z.object({ started: devices, failed: devices }),
  exposure: z.object({
    ...{ assigned: devices, heard: devices, installed: devices, silent: devices },
    unkeyed: z.optional(devices),
  }),
  counted: z.object({ canary: counted, control: counted }),
})

export const keptReadingSchema = z.object({
  atMs: z.int(),
  policy: gatePolicySchema,
  input: gateInputSchema,
  /** compared as it is with what comes out */
  reading: z.custom<GateReading>((value) => typeof value === 'object' && value !== null, 'a reading'),
})
