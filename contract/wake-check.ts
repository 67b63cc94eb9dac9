import * as z from 'zod/mini'
import { idField, uintField } from './fields.ts'
import { LIMITS } from './limits.ts'

/** What the cloud asks of a gateway after its verdicts: the wakes themselves, to judge some a second time. */

/** `GET /v1/wake-checks`: what is asked of the gateway whose token it is, oldest first. */
export const wakeChecksSchema = z.strictObject({
  v: z.literal(1),
  checks: z
    .array(
      z.strictObject({
        id: uintField,
        device: idField,
        /** 0: of a device that does not say */
        incarnation: uintField,
        boot: uintField,
        /** indices of the wakes, both inclusive; at most LIMITS.wakeCheckWakes of them */
        first: uintField,
        last: uintField,
      }),
    )
    .check(z.maxLength(LIMITS.wakeChecks)),
})
export type WakeChecks = z.infer<typeof wakeChecksSchema>

/** `POST /v1/wake-checks/{id}`: those that the gateway has, as the device sent them, hex. */
export const wakeAnswerSchema = z.strictObject({
  v: z.literal(1),
  wakes: z
    .array(z.string().check(z.regex(/^([0-9a-f]{2})+$/), z.maxLength(2 * LIMITS.wakeBytes)))
    .check(z.maxLength(LIMITS.wakeCheckWakes)),
})
export type WakeAnswer = z.infer<typeof wakeAnswerSchema>
