import * as z from 'zod/mini'
import { gatePolicySchema } from '../store/gate-policy.ts'
import type { GateReading } from '../store/gate-reading.ts'

/** A verdict with what it was computed from, as it is read from a file: by `kinglet gate eval --json`, or by hand. */

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
