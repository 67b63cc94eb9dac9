import { openBundleFile } from '../open-bundle-file.ts'
import { OutputFile } from '../output-file.ts'
import { ProgressLine } from '../progress-line.ts'
import { anomalyCurveOf, anomalyPipeline } from './anomaly-curve.ts'
import { anomalyCsv, anomalyLines } from './anomaly-lines.ts'
import { anomalyDrawing, wordDrawing } from './curve-drawing.ts'
import { curveCsv, curveLines } from './curve-lines.ts'
import { type CurveDrawing, curveSvg } from './curve-picture.ts'
import { curveOf } from './model-curve.ts'

export interface CurveOptions {
  readonly level?: string
  readonly pipeline?: string
  readonly maxFalsePerHour: number
  readonly csv?: string
  readonly svg?: string
  readonly force?: boolean
  readonly json?: boolean
}

/** What is printed and written of a curve, whatever it is of. */
interface Told {
  readonly report: { readonly skipped: readonly { readonly file: string; readonly reason: string }[] }
  readonly notes: readonly string[]
  readonly csv: string
  readonly drawing: CurveDrawing
  readonly lines: readonly string[]
}

/** `kinglet model curve`: hears, prints, and writes what was asked for. */
export async function drawCurve(bundlePath: string, dir: string, options: CurveOptions): Promise<void> {
  const { csv, svg, force = false, json } = options
  for (const path of [csv, svg]) if (path !== undefined) OutputFile.check(path, force)
  const progress = new ProgressLine('recordings heard')
  const told = await curve(bundlePath, dir, options, (share) => progress.show(share))
  progress.clear()
  for (const { file, reason } of told.report.skipped) console.error(`skipped ${file}: ${reason}`)
  for (const note of told.notes) console.error(note)
  const write = (path: string | undefined, content: string): void => {
    if (path !== undefined) OutputFile.write(path, new TextEncoder().encode(content), force)
  }
  write(csv, told.csv)
  write(svg, curveSvg(told.drawing))
  console.log(json ? JSON.stringify(told.report) : told.lines.join('\n'))
}

async function curve(
  bundlePath: string,
  dir: string,
  { level, pipeline: id, maxFalsePerHour }: CurveOptions,
  onProgress: (share: number) => void,
): Promise<Told> {
  const bundle = await openBundleFile(bundlePath, Number.POSITIVE_INFINITY)
  try {
    const hearsWords = bundle.manifest.pipelines.some(({ head }) => head.kind === 'wake')
    // Of a bundle of both, words are what the command is about, unless it is told the other.
    const pipeline = hearsWords && id === undefined ? undefined : anomalyPipeline(bundle, id)
    if (pipeline !== undefined) {
      const report = await anomalyCurveOf(bundle, bundlePath, dir, { level, pipeline, maxFalsePerHour }, onProgress)
      const told = { csv: anomalyCsv(report), drawing: anomalyDrawing(report), lines: anomalyLines(report) }
      return { ...told, report, notes: [] }
    }
    const { report, notes } = await curveOf(
      bundle,
      bundlePath,
      dir,
      { level, pipeline: id, maxFalsePerHour },
      onProgress,
    )
    return { report, notes, csv: curveCsv(report), drawing: wordDrawing(report), lines: curveLines(report) }
  } finally {
    await bundle.dispose()
  }
}
