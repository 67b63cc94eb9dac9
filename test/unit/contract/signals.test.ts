import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../contract/limits.ts'
import { addToSignal, type Signal, type SignalPlace, signalPlaces, signalSchema } from '../../../contract/signals.ts'

const alarms: Signal = { name: 'alarms', unit: 'alarms', harm: 'higher', kind: 'count', per: 'hour' }
const confirmed: Signal = { ...alarms, name: 'confirmed', verdict: 'confirmed' }
const share: Signal = { name: 'worn', unit: '1', harm: null, kind: 'ratio' }
const warmth: Signal = { name: 'warmth', unit: '°C', harm: 'higher', kind: 'mean', lowest: -40, step: 0.5 }
const score: Signal = { name: 'score', unit: '1', harm: 'higher', kind: 'histogram', edges: [0.1, 0.5, 2] }

describe('a declaration', () => {
  it.each([alarms, confirmed, share, warmth, score])('is read: $name', (signal) => {
    expect(signalSchema.safeParse(signal)).toEqual({ success: true, data: signal })
  })

  it.each<[string, unknown]>([
    ['no kind', { ...alarms, kind: 'sum' }],
    ['a field of another kind', { ...share, edges: [1] }],
    ['an exposure that no device measures', { ...alarms, per: 'mile' }],
    ['a direction', { ...alarms, harm: 'sideways' }],
    ['a verdict that no verifier says', { ...alarms, verdict: 'perhaps' }],
    ['a step of nothing', { ...warmth, step: 0 }],
    ['a lowest value that is none', { ...warmth, lowest: Number.NEGATIVE_INFINITY }],
    ['edges that fall', { ...score, edges: [0.5, 0.1] }],
    ['an edge twice', { ...score, edges: [0.5, 0.5] }],
    ['no edges', { ...score, edges: [] }],
    ['more bins than a report has', { ...score, edges: Array.from({ length: LIMITS.histogramBins }, (_, i) => i) }],
    ['a name that no file may have', { ...alarms, name: 'A/b' }],
  ])('with %s that it cannot have is refused', (_what, signal) => {
    expect(signalSchema.safeParse(signal).success).toBe(false)
  })
})

describe('the numbers of a report', () => {
  const places = signalPlaces([[alarms, confirmed, score], [], [share, warmth]])
  const of = (name: string): SignalPlace => places.find(({ signal }) => signal.name === name)!

  it('lie in the order of the bundle; what a verifier counts takes none', () => {
    expect(places.map(({ pipeline, signal, at, length }) => [pipeline, signal.name, at, length])).toEqual([
      [0, 'alarms', 0, 1],
      [0, 'confirmed', 1, 0],
      [0, 'score', 1, 4],
      [2, 'worn', 5, 2],
      [2, 'warmth', 7, 2],
    ])
  })

  it('grow by what was seen', () => {
    const numbers = new Array<number>(9).fill(0)
    addToSignal(of('alarms'), numbers, 3)
    addToSignal(of('confirmed'), numbers, 1)
    for (const value of [0.1, 0.2, 0.5, 3, 2.01]) addToSignal(of('score'), numbers, value)
    for (const value of [0, 1, 1]) addToSignal(of('worn'), numbers, value)
    // 20.3 °C is 120.6 steps above -40, which is 121; what is colder than the coldest counts as it.
    for (const value of [20.3, -40, -99]) addToSignal(of('warmth'), numbers, value)
    expect(numbers).toEqual([3, 1, 2, 0, 2, 3, 2, 3, 121])
  })

  it('of a mean stop together at the bound, so that it stays what it was', () => {
    const numbers = [0, 0, 0, 0, 0, 0, 0, 100, LIMITS.signalNumber - 1]
    addToSignal(of('warmth'), numbers, 0)
    addToSignal(of('warmth'), numbers, -40)
    expect(numbers.slice(7)).toEqual([101, LIMITS.signalNumber - 1])
  })

  it('take nothing that is no number, and stay at the bound of a report', () => {
    const numbers = [LIMITS.signalNumber - 1, ...new Array<number>(8).fill(0)]
    for (const place of places) {
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) addToSignal(place, numbers, value)
    }
    addToSignal(of('alarms'), numbers, 5)
    addToSignal(of('alarms'), numbers, -5)
    expect(numbers).toEqual([LIMITS.signalNumber, ...new Array<number>(8).fill(0)])
  })
})
