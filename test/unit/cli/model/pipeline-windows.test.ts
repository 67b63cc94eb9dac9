import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { AudioNotes } from '../../../../cli/audio-notes.ts'
import { windowsInRow } from '../../../../cli/model/pipeline-windows.ts'
import type { VectorWindowDefinition } from '../../../../model/features/vector-windows.ts'
import { packSpec } from '../../../fixtures/pipeline-bundles.ts'
import { halvingAutoencoder } from '../../../fixtures/pipeline-graphs.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-golden-'))
afterAll(() => rmSync(dir, { recursive: true }))
const definition: VectorWindowDefinition = {
  kind: 'vector-windows',
  version: 1,
  channels: 2,
  sampleRateHz: 10,
  windowVectors: 2,
  hopVectors: 2,
  normalization: 'none',
}
const input = { kind: 'vectors', channels: 2, sampleRateHz: 10 } as const
const windows = (path: string | undefined, count = 3) =>
  windowsInRow(input, definition, 1, count, path, new AudioNotes()).map((window) => [...window])

describe('golden windows of vectors', () => {
  it('are of recordings, one after the other, where there are some', () => {
    writeFileSync(join(dir, 'a.csv'), '1,2\n3,4\n5,6\n')
    writeFileSync(join(dir, 'b.jsonl'), '[7,8]\n[9,10]\n')
    expect(windows(dir)).toEqual([
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ])
  })
  it('are of noise without, and of what cannot be read there are none', () => {
    expect(windows(undefined)).toHaveLength(3)
    writeFileSync(join(dir, 'bad.csv'), '1\n')
    expect(() => windows(join(dir, 'bad.csv'))).toThrow(/bad\.csv: line 1: 1 numbers, a vector has 2/)
    const empty = mkdtempSync(join(dir, 'empty-'))
    expect(() => windows(empty)).toThrow(/no recordings for golden vectors/)
  })
})

it('a pack file takes the windows of its recordings, and the quantization that holds them', async () => {
  const spec = (golden: string) => `name: shake
version: 1
input: { vectors: { channels: 2, rate: 10 } }
pipelines:
  - id: main
    window: { length: 2, every: 2 }
    graphs: [auto.onnx]
    anomaly: { threshold: 1 }
${golden}`
  const files = {
    'auto.onnx': halvingAutoencoder(4),
    'rec.csv': new TextEncoder().encode('100,0\n0,0\n0,0\n0,0\n0,0\n0,50\n'),
  }
  const scaleOf = async (golden: string) =>
    (await packSpec(spec(golden), files)).manifest.pipelines[0]!.featureQuantization.scale
  // Up to 100 in 255 steps, rounded up to a power of two; noise of a tenth has finer ones.
  expect(await scaleOf('golden: { audio: rec.csv }\n')).toBe(0.5)
  expect(await scaleOf('')).toBeLessThan(0.01)
})
