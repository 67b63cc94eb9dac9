import * as z from 'zod/mini'
import { uintField } from './fields.ts'

const DAY_MINUTES = 1_440
/** Chosen: a year and a month of the zone with most changes of its clock (Morocco: four a year), and one to begin with. */
const OFFSETS_MAX = 8
/** spec: zones are at most 14 hours from UTC; what their clocks were before there were zones is of no use here. */
const OFFSET_MINUTES_MAX = 14 * 60

/** Hours of the day in which a device may download, by the clock of its zone. Devices have no table of zones: the cloud says how far the zone's
 *  clock is from UTC, now and after each change that it knows of. */
export const updateWindowSchema = z
  .strictObject({
    /** minutes since midnight */
    fromMinute: z.int().check(z.minimum(0), z.maximum(DAY_MINUTES - 1)),
    /** the window ends as this minute begins; not after `fromMinute`: it goes over midnight, or all day */
    toMinute: z.int().check(z.minimum(0), z.maximum(DAY_MINUTES)),
    /** rising; the first holds before it too */
    offsets: z
      .array(
        z.strictObject({
          /** Unix ms from which it holds */
          fromMs: uintField,
          /** minutes that the zone's clock is ahead of UTC */
          minutes: z.int().check(z.minimum(-OFFSET_MINUTES_MAX), z.maximum(OFFSET_MINUTES_MAX)),
        }),
      )
      .check(z.minLength(1), z.maxLength(OFFSETS_MAX)),
  })
  .check(
    z.refine(
      ({ offsets }) => offsets.every(({ fromMs }, i) => i === 0 || fromMs > (offsets[i - 1]?.fromMs ?? 0)),
      'offsets that do not rise',
    ),
  )
export type ZonedWindow = z.infer<typeof updateWindowSchema>
