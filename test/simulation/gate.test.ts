import { describe, expect, it } from 'vitest'
import { simulate, tolerance } from '../../bench/gate-simulation.ts'
import { exactLogE } from '../../cloud/rollout/exact-test.ts'
import { seededRandom } from '../../contract/random.ts'

/** Monte Carlo check of what the gate promises: 72 h, gamma-distributed device rates (CV 0 or 1), .2 events an hour. Fewer runs than the
 *  2 000 of the published table, and fewer looks in some, so the tolerances are three binomial standard errors wide; `npm run bench:gates`
 *  has the whole table. A power below the table by .15 fails.
 */
const SEED = 20_261_121
const ALPHA = 0.05

describe(`gate, looks for 72 h, seed ${SEED}`, () => {
  const RUNS = 120
  it.each([
    [200, 200, 'exponential', 0.009, 0.29, 0.45],
    [50, 500, 'exponential', 0.014, 0.3, 0.44],
    [500, 50, 'exponential', 0.022, 0.34, 0.48],
    [200, 200, 'constant', 0.019, 0.021, 0.28],
  ] as const)('false rollbacks, %i : %i, %s', (canary, control, shape, gate, poissonE, peekedZ) => {
    const fired = simulate({ canary, control, shape }, RUNS, SEED)
    expect(fired.gate).toBeLessThanOrEqual(gate + tolerance(gate, RUNS))
    expect(fired.gate).toBeLessThanOrEqual(ALPHA)
    // The comparators depend on I_opt and the minima, which the table does not give: they must only be as bad as it says,
    // roughly, which also shows that this simulation can fail.
    expect(Math.abs(fired.poissonE - poissonE)).toBeLessThan(tolerance(poissonE, RUNS) + 0.1)
    expect(Math.abs(fired.peekedZ - peekedZ)).toBeLessThan(tolerance(peekedZ, RUNS) + 0.1)
  })

  it.each([
    [30, 30, 'pareto15', 0.2],
    [30, 30, 'tenthAt20', 5],
    [30, 300, 'lognormal15', 0.2],
    [50, 500, 'pareto15', 0.2],
  ] as const)('heavy tails with a past of a week, %i : %i, %s, %f an hour', (canary, control, shape, rate) => {
    const runs = 300
    const { gate } = simulate({ canary, control, shape, rate, preHours: 168, every: 4 }, runs, SEED)
    // By a regression on the past instead: .065, .040, .013, .028 (1 000 runs).
    expect(gate).toBeLessThanOrEqual(0.045)
  })

  it.each([
    [50, 1.5, 0.2, 0.92],
    [50, 2, 0.63, 1],
    [200, 1.25, 0.31, 0.96],
    [200, 1.5, 0.88, 1],
  ] as const)('power, %i an arm, x%f', (n, ratio, plain, adjusted) => {
    const runs = 150
    const arms = { canary: n, control: n, shape: 'exponential', ratio, every: 3 } as const
    const without = simulate(arms, runs, SEED).gate
    const withPre = simulate({ ...arms, preHours: 168 }, runs, SEED).gate
    // I_opt of the published rows is not known; planned for x1.5 (here) the test is stronger at small information.
    expect(without).toBeGreaterThan(plain - 0.1)
    expect(without).toBeLessThan(plain + tolerance(plain, runs) + 0.1)
    expect(withPre).toBeGreaterThanOrEqual(adjusted - 0.05)
  })

  it('one margin: x1.1 is not withdrawn however large the fleet, x1.5 is', () => {
    const arms = {
      canary: 400,
      control: 1600,
      shape: 'exponential',
      preHours: 168,
      every: 6,
      marginRatio: 1.25,
    } as const
    expect(simulate({ ...arms, ratio: 1.1 }, 60, SEED).gate).toBe(0)
    expect(simulate({ ...arms, ratio: 1.5 }, 60, SEED).gate).toBeGreaterThan(0.95)
  })

  it('non-inferiority, margin 1.25, 200 an arm: power at no effect, error at the margin', () => {
    const runs = 150
    const arms = { canary: 200, control: 200, shape: 'exponential', every: 3 } as const
    const plain = simulate(arms, runs, SEED).advance
    const adjusted = simulate({ ...arms, preHours: 168 }, runs, SEED).advance
    const atMargin = simulate({ ...arms, ratio: 1.25, preHours: 168 }, runs, SEED).advance
    expect(Math.abs(plain - 0.33)).toBeLessThan(tolerance(0.33, runs))
    expect(adjusted).toBeGreaterThanOrEqual(0.94 - tolerance(0.94, runs))
    expect(atMargin).toBeLessThanOrEqual(ALPHA + 0.01)
  })

  it('install failures 2 % against 8 %, 100 : 1000: the exact test sees what the log ratio cannot', () => {
    const runs = 500
    const random = seededRandom(SEED).fork('installs')
    const draw = (n: number, p: number): number => {
      let k = 0
      for (let i = 0; i < n; i++) if (random.next() < p) k++
      return k
    }
    let exact = 0
    let falseAlarms = 0
    for (let run = 0; run < runs; run++) {
      const control = draw(1000, 0.02)
      const canary = draw(100, 0.08)
      const same = draw(100, 0.02)
      const logE = (k: number): number => exactLogE(k, k + control, 100 / 1100)
      if (logE(canary) >= Math.log(1 / ALPHA)) exact++
      if (logE(same) >= Math.log(1 / ALPHA)) falseAlarms++
    }
    expect(Math.abs(exact / runs - 0.61)).toBeLessThan(tolerance(0.61, runs) + 0.05)
    expect(falseAlarms / runs).toBeLessThan(ALPHA)
  })
})
