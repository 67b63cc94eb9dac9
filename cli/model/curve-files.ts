import { OutputFile } from '../output-file.ts'
import { ProgressLine } from '../progress-line.ts'
import { curveCsv, curveLines } from './curve-lines.ts'
import { curveSvg } from './curve-picture.ts'
import { curveOf } from './model-curve.ts'

/** `kinglet model curve`: hears, prints, and writes what was asked for. */
export async function drawCurve(
  bundlePath: string,
  dir: string,
  options: {
    readonly level?: string
    readonly pipeline?: string
    readonly maxFalsePerHour: number
    readonly csv?: string
    readonly svg?: string
    readonly force?: boolean
    readonly json?: boolean
  },
): Promise<void> {
  const { level, pipeline, maxFalsePerHour, csv, svg, force = false, json } = options
  for (const path of [csv, svg]) if (path !== undefined) OutputFile.check(path, force)
  const progress = new ProgressLine('recordings heard')
  const { report, notes } = await curveOf(bundlePath, dir, { level, pipeline, maxFalsePerHour }, (share) =>
    progress.show(share),
  )
  progress.clear()
  for (const { file, reason } of report.skipped) console.error(`skipped ${file}: ${reason}`)
  for (const note of notes) console.error(note)
  const write = (path: string | undefined, content: string): void => {
    if (path !== undefined) OutputFile.write(path, new TextEncoder().encode(content), force)
  }
  write(csv, curveCsv(report))
  write(svg, curveSvg(report))
  console.log(json ? JSON.stringify(report) : curveLines(report).join('\n'))
}
