import * as z from 'zod/mini'
import { boardField, uintField } from './fields.ts'

/** Chosen: more words than anybody records, and ten years of sound. */
const WORDS_MAX = 1_000_000
const HOURS_MAX = 100_000
/** Chosen: a device of 100 W. */
const MILLIJOULE_PER_HOUR_MAX = 360_000_000

/** What a pipeline does at a level, measured by its packer on labelled recordings: counts, so that everybody can make intervals of them. */
export const levelMeasuresSchema = z.strictObject({
  /** recordings in which one word is said, and those of them in which it was heard */
  words: z.int().check(z.minimum(1), z.maximum(WORDS_MAX)),
  heard: z.int().check(z.minimum(0), z.maximum(WORDS_MAX)),
  /** sound that holds no word, and wakes in it */
  hours: z.number().check(z.gt(0), z.maximum(HOURS_MAX)),
  falseWakes: uintField,
  /** of the pipeline's graphs and buffers at this level */
  ramBytes: uintField,
  /** in that sound, on this board: computed from the board's published figures, not metered */
  millijoulePerHour: z.number().check(z.minimum(0), z.maximum(MILLIJOULE_PER_HOUR_MAX)),
  board: boardField,
})
export type LevelMeasures = z.infer<typeof levelMeasuresSchema>

/** Chosen: who says a word four times and is heard once stops saying it. A level below that is no level that hears. */
export const RECALL_FLOOR = 0.25

/** Whether a level hears what it is there for: a pipeline of it is not measured, or hears at least the floor's share of its words.
 *  @param measured one for each pipeline, null where it is off or was not measured; undefined: nothing was */
export function levelHears(measured: readonly (LevelMeasures | null)[] | undefined, runs: readonly unknown[]): boolean {
  if (measured === undefined) return true
  return runs.some((run, pipeline) => {
    const own = measured[pipeline]
    return run !== null && (own == null || own.heard >= RECALL_FLOOR * own.words)
  })
}
