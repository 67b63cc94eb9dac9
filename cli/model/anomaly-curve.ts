import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Head } from '../../contract/head.ts'
import type { BundleInput } from '../../contract/manifest-v2.ts'
import { present } from '../../contract/present.ts'
import { createHead } from '../../device/core/listen/heads.ts'
import type { OpenedBundle } from '../../model/opened-bundle.ts'
import { readAudio, wavFiles } from '../audio-files.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { readVectors, vectorFiles } from '../vector-files.ts'
import { hearWindows } from './curve-hearing.ts'
import type { DrawnPoint } from './curve-picture.ts'
import { type Interval, poisson, wilson } from './intervals.ts'
import { NEGATIVE } from './labelled-hearing.ts'
import { levelOf } from './model-curve.ts'
import type { HeardWindows } from './operating-curve.ts'

type AnomalyHead = Extract<Head, { kind: 'anomaly' }>

/** A threshold over a mean of windows, and what it costs. */
export interface AnomalyPoint extends DrawnPoint {
  readonly recordings: number
  /** recordings of an anomaly in which nothing alarmed */
  readonly misses: number
  readonly falseAlarms: number
}

export interface AnomalyCurveReport {
  readonly bundle: string
  readonly version: number
  readonly level: string
  /** each with an anomaly */
  readonly recordings: number
  /** input without one */
  readonly negativeHours: number
  readonly maxFalsePerHour: number
  readonly own: AnomalyPoint
  /** null when every setting alarms falsely more often than wanted */
  readonly proposal: AnomalyPoint | null
  readonly points: readonly AnomalyPoint[]
  readonly skipped: readonly { readonly file: string; readonly reason: string }[]
}

const HOUR_MS = 3_600_000
const LABEL = 'anomaly'
const SMOOTHING = [1, 2, 4, 8, 16, 32]
/** Chosen: thresholds by ratio between the lowest and the highest score that was heard, finer than what some hundred recordings tell apart. */
const THRESHOLDS = 48

/** The pipeline whose head scores anomalies.
 *  @param id one of several; default: the first that does
 *  @returns undefined: none, or one of another head */
export function anomalyPipeline(
  { manifest }: OpenedBundle,
  id: string | undefined,
): { readonly index: number; readonly id: string; readonly head: AnomalyHead } | undefined {
  for (const [index, pipeline] of manifest.pipelines.entries()) {
    if (id !== undefined && pipeline.id !== id) continue
    if (pipeline.head.kind === 'anomaly') return { index, id: pipeline.id, head: pipeline.head }
  }
  return undefined
}

/** Streams recordings through the shipping listener and counts, for each threshold of an anomaly head, what it would have missed and how often
 *  it would have alarmed falsely.
 *  @param dir `DIR/anomaly/*`, each with an anomaly, and `DIR/_negative/*` without one: WAV of sound, .csv, .jsonl or .f32 of vectors
 *  @param onProgress share of the recordings that are heard
 *  @throws CommandFailure for a folder that is laid out otherwise */
export async function anomalyCurveOf(
  bundle: OpenedBundle,
  path: string,
  dir: string,
  options: {
    readonly level: string | undefined
    readonly pipeline: NonNullable<ReturnType<typeof anomalyPipeline>>
    readonly maxFalsePerHour: number
  },
  onProgress: (share: number) => void,
): Promise<AnomalyCurveReport> {
  const { manifest } = bundle
  const { pipeline, maxFalsePerHour } = options
  const step = levelOf(path, manifest, pipeline, options.level)
  const skipped: { file: string; reason: string }[] = []
  const files = laidOut(dir, manifest.input)
  const total = files.anomalies.length + files.others.length
  let done = 0
  const read = (file: string): Float32Array | undefined => {
    onProgress(done++ / total)
    const read = readInput(file, manifest.input)
    if (!('refusal' in read)) return read.samples
    skipped.push({ file, reason: read.refusal })
    return undefined
  }
  const anomalies: HeardWindows[] = []
  for (const file of files.anomalies) {
    const samples = read(file)
    if (samples !== undefined) anomalies.push(await hearWindows(bundle, step, pipeline.index, [samples]))
  }
  const pieces = function* (): Generator<Float32Array> {
    for (const file of files.others) {
      const samples = read(file)
      if (samples !== undefined) yield samples
    }
  }
  // One stream, since what alarms falsely does not begin with a file.
  const others = await hearWindows(bundle, step, pipeline.index, pieces())
  if (anomalies.length === 0 || others.audioMs === 0) {
    throw new CommandFailure(
      `${dir}: no recording ${anomalies.length === 0 ? 'of' : 'without'} an anomaly could be read`,
      {
        hint: skipped[0] === undefined ? 'the files are empty' : `${skipped[0].file}: ${skipped[0].reason}`,
      },
    )
  }
  const { head } = pipeline
  const points = settings(head, [...anomalies, others]).map(([smoothingWindows, threshold]) =>
    pointOf(head, smoothingWindows, threshold, anomalies, others),
  )
  return {
    ...{ bundle: manifest.name, version: manifest.version, level: step.level, maxFalsePerHour, points, skipped },
    ...{ recordings: anomalies.length, negativeHours: others.audioMs / HOUR_MS },
    own: pointOf(head, head.smoothingWindows, head.threshold, anomalies, others),
    proposal:
      points
        .filter(({ falsePerHour }) => falsePerHour <= maxFalsePerHour)
        .sort((a, b) => a.misses - b.misses || a.falseAlarms - b.falseAlarms || b.threshold - a.threshold)[0] ?? null,
  }
}

function readInput(
  file: string,
  input: BundleInput,
): { readonly samples: Float32Array } | { readonly refusal: string } {
  if (input.kind === 'image') return { refusal: 'this command reads no pictures' }
  return input.kind === 'audio' ? readAudio(file, input.sampleRateHz) : readVectors(file, input.channels)
}

function laidOut(
  dir: string,
  { kind }: BundleInput,
): { readonly anomalies: readonly string[]; readonly others: readonly string[] } {
  let names: string[]
  try {
    names = readdirSync(dir, { withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [] : [entry.name]))
  } catch (cause) {
    throw fileFailure(dir, cause)
  }
  const filesOf = kind === 'audio' ? wavFiles : vectorFiles
  const [anomalies, others] = [LABEL, NEGATIVE].map((name) => (names.includes(name) ? filesOf(join(dir, name)) : []))
  if (anomalies !== undefined && others !== undefined && anomalies.length > 0 && others.length > 0) {
    return { anomalies, others }
  }
  const files = kind === 'audio' ? '*.wav' : 'files of .csv, .jsonl or .f32'
  throw new CommandFailure(`${dir}: no recordings ${anomalies?.length === 0 ? 'of anomalies' : 'without an anomaly'}`, {
    hint: `expected ${LABEL}/${files} with one each, and ${NEGATIVE}/${files} without`,
  })
}

/** Settings that are tried: all of a grid over the scores that were heard, and the bundle's own. */
function settings(head: AnomalyHead, streams: readonly HeardWindows[]): readonly (readonly [number, number])[] {
  let [low, high] = [Number.POSITIVE_INFINITY, 0]
  for (const { windows } of streams) {
    for (const { posteriors } of windows) {
      const score = posteriors[0] ?? 0
      if (!(score > 0)) continue
      low = Math.min(low, score)
      high = Math.max(high, score)
    }
  }
  // A little beyond both, so that all and none of them alarms.
  const [from, ratio] = [0.9 * low, (1.1 * high) / (0.9 * low)]
  const grid =
    high > 0
      ? Array.from({ length: THRESHOLDS }, (_, i) => Number((from * ratio ** (i / (THRESHOLDS - 1))).toPrecision(3)))
      : []
  const thresholds = [...new Set([...grid, head.threshold])].sort((a, b) => a - b)
  const smoothing = [...new Set([...SMOOTHING, head.smoothingWindows])].sort((a, b) => a - b)
  return smoothing.flatMap((windows) => thresholds.map((threshold) => [windows, threshold] as const))
}

function pointOf(
  head: AnomalyHead,
  smoothingWindows: number,
  threshold: number,
  anomalies: readonly HeardWindows[],
  others: HeardWindows,
): AnomalyPoint {
  // As far below its threshold as the bundle has it.
  const rearm = (head.rearm / head.threshold) * threshold
  const tried: AnomalyHead = { ...head, score: 'output', smoothingWindows, threshold, rearm }
  const misses = anomalies.filter((stream) => alarmsOf(tried, stream) === 0).length
  const falseAlarms = alarmsOf(tried, others)
  const hours = others.audioMs / HOUR_MS
  const { low, high }: Interval = poisson(falseAlarms)
  return {
    ...{ smoothingWindows, threshold, recordings: anomalies.length, misses, falseAlarms },
    missShare: misses / anomalies.length,
    missInterval: wilson(misses, anomalies.length),
    falsePerHour: falseAlarms / hours,
    falseInterval: { low: low / hours, high: high / hours },
  }
}

const NONE = new Float32Array(0)

/** Alarms of the shipping head over scores that were heard once. */
function alarmsOf(head: AnomalyHead, { windows }: HeardWindows): number {
  const runner = createHead(head, true)
  let alarms = 0
  for (const { atMs, posteriors, afterGap } of windows) {
    if (afterGap) runner.reset()
    if (present(runner.judge(posteriors, NONE, atMs), 'a score').event >= 0) alarms++
  }
  return alarms
}
