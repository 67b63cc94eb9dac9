import type { AnomalyCurveReport } from './anomaly-curve.ts'
import type { CurveDrawing, DrawnPoint } from './curve-picture.ts'
import type { CurveReport } from './model-curve.ts'
import type { CurvePoint } from './operating-curve.ts'

const drawn = (point: CurvePoint): DrawnPoint => ({ ...point, threshold: point.thresholdPermille / 1000 })

/** The picture of a curve of words. */
export const wordDrawing = (report: CurveReport): CurveDrawing => ({
  title: `${report.bundle} ${report.version} at ${report.level}`,
  subtitle: `${report.words} recordings of ${report.labels.length} words, ${report.negativeHours.toFixed(2)} h without a word; bars: 95 %`,
  ...{ falseWords: 'false wakes an hour', missWords: 'words missed' },
  ...{ negativeHours: report.negativeHours, maxFalsePerHour: report.maxFalsePerHour },
  own: drawn(report.own),
  proposal: report.proposal && drawn(report.proposal),
  points: report.points.map(drawn),
})

/** The picture of a curve of alarms. */
export const anomalyDrawing = (report: AnomalyCurveReport): CurveDrawing => ({
  title: `${report.bundle} ${report.version} at ${report.level}`,
  subtitle: `${report.recordings} recordings of anomalies, ${report.negativeHours.toFixed(2)} h without one; bars: 95 %`,
  ...{ falseWords: 'false alarms an hour', missWords: 'anomalies missed' },
  ...{ negativeHours: report.negativeHours, maxFalsePerHour: report.maxFalsePerHour },
  ...{ own: report.own, proposal: report.proposal, points: report.points },
})
