import { expect, it } from 'vitest'
import { CloudWorld } from '../fixtures/cloud-world.ts'
import { HOUR } from '../fixtures/synthetic-fleet.ts'

/** How often, over seeds, fleets that sleep or report once a day lose a good model, and how soon a model that kills devices is lost. A few here;
 *  KINGLET_FLEET_RUNS=40 npx vitest run test/simulation/gate-fleets.test.ts tells more.
 */
const RUNS = Number(process.env.KINGLET_FLEET_RUNS ?? 2)
const USUAL = { falseWakes: 0.5, verified: 1 }

function runs(devices: number, count: number, dying: number, online: CloudWorld['online']) {
  let back = 0
  let early = 0
  for (let seed = 1; seed <= count; seed++) {
    const candidate = { ...USUAL, dying, diesAfterHours: 12 }
    const world = new CloudWorld(':memory:', seed, { 'kws-1': USUAL, 'kws-2': candidate })
    world.addRelease('kws-1', 1, 'production')
    world.addRelease('kws-2', 2, 'staging')
    world.enrol(devices)
    world.online = online
    world.hours(50)
    const started = world.start('kws-2', [5, 25, 50, 100])
    if (!started.ok) throw new Error(started.error.detail)
    const { id } = started.value
    world.hours(dying > 0 ? 48 : 100, () => world.store.rollouts.get(id)?.state !== 'running')
    if (world.store.rollouts.get(id)?.state === 'rolled-back') {
      back++
      if (world.store.rollouts.exposed(id) < devices / 4) early++
    }
    world.store.close()
  }
  return { back, early }
}

const MINUTES = 60_000

it(
  'a good model where a tenth of the devices sleep for days at random',
  () => {
    const { back } = runs(200, RUNS, 0, (device, now) => {
      const sleeps = Math.floor(device.phaseMs) % 10 === 0
      return !sleeps || Math.sin(now / HOUR / (7 + (Math.floor(device.phaseMs) % 13)) + device.phaseMs) > 0
    })
    console.log(`sleepers: ${back} of ${RUNS} rolled back`)
    expect(back / RUNS).toBeLessThanOrEqual(0.05)
  },
  (2 + RUNS) * 2 * MINUTES,
)

it(
  'a good model where all report once a day',
  () => {
    const { back } = runs(
      200,
      RUNS,
      0,
      (device, now) => Math.floor(now / HOUR) % 24 === Math.floor(device.phaseMs) % 24,
    )
    console.log(`daily: ${back} of ${RUNS} rolled back`)
    expect(back / RUNS).toBeLessThanOrEqual(0.05)
  },
  (2 + RUNS) * 2 * MINUTES,
)

it(
  'a model that kills a tenth of 2 000 devices within a day is taken back before a quarter has it',
  () => {
    const count = Math.max(1, Math.round(RUNS / 2))
    const { early } = runs(2_000, count, 0.1, () => true)
    console.log(`deaths: ${early} of ${count} taken back in time`)
    expect(early / count).toBeGreaterThanOrEqual(0.9)
  },
  (2 + RUNS) * 4 * MINUTES,
)
