import type { AnomalyCurveReport, AnomalyPoint } from './anomaly-curve.ts'
import { percent, rate } from './curve-lines.ts'

const row = (name: string, point: AnomalyPoint): string => {
  const { smoothingWindows, threshold, missShare, missInterval, falsePerHour, falseInterval } = point
  const over = `${smoothingWindows} window${smoothingWindows === 1 ? '' : 's'}`
  const misses = `${percent(missShare)} missed (${percent(missInterval.low)} to ${percent(missInterval.high)})`
  const alarms = `${rate(falsePerHour)} false alarms an hour (${rate(falseInterval.low)} to ${rate(falseInterval.high)})`
  return `  ${name.padEnd(10)} threshold ${threshold} over ${over.padEnd(10)} ${misses}, ${alarms}`
}

/** The curve for people. */
export function anomalyLines(report: AnomalyCurveReport): readonly string[] {
  const { bundle, version, level, recordings, negativeHours, own, proposal, maxFalsePerHour } = report
  return [
    `${bundle} ${version} at ${level}: ${recordings} recordings of anomalies, ${negativeHours.toFixed(2)} h without one; 95 % intervals`,
    row('as packed', own),
    ...(proposal === null
      ? [`  no setting has at most ${maxFalsePerHour} false alarms an hour`]
      : [
          row('proposed', proposal),
          `  in the pack file: anomaly: { threshold: ${proposal.threshold}, smoothingWindows: ${proposal.smoothingWindows}, … }`,
        ]),
  ]
}

/** A row a setting. */
export function anomalyCsv({ points }: AnomalyCurveReport): string {
  const head =
    'smoothing_windows,threshold,recordings,misses,miss_share,miss_low,miss_high,false_alarms,false_per_hour,false_low,false_high'
  const rows = points.map((point) =>
    [
      ...[point.smoothingWindows, point.threshold, point.recordings, point.misses, point.missShare.toFixed(5)],
      ...[point.missInterval.low.toFixed(5), point.missInterval.high.toFixed(5), point.falseAlarms],
      ...[point.falsePerHour, point.falseInterval.low, point.falseInterval.high].map((value) => value.toFixed(4)),
    ].join(','),
  )
  return `${[head, ...rows].join('\n')}\n`
}
