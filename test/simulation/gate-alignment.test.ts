import { expect, it, vi } from 'vitest'
import { CloudWorld } from '../fixtures/cloud-world.ts'

// Hundreds of simulated hours; a busy machine takes minutes for them.
vi.setConfig({ testTimeout: 300_000 })

/** The gate's inputs come from two sources, reports and verdicts, and canaries begin later than controls. If their windows
 *  did not refer to the same time, two equal models would seem to differ, most of all in the first hours. Measured over 40
 *  seeds: mean z between -0.21 and 0.18 (standard error 0.16), spread 0.8 to 1.2, no false rollback.
 */
it('two equal models look equal at every hour, from the first comparison on', () => {
  const SEEDS = 12
  const same = { falseWakes: 0.5, verified: 1 }
  const scores = new Map<string, number[]>()
  let rolledBack = 0
  for (let seed = 100; seed < 100 + SEEDS; seed++) {
    const world = new CloudWorld(':memory:', seed, { 'kws-1': same, 'kws-2': same })
    world.addRelease('kws-1', 1, 'production')
    world.addRelease('kws-2', 2, 'staging')
    world.enrol(120)
    world.hours(30)
    const started = world.start('kws-2', [50, 100])
    if (!started.ok) throw new Error(started.error.detail)
    let hour = 0
    world.hours(12, () => {
      hour++
      const rollout = world.store.rollouts.get(started.value.id)!
      for (const { name, running } of rollout.reading?.metrics ?? []) {
        if (running === null) continue
        const key = `${name} after ${hour} h`
        scores.set(key, [...(scores.get(key) ?? []), running.d / Math.sqrt(running.variance)])
      }
      return rollout.state === 'rolled-back'
    })
    if (world.store.rollouts.get(started.value.id)!.state === 'rolled-back') rolledBack++
    world.store.close()
  }
  const compared = [...scores].filter(([, z]) => z.length === SEEDS)
  expect(compared.length).toBeGreaterThan(12)
  for (const [key, z] of compared) {
    const mean = z.reduce((sum, value) => sum + value, 0) / z.length
    // 3.5 standard errors: two dozen means are looked at.
    expect(Math.abs(mean), key).toBeLessThan(3.5 / Math.sqrt(SEEDS))
  }
  expect(rolledBack).toBeLessThanOrEqual(1)
})
