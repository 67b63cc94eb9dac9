import { describe, expect, it } from 'vitest'
import { exactLogE } from '../../../../cloud/rollout/exact-test.ts'
import { logRatio } from '../../../../cloud/rollout/log-ratio.ts'
import {
  informationForPower,
  oneSidedBoundary,
  oneSidedLogE,
  oneSidedRho,
  twoSidedBoundary,
  twoSidedLogE,
  twoSidedRho,
} from '../../../../cloud/rollout/normal-mixture.ts'
import { logBeta, logBetaUpper, logNormalCdf } from '../../../../cloud/rollout/special-functions.ts'

describe('special functions against 50-digit values (mpmath)', () => {
  it.each([
    [-30, -454.3212439563432],
    [-8, -35.01343715991455],
    [-2.5, -5.08164827727869],
    [-1.9, -3.5502813255421346],
    [0.3, -0.4814101615884812],
    [1.99, -0.02357109616905325],
    [2.01, -0.02246607745058694],
    [6, -9.865876455243758e-10],
  ])('ln Φ(%f)', (x, expected) => {
    expect(Math.abs(logNormalCdf(x) / expected - 1)).toBeLessThan(1e-12)
  })

  it.each([
    [0.5, 0.5, 1.1447298858494002],
    [6, 46, -18.498167202588096],
    [1201, 3001, -2516.779531715517],
  ])('ln B(%f, %f)', (a, b, expected) => {
    expect(Math.abs(logBeta(a, b) / expected - 1)).toBeLessThan(1e-11)
  })

  it.each([
    [0.02, 6, 46, -0.000532989724242541],
    [0.5, 17, 5, -0.0036051808950150386],
    [0.02, 1, 1001, -20.222910024836967],
    [0.9, 2, 3, -5.599422459331959],
  ])('ln(1 - I_%f(%f, %f))', (x, a, b, expected) => {
    expect(Math.abs(logBetaUpper(x, a, b) / expected - 1)).toBeLessThan(1e-10)
  })
})

describe('known values of the gate', () => {
  it('V1: one-sided normal mixture', () => {
    const rho = oneSidedRho(100, 0.05)
    expect(rho).toBeCloseTo(15.80063, 5)
    expect(oneSidedLogE(10, 100, rho)).toBeCloseTo(-0.06502391, 8)
    expect(oneSidedBoundary(100, 0.05, rho)).toBeCloseTo(27.66071, 5)
  })

  it('V2: two-sided normal mixture', () => {
    const rho = twoSidedRho(100, 0.05)
    expect(rho).toBeCloseTo(12.60056, 5)
    expect(twoSidedLogE(10, 100, rho)).toBeCloseTo(-0.6510052, 7)
    expect(twoSidedBoundary(100, 0.05, rho)).toBeCloseTo(30.35209, 5)
  })

  it.each([
    ['V3', 0, 3.172015],
    ['V4', Math.log(1.2), 0.413873],
  ])('%s: evidence of a log ratio', (_, theta0, expected) => {
    const rho = oneSidedRho(300, 0.05)
    expect(rho).toBeCloseTo(47.401905, 6)
    expect(oneSidedLogE((0.3 - theta0) / 0.01, 100, rho)).toBeCloseTo(expected, 6)
  })

  it('V5: log ratio over devices, with the Poisson floor', () => {
    const arm = (y: number[], x: number[]) => y.map((value, i) => ({ y: value, x: x[i]! }))
    const canary = arm([3, 5, 2, 7, 4, 6], [10, 12, 8, 11, 9, 10])
    const control = arm([2, 3, 1, 4, 2, 3], [10, 11, 9, 12, 8, 10])
    const { d, variance } = logRatio(canary, control)!
    expect(d).toBeCloseTo(0.573346, 6)
    expect(variance).toBeCloseTo(0.10088, 6)
    expect(oneSidedLogE(d / variance, 1 / variance, oneSidedRho(100, 0.05))).toBeCloseTo(0.937151, 6)
    // The variance over devices alone, scaled from u of the kind `rate`: what the floor protects from.
    const squares = (devices: { y: number; x: number }[]) => {
      const n = devices.length
      const ySum = devices.reduce((sum, { y }) => sum + y, 0)
      const raw = ySum / devices.reduce((sum, { x }) => sum + x, 0)
      return devices.reduce((sum, { y, x }) => sum + ((n * (y - x * raw)) / (ySum + 0.5)) ** 2, 0) / (n * (n - 1))
    }
    expect(squares(canary) + squares(control)).toBeCloseTo(0.033738, 6)
  })

  it.each([
    [5, 50, 0.02, 1.990739],
    [16, 200, 0.02, 7.541475],
    [16, 20, 0.5, 3.022261],
  ])('V6: exact test of %i in %i against %f', (k, n, p0, expected) => {
    expect(exactLogE(k, n, p0)).toBeCloseTo(expected, 6)
  })

  it('exact test: no trial is no evidence, and success is evidence for the null', () => {
    expect(exactLogE(0, 0, 0.02)).toBe(0)
    expect(exactLogE(0, 1000, 0.02)).toBeLessThan(-2)
  })

  it.each([
    [0.05, 2.77],
    [0.01, 3.35],
  ])('planning: z* at alpha %f', (alpha, zStar) => {
    expect(Math.sqrt(informationForPower(1, alpha)) - 0.84).toBeCloseTo(zStar, 2)
  })
})

describe('evidence for the opposite', () => {
  it('is never evidence, however much of it there is', () => {
    const rho = oneSidedRho(100, 0.01)
    let last = 0
    for (const x of [0, -1, -5, -11.9, -12.1, -40, -1e3, -1e6, -1e9, -1e12]) {
      const logE = oneSidedLogE(x * Math.sqrt(1e12 + rho), 1e12, rho)
      expect(logE).toBeLessThanOrEqual(last)
      expect(logE).toBeGreaterThan(-100)
      last = logE
    }
  })
})

describe('log ratio', () => {
  const device = (y: number, x = 10, past?: readonly [number, number]) => ({ y, x, past })

  it('a past that explains the devices moves the estimate and shrinks the variance', () => {
    const rates = [0.2, 0.5, 1, 2, 4, 8, 0.3, 0.7, 1.5, 3]
    const canary = rates.map((rate) => device(rate * 100, 100, [rate * 100, 100]))
    const control = rates.map((rate) => device(rate * 50, 100, [rate * 50, 100]))
    const plain = logRatio(
      canary.map(({ y, x }) => device(y, x)),
      control.map(({ y, x }) => device(y, x)),
    )!
    const adjusted = logRatio(canary, control)!
    expect(plain.d).toBeGreaterThan(0.6)
    expect(Math.abs(adjusted.d)).toBeLessThan(plain.d)
    expect(adjusted.variance).toBeLessThan(plain.variance / 2)
    // What the past does not know of, it does not move.
    const unknown = canary.map(({ y, x }) => device(y, x, undefined))
    expect(
      logRatio(
        unknown,
        control.map(({ y, x }) => device(y, x)),
      ),
    ).toEqual(plain)
  })

  it('without exposure or with one device there is no comparison', () => {
    expect(logRatio([device(1)], [device(1), device(2)])).toBeUndefined()
    expect(logRatio([device(0, 0), device(0, 0)], [device(1), device(2)])).toBeUndefined()
    expect(logRatio([device(0), device(0)], [device(1), device(2)], 'amount')).toBeUndefined()
  })

  it('an amount has not the half event, and a floor of a thousandth', () => {
    const { d, variance } = logRatio([device(4), device(4)], [device(2), device(2.02)], 'amount')!
    expect(d).toBeCloseTo(Math.log(8 / 4.02), 12)
    expect(variance).toBeLessThan(1e-4)
  })
})
