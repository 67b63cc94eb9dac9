import { bytesToHex } from '../../contract/bytes.ts'
import { present } from '../../contract/present.ts'
import type { SecureRandom, SeededRandom } from '../../contract/random.ts'
import { otherSlot } from '../../device/core/flash/flash-layout.ts'
import { provision } from '../../device/core/flash/provision.ts'
import { readTrust } from '../../device/core/flash/trust-record.ts'
import type { MemoryRepository } from '../memory-repository.ts'
import { CUT_START_MS, cutRepository, type TrialImage } from './power-cut-images.ts'
import { type CutCourse, type CutStart, type CutTale, finish, fromCold, situation } from './power-cut-story.ts'
import { CutWorld, type CutWorldOptions } from './power-cut-world.ts'

/** Short stories: what a device does at a boot, what it trusts, what it keeps for the gateway, how it leaves the factory. */

/** chosen: a device asks once a day whether anything is new; two hours to hear of it */
const POLL_HOURS = 26
/** chosen: more reports than go on the air at once */
const OUTAGE_HOURS = 9
/** chosen: an hour for what waits, and half an hour for the reports that come meanwhile */
const AFTER_HOURS = 2

const isTold = ({ state }: CutWorld): boolean =>
  state?.outbox.messages.length === 0 && state.record.untold === 'none' && state.record.phase === 'confirmed'

/** Boots, and says what it has to say: of a fall-back or of an image that was found. */
export const bootAndTell = (name: string): CutCourse => ({
  name,
  course: async (world) => {
    if (!(await world.boot())) return 'does not boot'
    if (!(await world.live(() => isTold(world), AFTER_HOURS))) return `has not said everything: ${situation(world)}`
    return fromCold(world)
  },
})

/** Nobody acknowledges for hours; then everything is delivered and struck out. */
export const outage: CutCourse = {
  name: 'spool',
  course: async (world) => {
    world.gateway.acknowledges = false
    if (!(await world.boot())) return 'does not boot'
    await world.live(() => false, OUTAGE_HOURS)
    world.gateway.acknowledges = true
    // A link that comes back: what waits is sent anew.
    world.gateway.reconnect()
    if (!(await world.live(() => isTold(world), AFTER_HOURS))) return `has not said everything: ${situation(world)}`
    const { kept } = world.promises
    if (kept.length > 0) return `${kept.length} messages are still kept`
    return fromCold(world)
  },
}

/** An idle device asks whether anything is new, and keeps what it learns. */
export const pollOf = (name: string, repository: MemoryRepository): CutCourse => ({
  name,
  course: async (world) => {
    const isNewest = () => {
      const files = readTrust(world.flash, world.layout)?.files
      const newest = (role: 'root' | 'timestamp' | 'snapshot') => {
        const bytes = files?.[role]
        const file = role === 'timestamp' ? 'timestamp.json' : `${repository.versions[role]}.${role}.json`
        return bytes !== undefined && bytesToHex(bytes) === bytesToHex(present(repository.file(file), file))
      }
      return newest('root') && newest('timestamp') && newest('snapshot')
    }
    if (!(await world.boot())) return 'does not boot'
    if (!(await world.live(isNewest, POLL_HOURS))) return `does not trust the newest metadata: ${situation(world)}`
    const wrong = await fromCold(world)
    return wrong ?? (isNewest() ? undefined : 'has forgotten the newest metadata')
  },
})

/** What a repository was, and what it has become, for a device that trusted the former. */
interface TrustChange {
  readonly before: MemoryRepository
  readonly after: MemoryRepository
}

/** Two repositories with the same past: the second has gone on. */
function changed(
  images: readonly TrialImage[],
  past: (repository: MemoryRepository) => void,
  change: typeof past,
): TrustChange {
  const [before, after] = [cutRepository(images), cutRepository(images)]
  for (const repository of [before, after]) past(repository)
  change(after)
  return { before, after }
}

const releasesOf = (images: readonly TrialImage[]) => images.map(({ release }) => release)

/** A new timestamp of the same keys. */
export const newTimestamp = (images: readonly TrialImage[]): TrustChange =>
  changed(
    images,
    () => undefined,
    (repository) => repository.publish(releasesOf(images), CUT_START_MS + 1_000),
  )

/** A new root of the same keys, and a new timestamp. */
export const newRoot = (images: readonly TrialImage[]): TrustChange =>
  changed(
    images,
    () => undefined,
    (repository) => {
      repository.renewRoot(CUT_START_MS + 1_000)
      repository.publish(releasesOf(images), CUT_START_MS + 1_000)
    },
  )

/** The online key was stolen and its numbers run up; a new root takes it away. */
export const fastForwardRecovery = (images: readonly TrialImage[]): TrustChange =>
  changed(
    images,
    (repository) => {
      repository.fastForward(1_000_000)
      repository.publish(releasesOf(images), CUT_START_MS)
    },
    (repository) => {
      repository.renewRoot(CUT_START_MS + 1_000, 32)
      repository.publish(releasesOf(images), CUT_START_MS + 1_000)
    },
  )

/** A device that has come through a story that nothing disturbed. */
export async function settled(
  options: Omit<CutWorldOptions, 'breach'>,
  start: CutStart,
  tale: CutTale,
): Promise<CutStart> {
  const breach = (kind: string, what: string): never => {
    throw new Error(`${tale.name}: ${kind}: ${what}`)
  }
  const world = new CutWorld({ ...options, breach }, start.image, start.past)
  const wrong = await finish(world, tale)
  if (wrong !== undefined) throw new Error(`${tale.name}: ${wrong}`)
  return { image: world.flash.image(), past: world.past }
}

/** Bits flip in the bytes of an image, as years and radiation do.
 *  @param which the image that runs, or the one beside it */
export function rotted(
  options: Omit<CutWorldOptions, 'breach'>,
  start: CutStart,
  which: 'active' | 'idle',
  random: SeededRandom,
): CutStart {
  const world = new CutWorld({ ...options, breach: () => undefined }, start.image, start.past)
  const { active, images } = present(world.record, 'the boot record')
  const slot = which === 'active' ? active : otherSlot(active)
  world.flash.rot(world.layout.slots[slot], images[slot].bytes, 3, random)
  const fallBack = which === 'active' ? bytesToHex(images[otherSlot(active)].sha256) : ''
  return { image: world.flash.image(), past: { ...start.past, fallBack } }
}

/** Both copies of the boot record are lost: the slots tell what there is, and the older version is taken for the confirmed one.
 *  @param oldest the image that it is */
export function recordLost(options: Omit<CutWorldOptions, 'breach'>, start: CutStart, oldest: TrialImage): CutStart {
  const world = new CutWorld({ ...options, breach: () => undefined }, start.image, start.past)
  for (const area of world.layout.boot.areas) world.flash.erase(area)
  // What is known of the security counter goes with the record; that of the image is what is left.
  const { sha256, securityCounter } = oldest.release
  const past = { ...start.past, ...{ confirmed: sha256, securityCounter, incarnation: undefined } }
  return { image: world.flash.image(), past }
}

const FACTORY: SecureRandom = { bytes: (length) => new Uint8Array(length).fill(1) }

/** The factory flashes a device, and again if the power went; then it boots. Until then it may be blank and refuse to boot, if it was
 *  blank or ran from the slot that is written.
 *  @param mayBeBlank whether it may refuse
 *  @param securityCounter for the record */
export const factoryFlashes = (
  name: string,
  image: TrialImage,
  mayBeBlank: boolean,
  securityCounter: number,
): CutCourse => ({
  name,
  course: async (world) => {
    if (await world.boot(mayBeBlank)) await world.off()
    world.past = { ...world.past, confirming: image.release.sha256 }
    const done = provision(world.flash, image.bundle, securityCounter, FACTORY)
    if (!done.ok) return done.error.detail
    if (world.flash.dead) return undefined
    if (!(await world.boot())) return 'does not boot'
    if (world.past.confirmed !== image.release.sha256) return 'runs another image'
    if (!(await world.live(() => isTold(world), AFTER_HOURS))) return `has not said everything: ${situation(world)}`
    return fromCold(world)
  },
})
