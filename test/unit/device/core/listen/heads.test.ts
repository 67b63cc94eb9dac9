import { describe, expect, it } from 'vitest'
import type { Head } from '../../../../../contract/head.ts'
import { createHead } from '../../../../../device/core/listen/heads.ts'

const NONE = new Float32Array(0)
const judge = (head: Head, windows: readonly (readonly number[])[], smooths = true) => {
  const runner = createHead(head, smooths)
  return windows.map((output, i) => runner.judge(Float32Array.from(output), NONE, 100 * i))
}

describe('a wake head', () => {
  const head = (cutoffs: number[] | null): Head => ({
    kind: 'wake',
    labels: ['a', 'b'],
    policy: { smoothingWindows: 1, thresholdPermille: 500, refractoryMs: 0, wakeHoldMs: 0, ignoreLabels: [] },
    cutoffs,
  })
  it('takes each word by a threshold of its own', () => {
    const events = (cutoffs: number[] | null, output: number[]) => judge(head(cutoffs), [output])[0]!.event
    expect(events(null, [0.6, 0.55])).toBe(0)
    expect(events([900, 500], [0.6, 0.55])).toBe(1)
    expect(events([900, 700], [0.6, 0.55])).toBe(-1)
    expect(events([300, 700], [0.35, 0.65])).toBe(0)
  })
})

describe('classification', () => {
  const head: Head = { kind: 'classification', labels: ['a', 'b', 'c'], smoothingWindows: 2 }
  it('is the best label of a mean, with its share and its confidence', () => {
    const [first, second] = judge(head, [
      [0.8, 0.2, 0],
      [0.1, 0.9, 0],
    ])
    expect(first).toEqual({
      event: -1,
      permille: 800,
      values: [800, 1, 0, 0],
      reading: { label: 0, value: Math.fround(0.8) },
    })
    // 0.45 and 0.55
    expect(second!.values).toEqual([550, 0, 1, 0])
    expect(second!.reading!.label).toBe(1)
  })
  it('a network that gives no number is said to be broken', () => {
    expect(judge(head, [[0.1, Number.NaN, 0]])).toEqual([undefined])
  })
})

describe('regression', () => {
  it('is scale times output and offset, as a mean of the windows there are', () => {
    const head: Head = {
      ...{ kind: 'regression', unit: '°C', scale: 10, offset: 5, lowest: 0, highest: 100 },
      smoothingWindows: 2,
    }
    expect(judge(head, [[1], [2], [4]]).map((judged) => judged!.values[0])).toEqual([15, 20, 35])
    // A state that lasts, however far apart the windows are.
    expect(judge(head, [[1], [2]], false).map((judged) => judged!.values[0])).toEqual([15, 20])
    expect(judge(head, [[Number.POSITIVE_INFINITY]])).toEqual([undefined])
  })
})

describe('an anomaly head', () => {
  const head: Head = {
    ...{ kind: 'anomaly', score: 'output', threshold: 10, rearm: 8, smoothingWindows: 2 },
    ...{ refractoryMs: 250, holdMs: 0 },
  }
  const alarms = (scores: readonly number[]) =>
    judge(
      head,
      scores.map((score) => [score]),
    ).flatMap((judged, i) => (judged!.event === 0 ? [i] : []))
  it('alarms on the mean of two windows, never on one alone', () => {
    expect(alarms([30])).toEqual([])
    expect(alarms([0, 30])).toEqual([1])
    expect(alarms([9, 9, 9])).toEqual([])
  })
  it('is armed again below its lower threshold, and quiet for its refractory time', () => {
    expect(alarms([10, 10, 10, 10, 10, 10])).toEqual([1])
    // 9 is not below 8; two windows of 7 are.
    expect(alarms([10, 10, 9, 9, 10, 10])).toEqual([1])
    expect(alarms([10, 10, 7, 7, 10, 10])).toEqual([1, 5])
    // A window of 0 arms at once, and 250 ms have to pass.
    expect(alarms([20, 20, 0, 0, 20, 20])).toEqual([1, 4])
    expect(alarms([20, 20, -40, 40, 40])).toEqual([1, 4])
  })
  it('is a mean at a sparse level too, where a word would be taken window by window', () => {
    const sparse = judge(head, [[30], [0], [30]], false).map((judged) => judged!.event)
    expect(sparse).toEqual([-1, 0, -1])
  })
  it('says how far above its threshold it is', () => {
    expect(judge(head, [[10], [30]]).map((judged) => judged!.permille)).toEqual([500, 667])
  })
})
