import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { anomalyCurveOf, anomalyPipeline } from '../../../../cli/model/anomaly-curve.ts'
import { anomalyCsv, anomalyLines } from '../../../../cli/model/anomaly-lines.ts'
import { anomalyDrawing } from '../../../../cli/model/curve-drawing.ts'
import { curveSvg } from '../../../../cli/model/curve-picture.ts'
import type { OpenedBundle } from '../../../../model/opened-bundle.ts'
import { openPacked, packSpec, sileroFiles, sileroSpec } from '../../../fixtures/pipeline-bundles.ts'
import { halvingAutoencoder } from '../../../fixtures/pipeline-graphs.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-anomalies-'))
const path = (...parts: string[]) => join(dir, ...parts)
let bundle: OpenedBundle
const RATE = 1_600

/** Seconds of a shake of one of three axes, whose score is amplitude² / 24: a quarter of its mean square. */
const shaken = (seconds: number, amplitude: number): Uint8Array =>
  new Uint8Array(
    Float32Array.from({ length: 3 * RATE * seconds }, (_, i) =>
      i % 3 === 2 ? 9.81 : i % 3 === 0 ? amplitude * Math.sin((2 * Math.PI * Math.floor(i / 3)) / 16) : 0,
    ).buffer,
  )
const write = (folder: string, name: string, content: string | Uint8Array) => {
  mkdirSync(path(folder), { recursive: true })
  writeFileSync(path(folder, name), content)
}

beforeAll(async () => {
  const spec = `name: bearing
version: 1
input: { vectors: { channels: 3, rate: ${RATE} } }
pipelines:
  - id: shake
    features: { kind: vector-windows, version: 1, channels: 3, sampleRateHz: ${RATE}, windowVectors: 64, hopVectors: 64, normalization: mean }
    graphs: [auto.onnx]
    anomaly: { threshold: 0.05, smoothingWindows: 2, refractoryMs: 0 }
`
  bundle = await openPacked(await packSpec(spec, { 'auto.onnx': halvingAutoencoder(192) }))
  write('all/anomaly', 'a.f32', shaken(2, 1.2))
  write('all/anomaly', 'b.f32', shaken(2, 1.5))
  write('all/anomaly', 'broken.csv', '1,2\n')
  write('all/_negative', 'c.f32', shaken(9, 1))
})
afterAll(async () => {
  await bundle.dispose()
  rmSync(dir, { recursive: true })
})

const curve = (folder: string, maxFalsePerHour = 1, level?: string) =>
  anomalyCurveOf(
    bundle,
    'bearing.kinglet',
    path(folder),
    { level, pipeline: anomalyPipeline(bundle, undefined)!, maxFalsePerHour },
    () => undefined,
  )

describe('the curve of an anomaly head', () => {
  it('counts for each threshold the anomalies it misses and the alarms it gives without one', async () => {
    const report = await curve('all')
    expect(report).toMatchObject({ bundle: 'bearing', level: 'full', recordings: 2, negativeHours: 9 / 3_600 })
    expect(report.own).toMatchObject({ threshold: 0.05, smoothingWindows: 2, misses: 0, falseAlarms: 0 })
    expect(report.skipped).toEqual([
      { file: path('all/anomaly/broken.csv'), reason: 'line 1: 2 numbers, a vector has 3' },
    ])
    // Scores of 0.0417 without, and of 0.06 and 0.094 with an anomaly.
    for (const { threshold, misses, falseAlarms } of report.points) {
      expect([threshold, misses]).toEqual([threshold, threshold > 0.0938 ? 2 : threshold > 0.0601 ? 1 : 0])
      expect([threshold, falseAlarms]).toEqual([threshold, threshold > 0.041667 ? 0 : 1])
    }
    expect(new Set(report.points.map(({ smoothingWindows }) => smoothingWindows))).toEqual(
      new Set([1, 2, 4, 8, 16, 32]),
    )
    expect(report.proposal).toMatchObject({ misses: 0, falseAlarms: 0 })
    expect(report.proposal!.threshold).toBeGreaterThan(0.0417)
    expect(report.points.some(({ threshold }) => threshold > 0.0938)).toBe(true)
  })

  it('is printed, a row a setting, and drawn', async () => {
    const report = await curve('all')
    expect(anomalyLines(report).join('\n')).toMatch(
      /^bearing 1 at full: 2 recordings of anomalies, 0\.00 h without one.*\n {2}as packed {2}threshold 0\.05 over 2 windows {2}0\.0 % missed .*\n {2}proposed .*\n.*anomaly: \{ threshold: 0\.0\d+/,
    )
    const rows = anomalyCsv(report).trimEnd().split('\n')
    expect(rows).toHaveLength(1 + report.points.length)
    expect(new Set(rows.map((row) => row.split(',').length))).toEqual(new Set([11]))
    const svg = curveSvg(anomalyDrawing(report))
    expect(svg).toMatch(/false alarms an hour/)
    expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  })

  it('says when no threshold alarms seldom enough, and refuses folders laid out otherwise', async () => {
    const none = { ...(await curve('all')), proposal: null }
    expect(anomalyLines(none).at(-1)).toMatch(/no setting has at most 1 false alarms an hour/)
    write('half/anomaly', 'a.f32', shaken(2, 1.2))
    await expect(curve('half')).rejects.toThrow(/no recordings without an anomaly/)
    write('words/yes', 'a.f32', shaken(1, 1))
    await expect(curve('words')).rejects.toThrow(/no recordings of anomalies/)
    write('none/anomaly', 'a.csv', 'x\n')
    write('none/_negative', 'b.f32', shaken(1, 1))
    await expect(curve('none')).rejects.toThrow(/no recording of an anomaly could be read/)
    await expect(curve('nowhere')).rejects.toThrow(/no such file/)
    await expect(curve('all', 1, 'lite')).rejects.toThrow(/no ladder level "lite"/)
  })

  it('is of a pipeline that scores anomalies', async () => {
    expect(anomalyPipeline(bundle, 'shake')).toMatchObject({ index: 0, id: 'shake' })
    expect(anomalyPipeline(bundle, 'other')).toBeUndefined()
    const voice = await openPacked(await packSpec(sileroSpec(), sileroFiles()))
    expect(anomalyPipeline(voice, undefined)).toBeUndefined()
    await voice.dispose()
  })
})
