import { describe, expect, it } from 'vitest'
import { meanPower, mixAtSnr } from '../../../../model/audio/mix.ts'

const signal = Float32Array.from({ length: 1_000 }, (_, n) => 0.3 * Math.sin(n / 7))
const noise = Float32Array.from({ length: 333 }, (_, n) => ((n * 7_919) % 101) / 101 - 0.5)

describe('mixAtSnr', () => {
  it.each([-10, 0, 3, 20])('adds noise at %d dB, repeating it from an offset', (snrDb) => {
    const mixed = mixAtSnr(signal, noise, snrDb, 1_000)
    const added = mixed.map((v, i) => v - signal[i]!)
    expect(10 * Math.log10(meanPower(signal) / meanPower(added))).toBeCloseTo(snrDb, 3)
    expect(added[0]! / added[333]!).toBeCloseTo(1, 4)
    expect(added[0]! / noise[1]!).toBeCloseTo(added[1]! / noise[2]!, 4)
    expect(mixAtSnr(signal, noise, snrDb, 1_000)).toEqual(mixed)
  })

  it('copies the signal where no gain gives the ratio', () => {
    const silent = new Float32Array(10)
    expect(mixAtSnr(silent, noise, 0)).toEqual(silent)
    expect(mixAtSnr(signal, silent, 0)).toEqual(signal)
    expect(mixAtSnr(signal, new Float32Array(0), 0)).toEqual(signal)
    expect(meanPower(new Float32Array(0))).toBe(0)
  })
})
