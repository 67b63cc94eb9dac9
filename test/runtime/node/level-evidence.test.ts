import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { inspectFile, inspectionLines } from '../../../cli/model/model-inspect.ts'
import { packFile } from '../../../cli/model/model-pack.ts'
import type { LevelMeasures } from '../../../contract/level-measures.ts'
import { readManifest } from '../../../contract/manifest.ts'
import { levelMilliwatt } from '../../../device/core/power/governor.ts'
import { encodeWav } from '../../../model/audio/wav.ts'
import { boardNamed } from '../../../model/boards.ts'
import { levelRamBytes } from '../../../model/pipeline/level-plan.ts'
import { sceneOf } from '../../fixtures/audio.ts'
import { ROOT } from './cli-process.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-evidence-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const path = (...parts: string[]) => join(dir, ...parts)
const bank = join(ROOT, 'zoo/bank')
const LABELS = ['silence', 'unknown', 'down', 'go', 'left', 'no', 'off', 'on', 'right', 'stop', 'up', 'yes']

const spec = (measure: string, { threshold = 0.6, ladder = LADDER } = {}) => `name: kws
version: 1
input: { audio: 16000 }
pipelines:
  - id: words
    graphs: [{ file: ${join(ROOT, 'zoo/models/kws-1.onnx')}, id: full }]
    featureQuantization: { scale: 0.5, zeroPoint: 78 }
    wake: { labels: [${LABELS.join(', ')}], threshold: ${threshold}, smoothingWindows: 2, ignoreLabels: [silence, unknown] }
ladder:
${ladder}
boards: [xG24]
measure: ${measure}
`
const LADDER = `  - { level: full }
  - { level: gated, pipelines: { words: { gate: { marginDb: 6, hangoverMs: 1000 } } } }
  - { level: sparse, pipelines: { words: { hopFrames: 500 } } }`
let packs = 0
const pack = async (text: string) => {
  packs += 1
  const file = path(`${packs}.yaml`)
  writeFileSync(file, text)
  const out = path(`${packs}.kinglet`)
  return { out, ...(await packFile(file, out, { replaces: false, highPass: false })) }
}

describe('levels measured on labelled recordings', () => {
  beforeAll(() => {
    for (const label of ['yes', 'no', 'stop', 'down', 'left', 'up']) {
      mkdirSync(path('sound', label), { recursive: true })
      for (const file of readdirSync(join(bank, 'keyword', label))
        .sort()
        .slice(0, 4))
        cpSync(join(bank, 'keyword', label, file), path('sound', label, file))
    }
    mkdirSync(path('sound', '_negative'))
    writeFileSync(path('sound', '_negative', 'room.wav'), encodeWav(sceneOf(60, [], 0.01), 16_000))
    for (const file of readdirSync(join(bank, 'other')).sort().slice(0, 20))
      cpSync(join(bank, 'other', file), path('sound', '_negative', file))
  })

  it('are in the bundle, told by pack and by inspect, and a level that hears nothing is said to be one', async () => {
    const { out, packed, notes } = await pack(spec(path('sound')))
    const read = readManifest(readFileSync(out))
    if (!read.ok) throw new Error(read.error.detail)
    const { ladder } = read.value
    expect(packed.manifest.ladder).toEqual(ladder)
    const [full, gated, sparse] = ladder.map(({ measured }) => measured![0]!) as [
      LevelMeasures,
      LevelMeasures,
      LevelMeasures,
    ]
    for (const [at, measures] of [full, gated, sparse].entries()) {
      expect(measures).toMatchObject({ words: 24, board: 'xG24' })
      expect(measures.ramBytes).toBe(levelRamBytes(read.value, ladder[at]!))
      expect(measures.hours).toBeCloseTo(full.hours, 6)
    }
    expect(full.hours).toBeGreaterThan(60 / 3_600)
    // The words are said by espeak in a silent room: without a gate and behind it most of them are heard, in one second of ten few.
    expect(full.heard).toBeGreaterThanOrEqual(14)
    expect(gated.heard).toBeGreaterThanOrEqual(14)
    expect(sparse.heard).toBeLessThan(6)
    const board = boardNamed('xG24')!
    const hold = Math.min(1, (full.falseWakes * 5) / (3_600 * full.hours))
    expect(full.millijoulePerHour).toBe(Math.round(3_600 * levelMilliwatt(read.value, board, ladder[0]!, 1, hold)))
    expect(gated.millijoulePerHour).toBeLessThan(full.millijoulePerHour)

    const text = inspectionLines(await inspectFile(out)).join('\n')
    const said = `sparse, words: hears ${sparse.heard} of 24 words`
    expect(text).toContain(said)
    expect(text).toMatch(/sparse, words: .*; below 25 %: no device listens at it by itself/)
    expect(text).toMatch(
      /full, words: hears \d+ of 24 words \([\d.]+ %\), wakes falsely .* an hour on xG24 \(computed\)\n/,
    )
    expect(notes.join('\n')).toContain(said)
    // The same recordings give the same bytes.
    expect(Buffer.compare((await pack(spec(path('sound')))).packed.bundle, packed.bundle)).toBe(0)
  }, 60_000)

  it.each<[string, () => string, RegExp]>([
    [
      'no level hears',
      () => spec(path('sound'), { threshold: 1, ladder: '  - { level: full }' }),
      /no level hears 25 % of the words/,
    ],
    ['the folder is not there', () => spec(path('nowhere')), /nowhere/],
    ['it holds no word of the bundle', () => spec(path('strangers')), /no folder is a word of/],
    ['it holds hardly any', () => spec(path('few')), /2 words of pipeline "words" and \d+ s without one/],
    ['one of them is no sound', () => spec(path('broken')), /broken\.wav: wav-not-riff/],
  ])('are refused when %s', async (_what, text, message) => {
    for (const [folder, count] of [
      ['few', 2],
      ['broken', 20],
    ] as const) {
      for (let n = 0; n < count; n += 1) {
        mkdirSync(path(folder, 'yes'), { recursive: true })
        cpSync(path('sound', 'yes', readdirSync(path('sound', 'yes'))[0]!), path(folder, 'yes', `${n}.wav`))
      }
      mkdirSync(path(folder, '_negative'), { recursive: true })
      writeFileSync(path(folder, '_negative', 'room.wav'), encodeWav(sceneOf(2, [], 0.01), 16_000))
    }
    writeFileSync(path('broken', '_negative', 'broken.wav'), 'no sound at all')
    mkdirSync(path('strangers', 'moon'), { recursive: true })
    cpSync(path('sound', '_negative', 'room.wav'), path('strangers', 'moon', 'room.wav'))
    await expect(pack(text())).rejects.toThrow(message)
  })

  it('are of sound', async () => {
    const text = spec(path('sound')).replace('audio: 16000', 'vectors: { channels: 3, rate: 100 }')
    await expect(pack(text)).rejects.toThrow()
  })
})
