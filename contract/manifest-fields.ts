import * as z from 'zod/mini'
import { nameField, uintField } from './fields.ts'
import { LADDER_LEVELS } from './ladder-levels.ts'
import { LIMITS } from './limits.ts'

/** Fields that both versions of a bundle's manifest have. */

export const permille = z.int().check(z.minimum(0), z.maximum(1000))
export const finite = z.number()
const labelField = z.string().check(z.maxLength(LIMITS.labelLength))
export const levelField = z.enum(LADDER_LEVELS)
export const hopFramesField = z.int().check(z.minimum(1), z.maximum(500))
export const labelsField = z.array(labelField).check(z.minLength(1), z.maxLength(LIMITS.labels))

/** real = scale × (q − zeroPoint) */
export const quantizationSchema = z.strictObject({ scale: finite, zeroPoint: z.int() })

export const graphFields = {
  id: nameField,
  /** quantization of integer ends where the graph itself does not tell it; null: read from the graph */
  input: z.nullable(quantizationSchema),
  output: z.nullable(quantizationSchema),
  /** the planner's figures for this graph; a packer measures them, a device checks them again before load */
  arenaBytes: uintField,
  /** arena, persistent records and kernel scratch: what the board must have free */
  ramBytes: uintField,
  constantBytes: uintField,
  macs: uintField,
}

/** null: every window is inferred; otherwise only while the frame energy exceeds the tracked noise floor */
export const gateField = z.nullable(z.strictObject({ marginDb: finite, hangoverMs: uintField }))

export const wakePolicySchema = z.strictObject({
  /** windows the posterior is averaged over */
  smoothingWindows: z.int().check(z.minimum(1), z.maximum(32)),
  thresholdPermille: permille,
  refractoryMs: uintField,
  /** how long the device stays awake after a wake, waiting for the application */
  wakeHoldMs: uintField,
  /** labels that never wake */
  ignoreLabels: z.array(z.string().check(z.maxLength(LIMITS.nameLength))).check(z.maxLength(LIMITS.labels)),
})
export type WakePolicy = z.infer<typeof wakePolicySchema>
