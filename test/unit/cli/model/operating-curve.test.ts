import { describe, expect, it } from 'vitest'
import {
  type CurvePoint,
  curvePoint,
  curveSettings,
  type HeardWindows,
  missesByLabel,
  proposed,
  wakesOf,
} from '../../../../cli/model/operating-curve.ts'
import type { WakePolicy } from '../../../../contract/manifest-fields.ts'

const labels = ['noise', 'yes', 'no']
const policy: WakePolicy = {
  smoothingWindows: 1,
  thresholdPermille: 500,
  refractoryMs: 1_000,
  wakeHoldMs: 5_000,
  ignoreLabels: ['noise'],
}
/** Posteriors of `yes` and `no`, a window each 200 ms; null is a window behind a closed gate. */
const stream = (...said: (readonly [number, number] | null)[]): HeardWindows => ({
  audioMs: 3_600_000,
  windows: said.flatMap((one, i) =>
    one === null
      ? []
      : [
          {
            atMs: 1_000 + 200 * i,
            posteriors: Float32Array.of(1 - one[0] - one[1], ...one),
            afterGap: i > 0 && said[i - 1] === null,
          },
        ],
  ),
})
const quiet = [0, 0] as const

describe('wakesOf', () => {
  it('is the shipping detector: smoothing, refractory time, release', () => {
    const twice = stream(quiet, [0.9, 0], [0.9, 0], quiet, quiet, quiet, quiet, [0, 0.9], quiet)
    expect(wakesOf(twice, policy, labels)).toEqual(['yes', 'no'])
    expect(wakesOf(twice, { ...policy, smoothingWindows: 2, thresholdPermille: 800 }, labels)).toEqual(['yes'])
    expect(wakesOf(twice, { ...policy, refractoryMs: 5_000 }, labels)).toEqual(['yes'])
  })
  it('forgets what was before windows that were not inferred', () => {
    const apart = stream([0.9, 0], null, [0.9, 0])
    expect(wakesOf(apart, { ...policy, smoothingWindows: 2 }, labels)).toEqual([])
    expect(wakesOf(stream([0.9, 0], [0.9, 0]), { ...policy, smoothingWindows: 2 }, labels)).toEqual(['yes'])
  })
})

describe('curvePoint', () => {
  const words = [
    { label: 'yes', ...stream(quiet, [0.9, 0], quiet) },
    { label: 'yes', ...stream(quiet, [0.3, 0], quiet) },
    { label: 'no', ...stream(quiet, [0.8, 0], quiet) },
  ]
  const others = [stream([0.6, 0], ...new Array(9).fill(quiet), [0, 0.55]), stream(quiet)]

  it('counts misses, confusions and false wakes, with their exposure', () => {
    const point = curvePoint({ smoothingWindows: 1, thresholdPermille: 500 }, policy, labels, words, others)
    expect(point).toMatchObject({ words: 3, misses: 2, confused: 1, falseWakes: 2, falsePerHour: 1 })
    expect(point.missShare).toBeCloseTo(2 / 3)
    // Garwood: 0.2422 to 7.2247 in two hours.
    expect(point.falseInterval.low).toBeCloseTo(0.1211, 3)
    expect(point.falseInterval.high).toBeCloseTo(3.6123, 3)
    expect(missesByLabel(point, policy, labels, words)).toEqual({
      yes: { words: 2, misses: 1 },
      no: { words: 1, misses: 1 },
    })
  })
})

describe('curveSettings', () => {
  it('has the own policy in it, once', () => {
    const own = { ...policy, smoothingWindows: 7, thresholdPermille: 333 }
    const settings = curveSettings(own, false)
    const equal = settings.filter((one) => one.smoothingWindows === 7 && one.thresholdPermille === 333)
    expect(equal).toHaveLength(1)
    expect(curveSettings(policy, false)).toHaveLength(7 * 49)
  })
  it('takes windows that are seconds apart one by one', () => {
    expect(new Set(curveSettings(policy, true).map(({ smoothingWindows }) => smoothingWindows))).toEqual(new Set([1]))
  })
})

describe('proposed', () => {
  const point = (thresholdPermille: number, misses: number, falseWakes: number) =>
    ({ thresholdPermille, smoothingWindows: 1, misses, falseWakes, falsePerHour: falseWakes / 2 }) as CurvePoint

  it('misses least within the wanted rate, then wakes least, then is the strictest', () => {
    const points = [point(100, 0, 9), point(200, 3, 2), point(300, 3, 1), point(400, 3, 1), point(500, 8, 0)]
    expect(proposed(points, 1)?.thresholdPermille).toBe(400)
    expect(proposed(points, 0)?.thresholdPermille).toBe(500)
    expect(proposed(points, 5)?.thresholdPermille).toBe(100)
    expect(proposed(points.slice(0, 4), 0.1)).toBeUndefined()
  })
})
