import { present } from '../contract/present.ts'
import type { SeededRandom } from '../contract/random.ts'
import { awakeMilliwatt, RADIOS, radioNamed } from '../device/core/power/energy.ts'
import { BOARDS, type Board } from '../model/boards.ts'
import type { DeviceSpec } from './device-sim.ts'
import { SCENES } from './scene.ts'

const DAY_MS = 86_400_000

/** Chosen: a third of a keyword spotter's boards hang on the mains, the rest run from a battery meant for three months. */
const MAINS_SHARE = 1 / 3
const BATTERY_DAYS = 90

const pick = <T>(items: readonly T[], random: SeededRandom): T =>
  present(items[Math.floor(random.next() * items.length)], 'something to pick from')

/** A battery sized, as a product designer would, so that the voice-activity gated level just reaches the horizon. */
function capacityFor(board: Board, days: number, random: SeededRandom): number {
  const openShare = 0.35
  const inferencesPerSecond = 5
  /** chosen: five wakes an hour, each held for five seconds */
  const heldShare = (5 * 5) / 3_600
  const listening = board.listenIdleMilliwatt + inferencesPerSecond * openShare * (board.kwsMicrojoule / 1000)
  const milliwatt = listening + heldShare * awakeMilliwatt(board)
  return milliwatt * days * (DAY_MS / 1000) * (1.05 + 0.1 * random.next())
}

/** Chosen: three sites of each kind of place. Fixed, so that a larger fleet has the same sites and not other ones. */
const SITES = 12
export const SITE_NAMES: readonly string[] = Array.from(
  { length: SITES },
  (_, i) => `site-${String(i + 1).padStart(2, '0')}`,
)

/** The fleet of the story: sites with one kind of place each, boards and radios mixed, some places busier than others. Each device's
 *  properties come from its own fork of the seed: adding one changes no other.
 *  @param startMs virtual time at which batteries are fresh, Unix ms
 */
export function planFleet(devices: number, startMs: number, random: SeededRandom): readonly DeviceSpec[] {
  return Array.from({ length: devices }, (_, i) => {
    const own = random.fork(`device ${i}`)
    const siteIndex = i % SITES
    const board = pick(BOARDS, own)
    const mains = board.name === 'ESP32-S3' || own.next() < MAINS_SHARE
    return {
      device: `dev-${String(i + 1).padStart(5, '0')}`,
      site: present(SITE_NAMES[siteIndex], 'the name of a site'),
      board,
      radio: mains
        ? present(radioNamed('wifi'), 'the radio')
        : pick(
            RADIOS.filter(({ name }) => name === 'ble-1m' || name === 'wifi'),
            own,
          ),
      scene: present(SCENES[siteIndex % SCENES.length], 'a scene'),
      power: mains
        ? null
        : { capacityMj: capacityFor(board, BATTERY_DAYS, own), horizonMs: startMs + BATTERY_DAYS * DAY_MS },
      governed: true,
      level: 'full',
      // Log-normal with a standard deviation of about 0.4: places differ, a few by a factor of two.
      busyness: Math.exp(0.4 * (own.next() + own.next() + own.next() - 1.5) * 2),
      reportPhaseMs: Math.floor(own.next() * 60) * 60_000,
    }
  })
}
