import type { WakePolicy } from '../../contract/manifest-fields.ts'
import { createDetector } from '../../device/core/listen/detector.ts'
import { type Interval, poisson, wilson } from './intervals.ts'

/** What the network said of the windows of a stream of sound. */
export interface HeardWindows {
  /** one a window, in order */
  readonly windows: readonly HeardWindow[]
  readonly audioMs: number
}

interface HeardWindow {
  /** audio time of the window's end */
  readonly atMs: number
  /** one a label */
  readonly posteriors: Float32Array
  /** whether windows before it were not inferred, after which the detector has forgotten */
  readonly afterGap: boolean
}

/** A recording in which one word is spoken. */
export interface HeardWord extends HeardWindows {
  readonly label: string
}

/** What a detector is set to. */
export type CurveSetting = Pick<WakePolicy, 'smoothingWindows' | 'thresholdPermille'>

/** What a setting costs. */
export interface CurvePoint extends CurveSetting {
  readonly words: number
  /** recordings in which the word was not found */
  readonly misses: number
  readonly missShare: number
  readonly missInterval: Interval
  /** recordings in which another word was found */
  readonly confused: number
  /** wakes in sound that holds no word */
  readonly falseWakes: number
  readonly falsePerHour: number
  readonly falseInterval: Interval
}

const HOUR_MS = 3_600_000
/** Chosen: steps of two hundredths, finer than what some hundred recordings tell apart. */
const THRESHOLDS = Array.from({ length: 49 }, (_, i) => 20 * (i + 1))
const SMOOTHING = [1, 2, 3, 4, 5, 6, 8]

/** Settings that are tried: all of a grid, and the bundle's own.
 *  @param sparse windows are seconds apart, and the listener takes each alone */
export function curveSettings(own: WakePolicy, sparse: boolean): readonly CurveSetting[] {
  const smoothing = sparse ? [1] : [...new Set([...SMOOTHING, own.smoothingWindows])].sort((a, b) => a - b)
  const thresholds = [...new Set([...THRESHOLDS, own.thresholdPermille])].sort((a, b) => a - b)
  return smoothing.flatMap((smoothingWindows) =>
    thresholds.map((thresholdPermille) => ({ smoothingWindows, thresholdPermille })),
  )
}

/** Labels that a stream wakes for under a policy: the shipping detector over windows that were inferred once. */
export function wakesOf({ windows }: HeardWindows, policy: WakePolicy, labels: readonly string[]): readonly string[] {
  const detector = createDetector(policy, labels)
  const wakes: string[] = []
  for (const { atMs, posteriors, afterGap } of windows) {
    if (afterGap) detector.reset()
    const label = labels[detector.update(posteriors, atMs)]
    if (label !== undefined) wakes.push(label)
  }
  return wakes
}

/** Counts what a setting misses and where it wakes falsely.
 *  @param others sound that holds no word, one stream after the other */
export function curvePoint(
  setting: CurveSetting,
  policy: WakePolicy,
  labels: readonly string[],
  words: readonly HeardWord[],
  others: readonly HeardWindows[],
): CurvePoint {
  const tried = { ...policy, ...setting }
  let misses = 0
  let confused = 0
  for (const word of words) {
    const wakes = wakesOf(word, tried, labels)
    if (!wakes.includes(word.label)) misses++
    if (wakes.some((label) => label !== word.label)) confused++
  }
  const falseWakes = others.reduce((sum, other) => sum + wakesOf(other, tried, labels).length, 0)
  const hours = others.reduce((sum, { audioMs }) => sum + audioMs, 0) / HOUR_MS
  const { low, high } = poisson(falseWakes)
  return {
    ...setting,
    words: words.length,
    misses,
    missShare: misses / words.length,
    missInterval: wilson(misses, words.length),
    confused,
    falseWakes,
    falsePerHour: falseWakes / hours,
    falseInterval: { low: low / hours, high: high / hours },
  }
}

/** The setting that misses least among those that wake falsely no more often than wanted; of equals the one with the fewest false wakes,
 *  then the strictest.
 *  @returns undefined when each of them wakes more often */
export function proposed(points: readonly CurvePoint[], maxFalsePerHour: number): CurvePoint | undefined {
  return points
    .filter(({ falsePerHour }) => falsePerHour <= maxFalsePerHour)
    .sort((a, b) => a.misses - b.misses || a.falseWakes - b.falseWakes || b.thresholdPermille - a.thresholdPermille)[0]
}

/** Recordings and misses by label under a setting. */
export function missesByLabel(
  setting: CurveSetting,
  policy: WakePolicy,
  labels: readonly string[],
  words: readonly HeardWord[],
): Readonly<Record<string, { readonly words: number; readonly misses: number }>> {
  const byLabel: Record<string, { words: number; misses: number }> = {}
  for (const word of words) {
    const row = byLabel[word.label] ?? { words: 0, misses: 0 }
    byLabel[word.label] = row
    row.words++
    if (!wakesOf(word, { ...policy, ...setting }, labels).includes(word.label)) row.misses++
  }
  return byLabel
}
