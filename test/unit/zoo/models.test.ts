import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseWav } from '../../../model/audio/wav.ts'
import { shifted } from '../../../zoo/augment.ts'
import type { Metadata } from '../../../zoo/card.ts'
import { KEYWORDS, LABELS, RATE_HZ } from '../../../zoo/labels.ts'
import { classify, detect, openNetwork, wakePolicyOf } from '../../../zoo/network.ts'

const zoo = new URL('../../../zoo/', import.meta.url).pathname
const RETRAINED = ['kws-2-frozen', 'kws-2-sparse', 'kws-2-head']
const NAMES = ['kws-1', 'kws-2', ...RETRAINED, 'kws-lite', 'kws-regressed', 'verifier']

const metadata = (name: string) =>
  JSON.parse(readFileSync(join(zoo, 'models', `${name}.json`), 'utf8')) as Metadata & { labels: string[] }
const policyOf = (name: string) => wakePolicyOf(name, join(zoo, 'bundles'))
const open = (name: string) => openNetwork(join(zoo, 'models', `${name}.onnx`), metadata(name).input)

const read = (file: string): Float32Array => {
  const wav = parseWav(readFileSync(file))
  if (!wav.ok) throw new Error(`${file}: ${wav.error.code}`)
  expect([wav.value.sampleRateHz, wav.value.channels]).toEqual([RATE_HZ, 1])
  return wav.value.samples
}

const wavsUnder = (folder: string): string[] =>
  readdirSync(join(zoo, 'bank', folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.wav'))
    .map((name) => join(zoo, 'bank', folder, name))
    .sort()

/** A word as a device hears it: a second of quiet before and one and a half after. */
const said = (samples: Float32Array): Float32Array => shifted(samples, RATE_HZ, samples.length + 2.5 * RATE_HZ)

describe('models', () => {
  it('have the size known for this network, one label order and one feature quantization', () => {
    for (const name of ['kws-1', 'kws-2', ...RETRAINED, 'kws-regressed']) {
      expect(metadata(name).constantBytes).toBe(24_376)
      expect(metadata(name).macs).toBe(2_656_768)
    }
    const { scale, zeroPoint } = metadata('kws-1').input
    for (const name of NAMES) {
      expect(metadata(name).labels).toEqual(LABELS)
      expect([metadata(name).input.scale, metadata(name).input.zeroPoint]).toEqual([scale, zeroPoint])
    }
  })

  it.each(NAMES.map((name) => [name]))('%s answers with probabilities', async (name) => {
    const network = await open(name)
    const out = await network.probabilities(new Float32Array(490))
    expect(out.length).toBe(LABELS.length)
    expect(out.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 4)
  })

  it('sleep through digital silence', async () => {
    for (const name of NAMES)
      expect(await detect(await open(name), new Float32Array(5 * RATE_HZ), policyOf(name))).toEqual([])
  })
})

describe('the bank', () => {
  it('is small and holds every keyword, other words and noises', () => {
    const files = wavsUnder('.')
    expect(files.reduce((sum, file) => sum + statSync(file).size, 0)).toBeLessThanOrEqual(5_000_000)
    for (const keyword of KEYWORDS) expect(wavsUnder(`keyword/${keyword}`).length).toBeGreaterThanOrEqual(3)
    expect(wavsUnder('other').length).toBeGreaterThan(30)
    expect(wavsUnder('noise').length).toBeGreaterThan(9)
    for (const file of files) read(file)
  })

  it('is understood in quiet: most keywords by class, other words not as keywords', async () => {
    const network = await open('kws-2')
    const centred = (file: string) => {
      const samples = read(file)
      return shifted(samples, Math.max(0, (RATE_HZ - samples.length) >> 1), RATE_HZ)
    }
    let right = 0
    const keywords = wavsUnder('keyword')
    for (const file of keywords) if (file.includes(`/${await classify(network, centred(file))}/`)) right += 1
    expect(right / keywords.length).toBeGreaterThan(0.6)
  })

  it('wakes a stream on most keywords in quiet, before their second is over', async () => {
    const network = await open('kws-1')
    const keywords = wavsUnder('keyword')
    let woken = 0
    for (const file of keywords) {
      const wakes = await detect(network, said(read(file)), policyOf('kws-1'))
      if (wakes.some((wake) => file.includes(`/${wake.label}/`))) woken += 1
    }
    expect(woken / keywords.length).toBeGreaterThan(0.5)
  })
})
