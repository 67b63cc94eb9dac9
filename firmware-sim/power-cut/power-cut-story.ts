import { bytesEqual, hexToBytes } from '../../contract/bytes.ts'
import { provision } from '../../device/core/flash/provision.ts'
import type { FlashImage, FlashOperation } from '../flash-nor.ts'
import { orderOf, type TrialImage } from './power-cut-images.ts'
import type { Contents } from './power-cut-promises.ts'
import { CutWorld, type CutWorldOptions, type Past } from './power-cut-world.ts'

/** What a device is told to do, and how that must end however often the power goes. Whether it downloads a bundle or a patch is said by
 *  the target's release and what the gateway serves. */
export interface CutStory {
  readonly name: string
  /** the image ordered */
  readonly target: TrialImage
  readonly seq: number
  /** false: the gateway takes nothing, so that every trial of the target fails */
  readonly healthy: boolean
  /** true: its download must be a patch */
  readonly byPatch?: boolean
  /** a third image, to show that a device that gave up can be updated again */
  readonly other: TrialImage
}

/** What a device does of itself, or is done to it. */
export interface CutCourse {
  readonly name: string
  /** Powers the device up and lives until it is done, however often that was begun before; then leaves it off.
   *  @returns what is wrong, if anything is */
  readonly course: (world: CutWorld) => Promise<string | undefined>
}

export type CutTale = CutStory | CutCourse

/** A device at rest, power off. */
export interface CutStart {
  readonly image: FlashImage
  readonly past: Past
}

/** One flash operation of a story, with all that a cut there leaves behind. */
export interface Moment extends CutStart {
  readonly operation: FlashOperation
  /** what the pairs of records say before it */
  readonly contents: Contents
  /** digests of messages that flash must still hold, since nobody has acknowledged them */
  readonly kept: readonly string[]
  /** bytes of blocks that had come until then, the one included that is being written */
  readonly downloaded: number
}

/** Chosen: three times the longest way to the end: two trials of three hours that fail, and the waits between attempts. */
const HOURS_MAX = 48
const COLD_HOURS = 1

/** A device as the factory ships it. The security counter begins below that of its image, so that it has somewhere to rise to. */
export function factoryStart(options: CutWorldOptions, image: TrialImage): CutStart {
  const past: Past = {
    ...{ confirmed: image.release.sha256, confirming: '', onTrial: false, securityCounter: 0 },
    ...{ incarnation: 0x0101_0101, fallBack: '' },
  }
  const world = new CutWorld(options, new Map(), past)
  const done = provision(world.flash, image.bundle, 0, { bytes: (length) => new Uint8Array(length).fill(1) })
  if (!done.ok) throw new Error(done.error.detail)
  return { image: world.flash.image(), past }
}

const runs = (world: CutWorld, { release }: TrialImage): boolean => {
  const { state } = world
  if (state === undefined || state.update.phase !== 'idle' || state.record.phase !== 'confirmed') return false
  return bytesEqual(state.record.images[state.slot].sha256, hexToBytes(release.sha256))
}

/** Installed, and the gateway knows. */
const isDone = (world: CutWorld, target: TrialImage): boolean =>
  runs(world, target) && world.state?.outbox.messages.length === 0 && world.state.record.untold === 'none'

/** Given up: the target has failed twice in a row and is not tried again. */
const isAbandoned = (world: CutWorld, { release }: TrialImage): boolean => {
  const { state } = world
  if (state?.update.phase !== 'idle' || state.slot !== state.record.active) return false
  return state.record.failures >= 2 && bytesEqual(state.record.failedSha256, hexToBytes(release.sha256))
}

/** Has a device do what a story tells, from power on to power off.
 *  @returns what is wrong, if anything is */
export function finish(world: CutWorld, tale: CutTale): Promise<string | undefined> {
  return 'course' in tale ? tale.course(world) : carryOut(world, tale)
}

/** Powers a device up and has it carry out an order, until it is done or has cleanly given up; then once more from cold. */
async function carryOut(world: CutWorld, { target, seq, healthy, other }: CutStory): Promise<string | undefined> {
  world.gateway.acknowledges = healthy
  world.gateway.assignment = orderOf(target, seq)
  if (!(await world.boot())) return 'does not boot'
  const ended = () => (healthy && isDone(world, target)) || isAbandoned(world, target)
  if (!(await world.live(ended, HOURS_MAX))) return `is not done after ${HOURS_MAX} hours: ${situation(world)}`
  if (isAbandoned(world, target) && healthy) {
    for (const [i, image] of [other, target].entries()) {
      world.gateway.assign(orderOf(image, seq + 1 + i))
      if (!(await world.live(() => isDone(world, image), HOURS_MAX)))
        return `cannot be updated again: ${situation(world)}`
    }
  }
  const { confirmed } = world.past
  if (healthy && confirmed !== target.release.sha256) return `confirmed ${confirmed.slice(0, 8)}`
  return fromCold(world)
}

/** Once more from cold: a device that has come to the end of a story stays there. */
export async function fromCold(world: CutWorld): Promise<string | undefined> {
  const { confirmed } = world.past
  if (!(await world.boot())) return 'does not boot from cold'
  await world.live(() => false, COLD_HOURS)
  const { state } = world
  if (state === undefined || state.slot !== state.record.active || world.past.confirmed !== confirmed) {
    return `is not stable: ${situation(world)}`
  }
  await world.off()
  return undefined
}

/** A story without a cut, operation by operation.
 *  @returns its moments, where it ended, and the bytes of blocks that it took */
export async function tell(
  options: CutWorldOptions,
  start: CutStart,
  story: CutTale,
): Promise<{
  readonly moments: readonly Moment[]
  readonly end: CutStart & Pick<Moment, 'contents'>
  readonly downloaded: number
}> {
  const world = new CutWorld(options, start.image, start.past)
  const moments: Moment[] = []
  world.onOperation = (operation) => {
    const kept = operation.kind === 'program' ? { ...operation, data: Uint8Array.from(operation.data) } : operation
    moments.push({
      image: world.flash.image(),
      past: world.past,
      operation: kept,
      contents: world.promises.contents,
      kept: world.promises.kept,
      downloaded: world.gateway.blockBytes,
    })
    return undefined
  }
  const wrong = await finish(world, story)
  if (wrong !== undefined) options.breach('broken promise', `${story.name} without a cut: ${wrong}`)
  const downloaded = world.gateway.blockBytes
  if ('target' in story && story.byPatch && downloaded >= story.target.bundle.length) {
    options.breach('broken promise', `${story.name} without a cut: the patch was not taken`)
  }
  const { contents } = world.promises
  return { moments, downloaded, end: { image: world.flash.image(), past: world.past, contents } }
}

export function situation(world: CutWorld): string {
  const { state } = world
  if (state === undefined) return 'off'
  const { record, update, slot } = state
  return `${state.manifest.name} in slot ${slot}, ${update.phase}, record ${record.phase}, ${record.failures} failures; ${world.gateway.story.slice(-6).join(', ')}`
}
