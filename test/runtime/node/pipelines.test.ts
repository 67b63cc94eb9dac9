import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { LadderLevel } from '../../../contract/ladder-levels.ts'
import { LIMITS } from '../../../contract/limits.ts'
import { seededRandom } from '../../../contract/random.ts'
import { signalPlaces } from '../../../contract/signals.ts'
import type { Heard } from '../../../device/core/listen/heard.ts'
import { createListener, type Listener } from '../../../device/core/listen/listener.ts'
import { parseWav } from '../../../model/audio/wav.ts'
import { checkGolden, type OpenedBundle } from '../../../model/opened-bundle.ts'
import {
  anomalyFiles,
  anomalySpec,
  fourFiles,
  fourSpec,
  openPacked,
  packSpec,
  sileroFiles,
  sileroSpec,
  wakeWordFiles,
  wakeWordSpec,
} from '../../fixtures/pipeline-bundles.ts'
import { halvingAutoencoder, sileroOutputs } from '../../fixtures/pipeline-graphs.ts'
import { hasReferenceData, REFERENCE_DATA } from '../../fixtures/reference-data.ts'

const RATE = 16_000
const level = (seconds: number, value: number) => new Float32Array(seconds * RATE).fill(value)
const listenerOf = (bundle: OpenedBundle, at: LadderLevel = 'full'): Listener =>
  createListener({ ...bundle, step: bundle.manifest.ladder.find((step) => step.level === at)! })
const listen = async (listener: Listener, samples: Float32Array): Promise<Heard> => {
  const heard = await listener.listen(samples)
  if (!heard.ok) throw new Error(`${heard.error.code}: ${heard.error.detail}`)
  return heard.value
}
/** Numbers of a signal in a stretch. */
const numbersOf = ({ manifest }: OpenedBundle, { signals = [] }: Heard, pipeline: number, name: string) => {
  const place = signalPlaces(manifest.pipelines.map((one) => one.signals)).find(
    (one) => one.pipeline === pipeline && one.signal.name === name,
  )!
  return signals.slice(place.at, place.at + place.length)
}

describe('silero-vad, whose state goes from window to window', () => {
  it('packs with a few lines, reproduces its golden vectors, and wakes where its state says', async () => {
    const packed = await packSpec(sileroSpec(), sileroFiles())
    expect(packed.manifest.graphs[0]).toMatchObject({
      planned: false,
      ends: {
        input: { name: 'input', dims: [1, 576] },
        output: 'output',
        states: [{ input: 'state', output: 'stateN', dims: [2, 1, 128] }],
        constants: [{ input: 'sr', dims: [], values: [16_000] }],
      },
    })
    const bundle = await openPacked(packed)
    expect(await checkGolden(bundle)).toEqual({ ok: true, value: 0 })
    const listener = listenerOf(bundle)
    // The first window is 64 zeros and 512 samples, the others overlap by 64; a window each 32 ms.
    const sound = Float32Array.from({ length: 20 * 512 }, () => 0.11)
    const windows = Array.from({ length: 20 }, (_, i) =>
      Float32Array.from({ length: 576 }, (_v, k) => sound[i * 512 + k - 64] ?? 0),
    )
    const expected = sileroOutputs(windows)
    const first = expected.findIndex((value) => value >= 0.5)
    expect(first).toBeGreaterThan(0)
    const heard = await listen(listener, sound)
    expect(heard.inferences).toBe(20)
    expect(heard.wakes.map(({ atMs }) => Math.round(atMs))).toEqual([32 * (first + 1)])
    expect(heard.wakes[0]!.posteriorPermille).toBe(Math.round(1000 * expected[first]!))
    expect(heard.wakes[0]!.features).toHaveLength(576)
    expect(numbersOf(bundle, heard, 0, 'posterior').reduce((a, b) => a + b)).toBe(20)
    await bundle.dispose()
  })

  it('hears the same in whatever pieces, and begins anew with a new listener, as after a change of level', async () => {
    const bundle = await openPacked(await packSpec(sileroSpec(), sileroFiles()))
    const sound = level(0.7, 0.11)
    const whole = await listen(listenerOf(bundle), sound)
    const pieces = listenerOf(bundle)
    const wakes: number[] = []
    for (let at = 0; at < sound.length; at += 1_000)
      for (const wake of (await listen(pieces, sound.subarray(at, at + 1_000))).wakes)
        wakes.push(Math.round(wake.atMs + at / 16))
    expect(wakes).toEqual(whole.wakes.map(({ atMs }) => Math.round(atMs)))
    expect((await listen(listenerOf(bundle), sound)).wakes).toEqual(whole.wakes)
    await bundle.dispose()
  })
})

describe('a word of openWakeWord, three graphs in a row', () => {
  it('packs, and gives nothing until 76 frames and 16 embeddings are there', async () => {
    const packed = await packSpec(wakeWordSpec, wakeWordFiles())
    const [pipeline] = packed.manifest.pipelines
    expect(pipeline!.links).toEqual([
      { rowValues: 32, rowsPerRun: 8, rows: 76, step: 8, divisor: 10, offset: 2, fill: null },
      { rowValues: 96, rowsPerRun: 1, rows: 16, step: 1, divisor: 1, offset: 0, fill: null },
    ])
    const bundle = await openPacked(packed)
    expect(await checkGolden(bundle)).toEqual({ ok: true, value: 0 })
    // A constant c of 16-bit sound has bands c (j + 1) / 32, of mean 33 c / 64; a tenth of it and 2; then 97 / 192 of that: c = 20 gives 1.53.
    const heard = await listen(listenerOf(bundle), level(5, 20 / 32_768))
    expect(heard.inferences).toBe(62)
    // Windows end at 110 ms and each 80 ms; 76 frames take ten of them, 16 embeddings fifteen more.
    expect(heard.wakes.map(({ atMs, label }) => [Math.round(atMs), label])).toEqual([[110 + 24 * 80, 0]])
    const sum = numbersOf(bundle, heard, 0, 'posterior').reduce((a, b) => a + b)
    expect(sum).toBe(62 - 24)
    // Too large for a message: a single 0, which is no verifier's window.
    expect(heard.wakes[0]!.features).toEqual(Uint8Array.of(0))
    const quiet = await listen(listenerOf(bundle), level(5, 15 / 32_768))
    expect(quiet.wakes).toEqual([])
    await bundle.dispose()
  })
})

describe('four pipelines on one input', () => {
  it('run what they share once, and each wakes by its own', async () => {
    const packed = await packSpec(fourSpec, fourFiles())
    const bundle = await openPacked(packed)
    expect(await checkGolden(bundle)).toEqual({ ok: true, value: 0 })
    expect(packed.manifest.golden.inputs).toHaveLength(2)
    const runs = new Map<string, number>()
    const sessions = new Map(
      [...bundle.sessions].map(([id, session]) => [
        id,
        {
          ...{ input: session.input, output: session.output, dispose: () => session.dispose() },
          ...(session.reset && { reset: () => session.reset?.() }),
          run: (window: Parameters<typeof session.run>[0]) => {
            runs.set(id, (runs.get(id) ?? 0) + 1)
            return session.run(window)
          },
        },
      ]),
    )
    const heard = await listen(listenerOf({ ...bundle, sessions }), level(5, 20 / 32_768))
    expect(Object.fromEntries(runs)).toEqual({
      melspectrogram: 62,
      'embedding-model': 53,
      ...{ one: 38, two: 38, three: 38 },
      'silero-vad': 156,
    })
    expect(heard.wakes.map(({ pipeline = 0, atMs }) => [pipeline, Math.round(atMs)])).toEqual([
      [0, 2_030],
      [1, 2_030],
    ])
    // The voice, loud, and only it: sound this loud is far above what the words are.
    const loud = await listen(listenerOf({ ...bundle, sessions }), level(1, 0.2))
    expect(loud.wakes.map(({ pipeline }) => pipeline)).toEqual([3])
    await bundle.dispose()
  })

  it('are on or off by level, each behind its own gate', async () => {
    const bundle = await openPacked(await packSpec(fourSpec, fourFiles()))
    const heard = await listen(listenerOf(bundle, 'lite'), level(5, 20 / 32_768))
    expect(heard.wakes.map(({ pipeline = 0 }) => pipeline)).toEqual([0])
    // A steady sound opens no gate: the word is heard in all its windows, the voice in none.
    expect(heard.inferences).toBe(62)
    expect(numbersOf(bundle, heard, 3, 'posterior')).toEqual([0, 0, 0, 0, 0])
    await bundle.dispose()
  })
})

describe('an anomaly detector', () => {
  it('alarms once on what its network cannot give again, as a mean of two windows, and again once that has passed', async () => {
    const bundle = await openPacked(await packSpec(anomalySpec, anomalyFiles()))
    expect(bundle.manifest.pipelines[0]!.signals.map(({ name }) => name)).toEqual([
      ...['alarms', 'false-alarms', 'true-alarms', 'score'],
    ])
    // Sound at 1 kHz: decibels far from 0 in all 128 bands, an error of a quarter of their mean square; silence has -60 dB in each, an error of 900.
    const tone = Float32Array.from(
      { length: 2 * RATE },
      (_, i) => 0.5 * Math.sin((2 * Math.PI * i) / 16) + 0.01 * Math.sin(i * i),
    )
    const silent = await listen(listenerOf(bundle), level(2, 0))
    expect(silent.wakes.map(({ label, posteriorPermille }) => [label, posteriorPermille])).toEqual([[0, 750]])
    expect(silent.wakes[0]!.features).toHaveLength(640)
    const listener = listenerOf(bundle)
    const alarms: number[] = []
    for (const sound of [tone, level(2, 0), tone, level(2, 0)])
      alarms.push((await listen(listener, sound)).wakes.length)
    expect(alarms).toEqual([0, 1, 0, 1])
    await bundle.dispose()
  })
})

describe('vectors and pictures', () => {
  it('vectors of three axes are windowed as they come, less their mean', async () => {
    const spec = `name: bearing
version: 1
input: { vectors: { channels: 3, rate: 1600 } }
pipelines:
  - id: shake
    features: { kind: vector-windows, version: 1, channels: 3, sampleRateHz: 1600, windowVectors: 64, hopVectors: 64, normalization: mean }
    graphs: [auto.onnx]
    anomaly: { threshold: 0.05 }
`
    const bundle = await openPacked(await packSpec(spec, { 'auto.onnx': halvingAutoencoder(192) }))
    // Gravity on one axis is no vibration; a shake of amplitude 1 on one of three axes has a mean square of 1/6, and a quarter of it is 0.042.
    const shaken = (amplitude: number) =>
      Float32Array.from({ length: 3 * 1_600 }, (_, i) =>
        i % 3 === 2 ? 9.81 : i % 3 === 0 ? amplitude * Math.sin((2 * Math.PI * Math.floor(i / 3)) / 16) : 0,
      )
    const still = await listen(listenerOf(bundle), shaken(1))
    expect(still).toMatchObject({ windows: 25, inferences: 25, elapsedMs: 1_000, wakes: [] })
    const rough = await listen(listenerOf(bundle), shaken(1.2))
    expect(rough.wakes.map(({ atMs }) => atMs)).toEqual([40])
    // 0.06 / (0.06 + 0.05)
    expect(rough.wakes[0]!.posteriorPermille).toBe(545)
    await bundle.dispose()
  })

  it('a picture is a window, its bytes as they are', async () => {
    const spec = `name: eye
version: 1
input: { image: { width: 8, height: 4, channels: 1, everyMs: 100 } }
pipelines:
  - id: look
    graphs: [auto.onnx]
    anomaly: { threshold: 2500 }
`
    const bundle = await openPacked(await packSpec(spec, { 'auto.onnx': halvingAutoencoder(32) }))
    const heard = await listen(
      listenerOf(bundle),
      Float32Array.from([...new Array<number>(32).fill(80), ...new Array<number>(32).fill(101)]),
    )
    expect(heard).toMatchObject({ windows: 2, elapsedMs: 200, microphone: { stuckMs: 0, silentMs: 0, clippedMs: 0 } })
    expect(heard.wakes.map(({ atMs }) => atMs)).toEqual([200])
    await bundle.dispose()
  })
})

describe('silero-vad itself', () => {
  it.skipIf(!hasReferenceData)(
    'packs with the same lines, comes again under ONNX Runtime, and hears speech and no noise (skipped: no KINGLET_DATA)',
    async () => {
      for (const file of ['silero-vad-float-finetune/new.onnx', 'silero-vad-16k-float-finetune/old.onnx']) {
        const network = readFileSync(join(REFERENCE_DATA, 'model-pairs', file))
        const packed = await packSpec(sileroSpec(), { 'silero_vad.onnx': network })
        const bundle = await openPacked(packed)
        expect(await checkGolden(bundle)).toMatchObject({ ok: true })
        expect(packed.manifest.golden.runs[0]).toMatchObject({ results: 3, outputLength: 1 })
        const clips = readdirSync(join(REFERENCE_DATA, 'speech/stop')).sort().slice(0, 8)
        const speech = clips.map((name) => {
          const wav = parseWav(readFileSync(join(REFERENCE_DATA, 'speech/stop', name)))
          if (!wav.ok) throw new Error(wav.error.detail)
          return wav.value.samples
        })
        const listener = listenerOf(bundle)
        const heard: number[] = []
        // With a pause after each that is longer than a wake's refractory time; the state goes on over all of them.
        for (const clip of speech) {
          const samples = new Float32Array(clip.length + 2 * RATE)
          samples.set(clip)
          heard.push((await listen(listener, samples)).wakes.length)
        }
        expect(heard.filter((wakes) => wakes === 1).length).toBeGreaterThanOrEqual(7)
        const random = seededRandom(3)
        const noise = Float32Array.from({ length: 8 * RATE }, () => 0.02 * (random.next() - 0.5))
        expect((await listen(listenerOf(bundle), noise)).wakes).toEqual([])
        await bundle.dispose()
      }
    },
  )
})

describe('a pack file that does not hold', () => {
  const word = (change: (yaml: string) => string) => packSpec(change(wakeWordSpec), wakeWordFiles())
  it.each<[RegExp, (yaml: string) => string]>([
    [
      /pack\.yaml:9:.*takes 2432 values.*the graph before gives 256; "rows" says how many/,
      (s) => s.replace('rows: 76, step: 8, ', ''),
    ],
    [/pack\.yaml:9:.*is not 75 rows of one length/, (s) => s.replace('rows: 76', 'rows: 75')],
    [
      /pack\.yaml:8:.*nobody can plan graph "melspectrogram".*"ramBytes" and "macs"/,
      (s) => s.replace(', ramBytes: 70000, macs: 131072', ''),
    ],
    [/pack\.yaml:5:.*one head/, (s) => s.replace(/ {4}wake: .*\n/, '')],
    [/pack\.yaml:12:.*no board "moon"/, (s) => `${s}boards: [moon]\n`],
    [
      /pack\.yaml:3:.*an input is one of/,
      (s) => s.replace('{ audio: 16000 }', '{ audio: 16000, vectors: { channels: 3, rate: 10 } }'),
    ],
    [
      /level lite names the pipeline "jarvi"; this file's are jarvis/,
      (s) => `${s}ladder:\n  - { level: lite, pipelines: { jarvi: off } }\n`,
    ],
    [
      /signal "sneezes" counts nothing: a wake head has wakes, posterior/,
      (s) =>
        s.replace(
          '    wake:',
          '    signals: [{ kind: count, name: sneezes, unit: sneezes, harm: null, per: hour }]\n    wake:',
        ),
    ],
  ])('is refused with its place and what instead: %s', async (why, change) => {
    await expect(word(change)).rejects.toThrow(why)
  })

  it('silero without a line of its own ends needs none, and a word that no posterior reaches is refused', async () => {
    await expect(
      packSpec(`${sileroSpec(1, 1)}`.replace('threshold: 1 ', 'threshold: 1, ignoreLabels: [speech] '), sileroFiles()),
    ).rejects.toThrow(/ignores every label/)
  })
})

describe('a bundle that does not hold', () => {
  it('runs a graph that remembers at two places: refused, as their states would mix', async () => {
    const two = `${sileroSpec()}  - id: slow
    window: { length: 576, every: 576 }
    graphs: [{ file: silero_vad.onnx, ramBytes: 60000, macs: 1000 }]
    wake: { labels: [speech] }
`
    await expect(packSpec(two, sileroFiles())).rejects.toThrow(
      /graph "silero-vad" remembers .* give each a graph of its own/,
    )
  })

  it('golden vectors of which some do not come, and of another state, are golden-mismatch', async () => {
    const bundle = await openPacked(await packSpec(wakeWordSpec, wakeWordFiles()))
    const { manifest } = bundle
    const [pipeline] = manifest.pipelines
    // A buffer that needs one row more gives one result less, the others of other rows.
    const links = pipeline!.links.map((link, i) => (i === 1 ? { ...link!, step: 2 } : link))
    const fewer = { ...bundle, manifest: { ...manifest, pipelines: [{ ...pipeline!, links }] } }
    expect(await checkGolden(fewer)).toMatchObject({
      ok: false,
      error: { code: 'golden-mismatch', detail: expect.stringMatching(/2 results .* not 3/) },
    })
    const vad = await openPacked(await packSpec(sileroSpec(), sileroFiles()))
    const [session] = vad.sessions.values()
    // A session that forgets after each window.
    const run = async (window: Float32Array | Int8Array | Uint8Array) => {
      session!.reset?.()
      return session!.run(window)
    }
    const forgetful = { input: session!.input, output: session!.output, run, dispose: async () => undefined }
    expect(await checkGolden({ ...vad, sessions: new Map([['silero-vad', forgetful]]) })).toMatchObject({
      ok: false,
      error: { code: 'golden-mismatch', detail: expect.stringContaining('pipeline "voice", vector 1') },
    })
    await bundle.dispose()
    await vad.dispose()
  })
})

it('four pipelines fit a report of 400 bytes by their number of numbers', async () => {
  const { manifest } = await packSpec(fourSpec, fourFiles())
  const numbers = signalPlaces(manifest.pipelines.map(({ signals }) => signals)).reduce(
    (sum, { length }) => sum + length,
    0,
  )
  expect(numbers).toBe(4 * 6)
  // Each at its longest, with the list's head.
  expect(LIMITS.reportDefaultBytes + 3 + 5 * numbers).toBeLessThanOrEqual(400)
})
