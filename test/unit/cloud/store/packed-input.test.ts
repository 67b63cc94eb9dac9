import { inflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { packInput, packLargeInput, unpackInput } from '../../../../cloud/store/packed-input.ts'

describe('what a verdict was computed from, packed', () => {
  const outcomes = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ y: i / 3, x: 1e-9 * i, past: undefined }))
  it.each([0, 1, 4_095, 4_096, 4_097, 10_000])('piece by piece is what it is as a whole: %i devices', async (count) => {
    const input = {
      ...{ stage: 1, none: null, absent: undefined, empty: {}, words: ['a "b"', 'ü'] },
      signals: { 'kws/words': { batch: { canary: outcomes(count), control: [] }, spells: outcomes(2 * count) } },
    }
    const text = (packed: Uint8Array) => inflateRawSync(packed).toString('utf8')
    const pieces = await packLargeInput(input)
    expect(text(pieces)).toBe(JSON.stringify(input))
    expect(text(packInput(input))).toBe(JSON.stringify(input))
    expect(unpackInput(pieces)).toEqual(JSON.parse(JSON.stringify(input)))
  })
})
