import { describe, expect, it } from 'vitest'
import { exactLogE } from '../../cloud/rollout/exact-test.ts'
import { advanceTest, rollbackTest } from '../../cloud/rollout/gate.ts'
import { DEFAULT_GATE_POLICY } from '../../cloud/rollout/gate-defaults.ts'
import { logRatio } from '../../cloud/rollout/log-ratio.ts'
import { informationForPower, oneSidedLogE, oneSidedRho } from '../../cloud/rollout/normal-mixture.ts'
import type { MetricPolicy } from '../../cloud/store/gate-policy.ts'
import { type SeededRandom, seededRandom } from '../../contract/random.ts'

/** Monte Carlo check of what the gate promises: hourly looks for 72 h, gamma-distributed device rates (CV 0 or 1), .2 events
 *  an hour. Fewer runs than the 2 000 of the published table, so the tolerances are three binomial standard errors wide.
 */
const SEED = 20_261_121
const LOOKS = 72
const RATE = 0.2
const ALPHA = 0.05
const POLICY: MetricPolicy = { ...DEFAULT_GATE_POLICY.metrics[0]!, alphaRollback: ALPHA, alphaAdvance: ALPHA }
const { minDevicesPerArm, minEvents, minCanaryEvents } = DEFAULT_GATE_POLICY

function poisson(random: SeededRandom, mean: number): number {
  // Knuth; halved recursively so that exp(-mean) never underflows.
  if (mean > 30) return poisson(random, mean / 2) + poisson(random, mean / 2)
  const limit = Math.exp(-mean)
  let product = random.next()
  let count = 0
  while (product > limit) {
    product *= random.next()
    count++
  }
  return count
}

/** Gamma with CV 1 is the exponential; CV 0 is constant. */
const deviceRate = (random: SeededRandom, cv: 0 | 1): number => (cv === 0 ? RATE : -RATE * Math.log(1 - random.next()))

interface SimulatedDevice {
  rate: number
  y: number
  x: number
  z: number | undefined
}

interface Scenario {
  readonly canary: number
  readonly control: number
  readonly cv: 0 | 1
  readonly ratio?: number
  /** hours of pre-period, 0: unadjusted */
  readonly preHours?: number
  readonly looks?: number
}

function makeArm(random: SeededRandom, n: number, cv: 0 | 1, ratio: number, preHours: number): SimulatedDevice[] {
  return Array.from({ length: n }, () => {
    const base = deviceRate(random, cv)
    const z = preHours > 0 ? poisson(random, base * preHours) / preHours : undefined
    return { rate: base * ratio, y: 0, x: 0, z }
  })
}

/** Shares of runs in which each detector fired at any look. */
function simulate(scenario: Scenario, runs: number): Record<'gate' | 'poissonE' | 'peekedZ' | 'advance', number> {
  const fired = { gate: 0, poissonE: 0, peekedZ: 0, advance: 0 }
  const rho = oneSidedRho(informationForPower(Math.log(POLICY.planRatio), ALPHA), ALPHA)
  const root = seededRandom(SEED).fork(JSON.stringify(scenario))
  for (let run = 0; run < runs; run++) {
    const random = root.fork(String(run))
    const canary = makeArm(random, scenario.canary, scenario.cv, scenario.ratio ?? 1, scenario.preHours ?? 0)
    const control = makeArm(random, scenario.control, scenario.cv, 1, scenario.preHours ?? 0)
    const seen = { gate: false, poissonE: false, peekedZ: false, advance: false }
    for (let look = 0; look < (scenario.looks ?? LOOKS); look++) {
      for (const arm of [canary, control]) {
        for (const device of arm) {
          device.y += poisson(random, device.rate)
          device.x += 1
        }
      }
      const comparison = logRatio(canary, control)
      if (comparison === undefined) continue
      const { d, canary: c, control: o } = comparison
      if (c.events + o.events < minEvents || c.events < minCanaryEvents) continue
      if (Math.min(c.devices, o.devices) < minDevicesPerArm) continue
      const gate = rollbackTest([comparison], POLICY)
      seen.gate ||= gate.logE >= gate.threshold
      const advance = advanceTest([comparison], POLICY)
      seen.advance ||= look >= 23 && advance.logE >= advance.threshold
      const pooled = 1 / (c.events + 0.5) + 1 / (o.events + 0.5)
      seen.poissonE ||= oneSidedLogE(d / pooled, 1 / pooled, rho) >= Math.log(1 / ALPHA)
      seen.peekedZ ||= d / Math.sqrt(pooled) >= 1.645
    }
    for (const key of Object.keys(fired) as (keyof typeof fired)[]) if (seen[key]) fired[key]++
  }
  for (const key of Object.keys(fired) as (keyof typeof fired)[]) fired[key] /= runs
  return fired
}

const tolerance = (p: number, runs: number): number => 3 * Math.sqrt((p * (1 - p)) / runs) + 0.005

describe(`gate, hourly looks for 72 h, seed ${SEED}`, () => {
  const RUNS = 120
  it.each([
    [200, 200, 1, 0.009, 0.29, 0.45],
    [50, 500, 1, 0.014, 0.3, 0.44],
    [500, 50, 1, 0.022, 0.34, 0.48],
    [200, 200, 0, 0.019, 0.021, 0.28],
  ] as const)('false rollbacks, %i : %i, CV %i', (canary, control, cv, gate, poissonE, peekedZ) => {
    const fired = simulate({ canary, control, cv }, RUNS)
    console.log(`${canary}:${control} CV ${cv}`, fired)
    expect(fired.gate).toBeLessThanOrEqual(gate + tolerance(gate, RUNS))
    expect(fired.gate).toBeLessThanOrEqual(ALPHA)
    // The comparators depend on I_opt and the minima, which the table does not give: they must only be as bad as it says,
    // roughly, which also shows that this simulation can fail.
    expect(Math.abs(fired.poissonE - poissonE)).toBeLessThan(tolerance(poissonE, RUNS) + 0.1)
    expect(Math.abs(fired.peekedZ - peekedZ)).toBeLessThan(tolerance(peekedZ, RUNS) + 0.1)
  })

  it.each([
    [50, 1.5, 0.2, 0.92],
    [50, 2, 0.63, 1],
    [200, 1.25, 0.31, 0.96],
    [200, 1.5, 0.88, 1],
  ] as const)('power, %i an arm, x%f', (n, ratio, plain, adjusted) => {
    const runs = 30
    const without = simulate({ canary: n, control: n, cv: 1, ratio }, runs).gate
    const withPre = simulate({ canary: n, control: n, cv: 1, ratio, preHours: 168 }, runs).gate
    console.log(`${n} an arm x${ratio}: ${without} -> ${withPre}`)
    // I_opt of the published rows is not known; planned for x1.5 (here) the test is stronger at small information.
    expect(Math.abs(without - plain)).toBeLessThan(tolerance(plain, runs) + 0.1)
    expect(withPre).toBeGreaterThanOrEqual(adjusted - tolerance(adjusted, runs))
  })

  it('non-inferiority, margin 1.25, 200 an arm: power at no effect, error at the margin', () => {
    const runs = 40
    const plain = simulate({ canary: 200, control: 200, cv: 1 }, runs).advance
    const adjusted = simulate({ canary: 200, control: 200, cv: 1, preHours: 168 }, runs).advance
    const atMargin = simulate({ canary: 200, control: 200, cv: 1, ratio: 1.25, preHours: 168 }, runs).advance
    console.log(`non-inferior ${plain} -> ${adjusted}, at the margin ${atMargin}`)
    expect(Math.abs(plain - 0.33)).toBeLessThan(tolerance(0.33, runs) + 0.05)
    expect(adjusted).toBeGreaterThanOrEqual(0.94 - tolerance(0.94, runs))
    expect(atMargin).toBeLessThanOrEqual(ALPHA + tolerance(0.022, runs))
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
    console.log(`install failures: power ${exact / runs}, false alarms ${falseAlarms / runs}`)
    expect(Math.abs(exact / runs - 0.61)).toBeLessThan(tolerance(0.61, runs) + 0.05)
    expect(falseAlarms / runs).toBeLessThan(ALPHA)
  })
})
