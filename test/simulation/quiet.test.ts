import { describe, expect, it } from 'vitest'
import { storyBundle } from '../../cli/story/story-bundles.ts'
import { DEFAULT_GATE_POLICY } from '../../cloud/rollout/gate-defaults.ts'
import { gateWords } from '../../cloud/rollout/gate-words.ts'
import { labelsOfPipeline } from '../../contract/manifest.ts'
import { type SeededRandom, seededRandom } from '../../contract/random.ts'
import { planFleet } from '../../firmware-sim/fleet-plan.ts'
import { Hearing } from '../../firmware-sim/hearing.ts'
import { SCENES, soundSenses, takePool } from '../../firmware-sim/scene.ts'
import { loadSoundBank } from '../../firmware-sim/sound-bank.ts'
import { EngineOrtNode } from '../../model/engine/engine-ort-node.ts'
import { openBundle } from '../../model/opened-bundle.ts'
import { CloudWorld, SHA } from '../fixtures/cloud-world.ts'
import { HOUR, SyntheticDevice, T0 } from '../fixtures/synthetic-fleet.ts'

/** How many seeds are told; more of them by hand: KINGLET_QUIET_SEEDS=20 npx vitest run test/simulation/quiet.test.ts */
const SEEDS = Number(process.env.KINGLET_QUIET_SEEDS ?? 1)
const DEVICES = 240
const BASELINE_HOURS = 50
const HOURS_MAX = 220

interface Rates {
  readonly falseWakes: number
  readonly verified: number
}

/** What the factory's model makes of a scene, an hour at mean activity: every take of the fleet is heard by the shipping listener. */
async function sceneRates(seed: number): Promise<ReadonlyMap<string, Rates>> {
  const bank = loadSoundBank('zoo/bank')
  const opened = await openBundle(storyBundle('kws-1').bytes, new EngineOrtNode(), Number.POSITIVE_INFINITY)
  if (!opened.ok) throw new Error(opened.error.detail)
  const hearing = new Hearing(soundSenses(bank, seededRandom(seed).fork('sounds')))
  const memory = hearing.memoryOf(opened.value, 'gated')
  const labels = labelsOfPipeline(opened.value.manifest)
  const rates = new Map<string, Rates>()
  for (const scene of SCENES) {
    const pool = takePool(scene, false, [...bank.keywords.keys()])
    const arrivals = {
      burst: pool.ambience.burstsPerHour,
      speech: pool.ambience.speechPerHour,
      keyword: pool.ambience.keywordsPerHour,
    }
    let falseWakes = 0
    let verified = 0
    for (const kind of ['burst', 'speech', 'keyword'] as const) {
      for (const take of pool[kind]) {
        const { wakes } = await hearing.hear(memory, take)
        const right = wakes.filter(({ label }) => labels[label] === take.expected).length
        verified += (arrivals[kind] * right) / pool[kind].length
        falseWakes += (arrivals[kind] * (wakes.length - right)) / pool[kind].length
      }
    }
    rates.set(scene.name, { falseWakes, verified })
  }
  await opened.value.dispose()
  return rates
}

/** A device of the story's fleet: the wakes of its scene, by its busyness and the hour of the day. */
class QuietDevice extends SyntheticDevice {
  readonly #rates: Rates

  constructor(name: string, site: string, random: SeededRandom, busyness: number, rates: Rates) {
    super(name, SHA['kws-1'].slice(0, 16), T0, random, site)
    Object.assign(this, { temper: busyness })
    this.#rates = rates
  }

  override live(toMs: number): ReturnType<SyntheticDevice['live']> {
    const activity = 1 - 0.2 * Math.cos((2 * Math.PI * (toMs - 3 * HOUR)) / (24 * HOUR))
    return super.live(toMs, {
      falseWakes: this.#rates.falseWakes * activity,
      verified: this.#rates.verified * activity,
    })
  }
}

/** The story of `--scenario quiet` without processes, sockets and flash: its fleet, its sounds, the real store and gate.
 *  @returns how the rollout of the same networks ended, and after how many hours */
async function tellQuiet(
  seed: number,
): Promise<{ readonly state: string; readonly hours: number; readonly words: string }> {
  const rates = await sceneRates(seed)
  const world = new CloudWorld(':memory:', seed, {
    'kws-1': { falseWakes: 0, verified: 0 },
    'kws-2': { falseWakes: 0, verified: 0 },
  })
  world.addRelease('kws-1', 1, 'production')
  world.addRelease('kws-2', 2, 'staging')
  world.enrol(DEVICES)
  const random = seededRandom(seed)
  planFleet(DEVICES, T0, random.fork('fleet')).forEach(({ scene, busyness }, i) => {
    const { name, site } = world.fleet[i]!
    world.fleet[i] = new QuietDevice(name, site, random.fork(`hearing of ${name}`), busyness, rates.get(scene.name)!)
  })
  world.hours(BASELINE_HOURS)
  const policy = { ...DEFAULT_GATE_POLICY, soakHours: 6, covariateHours: 48 }
  const started = world.engine.start({ name: 'kws-2', percents: [20, 50, 100], policy, irreversible: false }, 'tester')
  if (!started.ok) throw new Error(started.error.detail)
  const { id } = started.value
  const hours = world.hours(HOURS_MAX, () => world.store.rollouts.get(id)!.state !== 'running')
  const { state, reading } = world.store.rollouts.get(id)!
  world.store.close()
  return { state, hours, words: reading === null ? '' : gateWords(reading) }
}

describe('the same networks under a new version, in the story’s own fleet', () => {
  const ended = new Map<string, number>()

  it.each(Array.from({ length: SEEDS }, (_, i) => i + 1))(
    'are not taken back (seed %i)',
    async (seed) => {
      const { state, hours, words } = await tellQuiet(seed)
      console.log(`seed ${seed}: ${state} after ${hours} h. ${words}`)
      ended.set(state, (ended.get(state) ?? 0) + 1)
      // What a gate of five in a hundred may do; in a few seeds it does not.
      if (SEEDS <= 5) expect(state).toBe('completed')
    },
    240_000,
  )

  it('or in few of many', () => {
    console.log([...ended].map(([state, count]) => `${count} ${state}`).join(', '))
    expect(ended.get('rolled-back') ?? 0).toBeLessThanOrEqual(Math.ceil(0.05 * SEEDS))
  })
})
