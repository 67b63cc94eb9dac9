import type { BundleManifest, LadderStep } from '../../contract/manifest.ts'
import type { OpenedBundle } from '../../model/opened-bundle.ts'
import { CommandFailure } from '../failure.ts'
import { LabelledHearing, laidOut } from './labelled-hearing.ts'
import { type CurvePoint, curvePoint, curveSettings, missesByLabel, proposed } from './operating-curve.ts'
import { type WakePipeline, wakePipeline } from './wake-pipeline.ts'

const HOUR_MS = 3_600_000

type ByLabel = ReturnType<typeof missesByLabel>

export interface CurveReport {
  readonly bundle: string
  readonly version: number
  readonly level: string
  /** recordings with one word each, and of how many labels */
  readonly words: number
  readonly labels: readonly string[]
  /** sound without a word */
  readonly negativeHours: number
  readonly maxFalsePerHour: number
  /** the bundle's own policy */
  readonly own: CurvePoint & { readonly byLabel: ByLabel }
  /** null when every setting wakes falsely more often than wanted */
  readonly proposal: (CurvePoint & { readonly byLabel: ByLabel }) | null
  readonly points: readonly CurvePoint[]
  readonly skipped: readonly { readonly file: string; readonly reason: string }[]
}

interface CurveOptions {
  readonly level: string | undefined
  /** one of several that hear words; undefined: the first */
  readonly pipeline: string | undefined
  readonly maxFalsePerHour: number
}

/** Streams labelled recordings through the shipping listener and counts, for each setting of its detector, what it would have missed and
 *  where it would have woken falsely.
 *  @param dir `DIR/<label>/*.wav`, one word a recording; labels that the bundle does not wake for, and `_negative`, hold no word
 *  @param onProgress share of the recordings that are heard
 *  @returns with what people should know of the recordings
 *  @throws CommandFailure for a folder that is laid out otherwise */
export async function curveOf(
  bundle: OpenedBundle,
  bundlePath: string,
  dir: string,
  { level, pipeline: id, maxFalsePerHour }: CurveOptions,
  onProgress: (share: number) => void,
): Promise<{ readonly report: CurveReport; readonly notes: readonly string[] }> {
  const { manifest } = bundle
  const pipeline = wakePipeline(bundlePath, manifest, id)
  const step = levelOf(bundlePath, manifest, pipeline, level)
  const heard = new LabelledHearing(bundle, pipeline.index, step, laidOut(dir, pipeline), onProgress)
  const words = await heard.words()
  const others = await heard.others()
  const { policy, labels } = pipeline
  const { sparse, skipped, notes } = heard
  if (words.length === 0 || others.audioMs === 0) {
    throw new CommandFailure(`${dir}: no ${words.length === 0 ? 'word' : 'sound without a word'} could be read`, {
      hint: skipped[0] === undefined ? 'the files are empty' : `${skipped[0].file}: ${skipped[0].reason}`,
    })
  }
  const pointOf = (setting: Parameters<typeof curvePoint>[0]) => curvePoint(setting, policy, labels, words, [others])
  const points = curveSettings(policy, sparse).map(pointOf)
  const withLabels = (point: CurvePoint) => ({ ...point, byLabel: missesByLabel(point, policy, labels, words) })
  const best = proposed(points, maxFalsePerHour)
  const own = { smoothingWindows: sparse ? 1 : policy.smoothingWindows, thresholdPermille: policy.thresholdPermille }
  const report: CurveReport = {
    bundle: manifest.name,
    version: manifest.version,
    level: step.level,
    words: words.length,
    labels: [...new Set(words.map(({ label }) => label))],
    negativeHours: others.audioMs / HOUR_MS,
    maxFalsePerHour,
    own: withLabels(pointOf(own)),
    proposal: best === undefined ? null : withLabels(best),
    points,
    skipped,
  }
  return { report, notes: notes.lines() }
}

/** The level that is asked for, or the first. @throws CommandFailure when the pipeline does not run there */
export function levelOf(
  path: string,
  manifest: BundleManifest,
  { index, id }: Pick<WakePipeline, 'index' | 'id'>,
  level: string | undefined,
): LadderStep {
  const step = manifest.ladder.find((candidate) => level === undefined || candidate.level === level)
  if (step === undefined) {
    const known = manifest.ladder.map((candidate) => candidate.level).join(', ')
    throw new CommandFailure(`${path} has no ladder level "${level}"`, { hint: `its levels are ${known}`, exitCode: 2 })
  }
  if (step.runs[index] != null) return step
  throw new CommandFailure(`${path}: the level ${step.level} runs no network of pipeline "${id}"`)
}
