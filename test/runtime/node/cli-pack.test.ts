import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import { decodeBundle } from '../../../contract/bundle.ts'
import { writtenManifest } from '../../fixtures/manifest.ts'
import { hasReferenceData, REFERENCE_DATA } from '../../fixtures/reference-data.ts'
import { loudnessNetwork } from '../../fixtures/wake-network.ts'
import { expectRefusal, kinglet, ROOT } from './cli-process.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-pack-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const path = (name: string) => join(dir, name)
const BANK = join(ROOT, 'zoo/bank/keyword')
const MODEL = join(ROOT, 'zoo/models/kws-2.onnx')

interface Spec {
  labels: string[]
  graphs: Record<string, unknown>[]
  ladder: Record<string, unknown>[]
  policy: Record<string, unknown>
  boards: string[]
  golden: Record<string, unknown>
  [field: string]: unknown
}
/** The zoo's own pack file, with a folder of labelled clips. */
const spec = (): Spec => {
  const zoo = JSON.parse(readFileSync(join(ROOT, 'zoo/bundles/kws-2.pack.json'), 'utf8')) as Spec
  return {
    ...zoo,
    ...{ parent: null, graphs: [{ id: 'full', file: MODEL }], ladder: [zoo.ladder[0]!], card: undefined },
    golden: { audio: BANK, count: 4, tolerance: 0.02 },
  }
}
const packing = async (change: (spec: Spec) => unknown) => {
  const changed = spec()
  change(changed)
  writeFileSync(path('spec.yaml'), stringify(changed))
  return kinglet('model', 'pack', path('spec.yaml'), '-o', path('out.kinglet'), '--force')
}

describe('model pack', () => {
  it('takes YAML as JSON, makes a card where there is none, and says how many labelled clips are heard as what they are', async () => {
    const packed = await packing(() => undefined)
    expect(packed.code, packed.stderr).toBe(0)
    const [, correct, clips] = /(\d+) of (\d+) labelled clips/.exec(packed.stderr)!
    // Synthesised words of the bank, in clips of other lengths: not all are heard, most are.
    expect(Number(correct) / Number(clips)).toBeGreaterThan(0.5)
    const sections = decodeBundle(readFileSync(path('out.kinglet')))
    const card = sections.ok && sections.value.get('card.json')
    expect(JSON.parse(new TextDecoder().decode(card || new Uint8Array()))).toMatchObject({ name: 'kws-2' })
  })

  it.each<[string, (spec: Spec) => unknown, RegExp]>([
    [
      'an upper-case graph id',
      (s) => (s.graphs[0]!['id'] = 'Full'),
      /spec\.yaml:\d+:\d+: graphs\.0\.id: the id of a graph is of lower-case/,
    ],
    [
      'a null graph at a level',
      (s) => (s.ladder[0]!['graph'] = null),
      /:\d+:\d+: ladder\.0\.graph: level full has no graph .* graphs are full/,
    ],
    [
      'a level of a graph that is not there',
      (s) => (s.ladder[0]!['graph'] = 'lite'),
      /ladder\.0\.graph: level full names the graph "lite"; this file's graphs are full/,
    ],
    ['no level', (s) => (s.ladder = []), /ladder: a bundle needs a level that runs/],
    ['a level twice', (s) => s.ladder.push(s.ladder[0]!), /ladder\.1\.level: level full is there twice/],
    ['a graph id twice', (s) => s.graphs.push(s.graphs[0]!), /graphs\.1\.id: two graphs have the id "full"/],
    [
      'a scale of 0',
      (s) => (s['featureQuantization'] = { scale: 0, zeroPoint: 0 }),
      /featureQuantization\.scale: a scale is the real value of one step/,
    ],
    [
      'a scale that is a number of steps',
      (s) => (s['featureQuantization'] = { scale: 1e-4, zeroPoint: 0 }),
      /featureQuantization: \d+ % of the golden windows' values are at an end/,
    ],
    [
      'a zero point beyond 8 bits',
      (s) => (s['featureQuantization'] = { scale: 0.5, zeroPoint: 300 }),
      /featureQuantization\.zeroPoint: a zero point is the 8-bit value/,
    ],
    ['a label twice', (s) => (s.labels[3] = 'down'), /labels\.3: label "down" is there twice/],
    [
      'an ignored label that is none',
      (s) => (s.policy['ignoreLabels'] = ['cough']),
      /policy\.ignoreLabels\.0: "cough" is no label/,
    ],
    ['a threshold above one', (s) => (s.policy['thresholdPermille'] = 1_200), /policy\.thresholdPermille: /],
    ['a board that is none', (s) => (s.boards = ['toaster']), /boards\.0: no board "toaster"; boards are NUCLEO/],
    ['a field of another name', (s) => (s['treshold'] = 3), /treshold/],
    ['features of no known kind', (s) => (s['features'] = { kind: 'cochlea' }), /features: features-unsupported/],
    ['a folder without recordings', (s) => (s.golden['audio'] = dir), /golden\.audio: no WAV files/],
    ['a card that is no JSON', (s) => (s['card'] = 'spec.yaml'), /spec\.yaml: the model card is not JSON/],
    [
      'swapped labels',
      (s) => ([s.labels[2], s.labels[11]] = [s.labels[11]!, s.labels[2]!]),
      /labels\.\d+: "down" and "yes" are swapped/,
    ],
    [
      'labels in another order',
      (s) => (s.labels = [...s.labels.slice(2), ...s.labels.slice(0, 2)]),
      /labels: \d+ of \d+ labelled clips are heard as what they are, no better than chance/,
    ],
  ])('refuses %s, with its place and what instead', async (_, change, why) => {
    expectRefusal(await packing(change), 1, why)
  })

  it('refuses what is neither YAML nor JSON, with its place', async () => {
    writeFileSync(path('broken.yaml'), 'name: a\nlabels: [x, y\nboards: }\n')
    expectRefusal(
      await kinglet('model', 'pack', path('broken.yaml'), '-o', path('x')),
      1,
      /broken\.yaml:3:\d+: neither YAML nor JSON/,
    )
  })
})

describe('model init', () => {
  beforeAll(() => writeFileSync(path('stream.tflite'), loudnessNetwork(3)))

  it('writes what the file tells and marks what it guesses; the folder of recordings filled in, it packs', async () => {
    const init = await kinglet('model', 'init', MODEL, '-o', path('kws.yaml'))
    expect(init.code, init.stderr).toBe(0)
    const text = readFileSync(path('kws.yaml'), 'utf8')
    expect(text).toMatch(/# guessed from 490 inputs: MLPerf Tiny's MFCC/)
    expect(parse(text)).toMatchObject({
      name: 'kws-2',
      graphs: [{ id: 'main' }],
      ladder: [{ level: 'full' }, { level: 'gated' }],
    })
    // The zoo's order is its own.
    const labels = spec().labels
    writeFileSync(
      path('kws.yaml'),
      stringify({ ...(parse(text) as object), labels, golden: { audio: BANK, count: 4, tolerance: 0.02 } }),
    )
    const packed = await kinglet('model', 'pack', path('kws.yaml'), '-o', path('kws.kinglet'))
    expect(packed.code, packed.stderr).toBe(0)
  })

  it('knows a network that reads frames, and does not gate it', async () => {
    const init = await kinglet('model', 'init', path('stream.tflite'), '-o', path('stream.yaml'))
    expect(init.stdout).toMatch(/to be filled in: labels, golden\.audio/)
    const read = parse(readFileSync(path('stream.yaml'), 'utf8')) as Spec
    expect(read).toMatchObject({
      features: { kind: 'micro-frontend', frames: 3 },
      featureQuantization: { scale: Math.fround(0.1015625), zeroPoint: -128 },
      ladder: [{ level: 'full', hopFrames: 3, gate: null }],
    })
    writeFileSync(path('stream.yaml'), stringify({ ...read, golden: { audio: BANK, count: 4, tolerance: 0 } }))
    const packed = await kinglet('model', 'pack', path('stream.yaml'), '-o', path('stream.kinglet'))
    expect(packed.code, packed.stderr).toBe(0)
    expect(writtenManifest(readFileSync(path('stream.kinglet')))).toMatchObject({
      golden: { count: 4, inputLength: 120 },
    })
  })

  it('refuses a bundle, a file that is no network, and one whose windows no front end makes', async () => {
    writeFileSync(path('image.tflite'), loudnessNetwork(3, 41))
    writeFileSync(path('notes.tflite'), 'notes')
    const bundle = join(ROOT, 'zoo/bundles/kws-2.kinglet')
    const init = (file: string) => kinglet('model', 'init', file, '-o', path('no.yaml'))
    expectRefusal(await init(bundle), 1, /it is a bundle, packed already/)
    expectRefusal(await init(path('notes.tflite')), 1, /neither TFLite nor ONNX/)
    expectRefusal(await init(path('image.tflite')), 1, /no front end is known whose windows are 1 × 3 × 41/)
    expectRefusal(await init(path('gone.tflite')), 1, /gone\.tflite/)
  })
})

describe.runIf(hasReferenceData)("MLPerf Tiny's keyword spotting as TFLite", () => {
  it('packs by init and pack alone and hears the words of people', async () => {
    await kinglet(
      'model',
      'init',
      join(REFERENCE_DATA, 'models/mlperf-tiny-kws-int8.tflite'),
      '-o',
      path('mlperf.yaml'),
    )
    const text = readFileSync(path('mlperf.yaml'), 'utf8').replace(
      'audio: clips',
      `audio: ${join(REFERENCE_DATA, 'speech')}`,
    )
    writeFileSync(path('mlperf.yaml'), text)
    const packed = await kinglet('model', 'pack', path('mlperf.yaml'), '-o', path('mlperf.kinglet'))
    const [, correct, clips] = /(\d+) of (\d+) labelled clips/.exec(packed.stderr)!
    expect(clips).toBe('144')
    expect(Number(correct)).toBeGreaterThan(0.85 * 144)
  })
})
