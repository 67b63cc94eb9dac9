import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '../../../contract/random.ts'
import { encodeWav } from '../../../model/audio/wav.ts'
import { writtenManifest } from '../../fixtures/manifest.ts'
import { hasReferenceData, REFERENCE_DATA } from '../../fixtures/reference-data.ts'
import { loudnessNetwork } from '../../fixtures/wake-network.ts'
import { expectRefusal, kinglet } from './cli-process.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-import-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const path = (name: string) => join(dir, name)
const manifest = {
  ...{
    type: 'micro',
    wake_word: 'Hey Österreich',
    author: 'Ann',
    website: 'https://example.org',
    model: 'loud.tflite',
  },
  ...{ trained_languages: ['de'], version: 2 },
  micro: { probability_cutoff: 0.4, feature_step_size: 10, sliding_window_size: 4, tensor_arena_size: 26_080 },
}
const write = (name: string, json: unknown) => {
  writeFileSync(path(name), JSON.stringify(json))
  return path(name)
}
const manifestOf = (file: string) => writtenManifest(readFileSync(file))
const SPEC = path('loud.json')
const BUNDLE = path('loud.kinglet')

beforeAll(async () => {
  writeFileSync(path('loud.tflite'), loudnessNetwork(3))
  write('loud.json', manifest)
  const made = await kinglet('model', 'import', SPEC, '-o', BUNDLE)
  expect(made.code, made.stderr).toBe(0)
})

describe('model import', () => {
  it('packs a network of version 2 from its manifest alone', () => {
    expect(manifestOf(BUNDLE)).toMatchObject({
      ...{ name: 'hey-o-sterreich', version: 1, labels: ['Hey Österreich'] },
      features: { kind: 'micro-frontend', stepMs: 10, frames: 3, channels: 40 },
      featureQuantization: { scale: 0.1015625, zeroPoint: -128 },
      ladder: [{ level: 'full', graph: 'wake', hopFrames: 3, gate: null }],
      // 0.4 of 255 in steps of 1/256
      policy: { smoothingWindows: 4, thresholdPermille: 398, refractoryMs: 2_000 },
      golden: { count: 8, inputLength: 120, outputLength: 1, tolerance: 0 },
    })
    expect(manifestOf(BUNDLE).boards).toContain('NUCLEO-U575ZI')
  })

  it('packs one of version 1, whose frames are 20 ms apart, for the boards and under the name that are said', async () => {
    const micro = { probability_cutoff: 0.5, sliding_window_average_size: 10 }
    const spec = write('first.json', { ...manifest, version: 1, micro })
    const options = ['--name', 'hey', '--release-version', '7', '--board', 'xG24,ESP32-S3', '--json']
    const made = await kinglet('model', 'import', spec, '-o', path('first.kinglet'), ...options)
    expect(JSON.parse(made.stdout)).toMatchObject({ name: 'hey', version: 7, boards: ['xG24', 'ESP32-S3'] })
    expect(manifestOf(path('first.kinglet'))).toMatchObject({
      features: { stepMs: 20 },
      policy: { smoothingWindows: 10, thresholdPermille: 498 },
    })
  })

  it('gives the same bytes each time', async () => {
    await kinglet('model', 'import', SPEC, '-o', path('again.kinglet'))
    expect(readFileSync(path('again.kinglet'))).toEqual(readFileSync(BUNDLE))
    const refused = await kinglet('model', 'import', SPEC, '-o', BUNDLE)
    expectRefusal(refused, 1, /there is such a file already/)
    expect((await kinglet('model', 'import', SPEC, '-o', BUNDLE, '--force')).code).toBe(0)
  })

  it('makes what a device runs: it wakes at the sound, once, and not in silence', async () => {
    const random = seededRandom(1)
    const loud = Float32Array.from({ length: 48_000 }, (_, i) => (i >= 16_000 && i < 32_000 ? random.next() - 0.5 : 0))
    writeFileSync(path('loud.wav'), encodeWav(loud, 16_000))
    writeFileSync(path('still.wav'), encodeWav(new Float32Array(48_000), 16_000))
    const heard = await kinglet('device', 'run', '--bundle', BUNDLE, '--audio', path('loud.wav'))
    expect(heard.stdout.match(/Hey Österreich/g), heard.stderr).toHaveLength(1)
    expect((await kinglet('device', 'run', '--bundle', BUNDLE, '--audio', path('still.wav'))).stdout).toMatch(
      /: 0 wakes/,
    )
  })

  it.each<[string, object, RegExp]>([
    ['is of another kind', { ...manifest, type: 'esp-sr' }, /no microWakeWord manifest: type is "esp-sr"/],
    ['is of a later version', { ...manifest, version: 3 }, /manifest version 3; 1 and 2 are known/],
    ['has the window of the other version', { ...manifest, version: 1 }, /micro\.sliding_window_average_size/],
    [
      'has a cutoff in percent',
      { ...manifest, micro: { ...manifest.micro, probability_cutoff: 97 } },
      /probability_cutoff/,
    ],
    [
      'averages more windows than a device keeps',
      { ...manifest, micro: { ...manifest.micro, sliding_window_size: 33 } },
      /sliding_window_size/,
    ],
    ['names a file that is not there', { ...manifest, model: 'gone.tflite' }, /gone\.tflite/],
    ['names a file that is no network', { ...manifest, model: 'odd.json' }, /odd\.json: not-a-model.*JSON/],
    ['names a network of another kind', { ...manifest, model: 'wide.tflite' }, /takes \[1, 3, 41\] of tflite/],
    ['says a word no name can be made of', { ...manifest, wake_word: 'ねえ' }, /no release name/],
    ['is no JSON', [], /type is undefined/],
  ])('refuses a manifest that %s', async (_, json, why) => {
    writeFileSync(path('wide.tflite'), loudnessNetwork(3, 41))
    const spec = write('odd.json', json)
    expectRefusal(await kinglet('model', 'import', spec, '-o', path('odd.kinglet')), 1, why)
  })

  it('refuses a board that is none, or cannot run it', async () => {
    expectRefusal(
      await kinglet('model', 'import', SPEC, '-o', path('odd.kinglet'), '--board', 'toaster'),
      1,
      /unknown board "toaster"/,
    )
  })
})

describe.runIf(hasReferenceData)("microWakeWord's own network", () => {
  it.each([1, 2])('wakes once at recording %d of its word', async (number) => {
    copyFileSync(join(REFERENCE_DATA, 'model-pairs/okay-nabu-v2-retrained/old.tflite'), path('okay.tflite'))
    const micro = { probability_cutoff: 0.85, feature_step_size: 10, sliding_window_size: 5 }
    const spec = write('okay.json', { type: 'micro', version: 2, wake_word: 'Okay Nabu', model: 'okay.tflite', micro })
    expect((await kinglet('model', 'import', spec, '-o', path('okay.kinglet'), '--force')).code).toBe(0)
    const wav = join(REFERENCE_DATA, `int8-reference/micro-frontend/ok-nabu-${number}.wav`)
    const { stdout } = await kinglet('device', 'run', '--bundle', path('okay.kinglet'), '--audio', wav)
    expect(stdout).toMatch(/: 1 wakes/)
  })
})
