import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { AudioNotes } from '../../../../cli/audio-notes.ts'
import { windowsInRow } from '../../../../cli/model/pipeline-windows.ts'
import type { VectorWindowDefinition } from '../../../../model/features/vector-windows.ts'

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
