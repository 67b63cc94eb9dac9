import { describe, expect, it } from 'vitest'
import { signalFigures } from '../../../../cloud/telemetry/signal-figures.ts'
import type { BundleManifest } from '../../../../contract/manifest.ts'
import type { Signal } from '../../../../contract/signals.ts'

const wakes: Signal = { name: 'wakes', unit: 'wakes', harm: null, kind: 'count', per: 'listening-hour' }
const falseWakes: Signal = { ...wakes, name: 'false-wakes', harm: 'higher', verdict: 'rejected' }
const posterior: Signal = { name: 'posterior', unit: 'permille', harm: null, kind: 'histogram', edges: [100, 900] }
const worn: Signal = { name: 'worn', unit: 'windows', harm: 'higher', kind: 'ratio' }
const warmth: Signal = { name: 'warmth', unit: '°C', harm: 'higher', kind: 'mean', lowest: -40, step: 0.5 }
const manifest = {
  pipelines: [
    { id: 'words', signals: [wakes, falseWakes, posterior] },
    { id: 'bearing', signals: [worn, warmth] },
  ],
} as unknown as BundleManifest

const HOUR = 3_600_000

describe('what a fleet has counted', () => {
  it('is read by the names of the bundle', () => {
    const sums = {
      listeningMs: 4 * HOUR,
      signals: [6, 10, 20, 32, 10, 3, 5, 501],
      verdicts: new Map([
        [0, { confirmed: 2, rejected: 3, unjudged: 0 }],
        [1, { confirmed: 0, rejected: 7, unjudged: 0 }],
      ]),
    }
    const words = { pipeline: 'words' }
    const bearing = { pipeline: 'bearing' }
    expect(signalFigures(manifest, sums)).toEqual([
      { ...words, name: 'wakes', kind: 'count', unit: 'wakes', harm: null, count: 6, value: 1.5, bins: null },
      {
        ...words,
        name: 'false-wakes',
        kind: 'count',
        unit: 'wakes',
        harm: 'higher',
        count: 3,
        value: 0.75,
        bins: null,
      },
      {
        ...{ ...words, name: 'posterior', kind: 'histogram', unit: 'permille', harm: null, count: 62, value: null },
        bins: [
          { most: 100, count: 10 },
          { most: 900, count: 20 },
          { most: null, count: 32 },
        ],
      },
      { ...bearing, name: 'worn', kind: 'ratio', unit: 'windows', harm: 'higher', count: 10, value: 0.3, bins: null },
      {
        ...bearing,
        name: 'warmth',
        kind: 'mean',
        unit: '°C',
        harm: 'higher',
        count: 5,
        value: -40 + 0.5 * (501 / 5),
        bins: null,
      },
    ])
  })

  it('is nothing yet where nobody has sent any', () => {
    const nothing = { listeningMs: 0, signals: [], verdicts: new Map() }
    expect(signalFigures(manifest, nothing).map(({ count, value }) => [count, value])).toEqual([
      [0, null],
      [0, null],
      [0, null],
      [0, null],
      [0, null],
    ])
    expect(signalFigures({ pipelines: [] }, nothing)).toEqual([])
  })
})
