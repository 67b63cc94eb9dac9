import { poisson } from './intervals.ts'
import type { CurveReport } from './model-curve.ts'
import type { CurvePoint } from './operating-curve.ts'

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
export const rate = (perHour: number): string => (perHour < 10 ? perHour.toFixed(2) : perHour.toFixed(0))

const row = (name: string, point: CurvePoint): string => {
  const { smoothingWindows, thresholdPermille, missShare, missInterval, falsePerHour, falseInterval } = point
  const over = `${smoothingWindows} window${smoothingWindows === 1 ? '' : 's'}`
  const misses = `${percent(missShare)} missed (${percent(missInterval.low)} to ${percent(missInterval.high)})`
  const wakes = `${rate(falsePerHour)} false wakes an hour (${rate(falseInterval.low)} to ${rate(falseInterval.high)})`
  return `  ${name.padEnd(10)} cutoff ${(thresholdPermille / 1000).toFixed(3)} over ${over.padEnd(10)} ${misses}, ${wakes}`
}

/** The curve for people: what the bundle does, and what it could do. */
export function curveLines(report: CurveReport): readonly string[] {
  const { bundle, version, level, words, labels, negativeHours, own, proposal, maxFalsePerHour } = report
  const lines = [
    `${bundle} ${version} at ${level}: ${words} recordings of ${labels.length} word${labels.length === 1 ? '' : 's'}, ${negativeHours.toFixed(2)} h without a word; 95 % intervals`,
    row('as packed', own),
  ]
  if (proposal === null) {
    const least = Math.min(...report.points.map(({ falsePerHour }) => falsePerHour))
    lines.push(`  no setting has at most ${maxFalsePerHour} false wakes an hour; the best has ${rate(least)}`)
    return lines
  }
  const { smoothingWindows, thresholdPermille, falseInterval } = proposal
  lines.push(
    row('proposed', proposal),
    `  in the pack file: "policy": { … "smoothingWindows": ${smoothingWindows}, "thresholdPermille": ${thresholdPermille} }`,
  )
  if (falseInterval.high > maxFalsePerHour) {
    const needed = poisson(0).high / maxFalsePerHour
    lines.push(
      `  not shown to be at most ${maxFalsePerHour} an hour: that takes ${rate(needed)} h without a false wake, or more with some`,
    )
  }
  return lines
}

/** A row a setting. */
export function curveCsv({ points }: CurveReport): string {
  const head =
    'smoothing_windows,threshold_permille,words,misses,miss_share,miss_low,miss_high,confused,false_wakes,false_per_hour,false_low,false_high'
  const rows = points.map((point) =>
    [
      point.smoothingWindows,
      point.thresholdPermille,
      point.words,
      point.misses,
      point.missShare.toFixed(5),
      point.missInterval.low.toFixed(5),
      point.missInterval.high.toFixed(5),
      point.confused,
      point.falseWakes,
      point.falsePerHour.toFixed(4),
      point.falseInterval.low.toFixed(4),
      point.falseInterval.high.toFixed(4),
    ].join(','),
  )
  return `${[head, ...rows].join('\n')}\n`
}
