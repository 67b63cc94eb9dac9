import { LIMITS } from '../../contract/limits.ts'
import { present } from '../../contract/present.ts'
import type { SeededRandom } from '../../contract/random.ts'
import { type FlashFault, FlashNor, type FlashOperation, failingAt, faultOf } from '../flash-nor.ts'
import { orderOf } from './power-cut-images.ts'
import { CutMemory } from './power-cut-memory.ts'
import { missing, PairReader, tornPair } from './power-cut-promises.ts'
import { type CutStart, type CutStory, type CutTale, finish, type Moment, tell } from './power-cut-story.ts'
import { type Breach, CutWorld, type CutWorldOptions } from './power-cut-world.ts'

/** What a sweep has counted. */
export interface Tally {
  /** flash contents that a cut left behind */
  cuts: number
  /** of these, lived to the end */
  lived: number
  /** lived to the end although an equal one had been: the claim that they are equal, put to the test */
  sampled: number
  breaches: Record<Breach, number>
  /** the first few, in words */
  readonly stories: string[]
}

export const newTally = (): Tally => ({
  cuts: 0,
  lived: 0,
  sampled: 0,
  breaches: { brick: 0, 'unverified boot': 0, 'counter decrease': 0, 'lost message': 0, 'broken promise': 0 },
  stories: [],
})

const STORIES_MAX = 20

export interface SweepOptions extends Omit<CutWorldOptions, 'breach'> {
  readonly tally: Tally
  readonly random: SeededRandom
  /** share of the cuts that are tried, for a bounded run; 1: every one */
  readonly share?: number
  /** one in so many equal contents is lived all the same */
  readonly sampleOneIn: number
  /** cuts that a cut of this sweep stands for, when it starts from where several others have ended alike; else 1 */
  readonly weight?: number
  /** shared by sweeps of one story from several starts */
  readonly memory?: CutMemory
  /** told of each different flash that a cut leaves */
  readonly each?: (cut: CutStart, where: string) => Promise<void>
}

/** Where cut stories ended: the flash, and how many cuts led to just this. */
export interface CutEnd {
  readonly end: CutStart
  /** bytes of blocks that came after the cut */
  readonly downloaded: number
  cuts: number
}

/** Where breaches are written down, with the cut that led there. */
function counting(options: SweepOptions, where: () => string): CutWorldOptions {
  return { ...options, breach: (kind, what) => tellBreach(options.tally, kind, `${where()}: ${kind}: ${what}`) }
}

/** Counts a breach, and keeps its words if it is one of the first. */
export function tellBreach(tally: Tally, kind: Breach, what: string): void {
  tally.breaches[kind]++
  if (tally.stories.length < STORIES_MAX) tally.stories.push(what)
}

/** At most the block that was being written comes again; of a bundle, what lies before it in its sector. */
const againBytes = ({ sectorBytes }: FlashNor): number =>
  Math.max(1, sectorBytes / LIMITS.blockBytes) * LIMITS.blockMessageBytes

/** Half-erased sectors are drawn; so many of each erase. */
const HALF_ERASED = 8

/** Everything that a cut can make of one operation. Every byte prefix of a program, clean and with some bits of the next byte. */
export function* faultsOf({ operation }: Pick<Moment, 'operation'>, random: SeededRandom): Generator<FlashFault> {
  yield { kind: 'before' }
  if (operation.kind === 'erase') {
    for (let i = 0; i < HALF_ERASED; i++) yield { kind: 'half-erased', random }
  } else {
    for (let bytes = 0; bytes < operation.data.length; bytes++) {
      if (bytes > 0) yield { kind: 'torn', bytes, mask: 0xff }
      yield { kind: 'torn', bytes, mask: Math.floor(random.next() * 256) }
    }
  }
  yield { kind: 'after' }
}

/** Longer programs are parts of a bundle; every record, event and frame of the spool is shorter. */
const RECORD_BYTES_MAX = 1_024

/** Every way, but of the erases and the writes of records alone: in the factory they are a few among the thousands of bytes of a bundle. */
export function* recordFaultsOf(moment: Pick<Moment, 'operation'>, random: SeededRandom): Generator<FlashFault> {
  const { operation } = moment
  if (operation.kind === 'erase' || operation.data.length <= RECORD_BYTES_MAX) yield* faultsOf(moment, random)
}

export const described = (fault: FlashFault): string =>
  fault.kind === 'torn' ? `torn at byte ${fault.bytes} (mask ${fault.mask})` : fault.kind

const momentAt = (moments: readonly Moment[], index: number): Moment =>
  present(moments[index], `operation ${index + 1}`)

const placed = (story: CutTale, moments: readonly Moment[], index: number, fault: FlashFault): string => {
  const { kind, offset } = momentAt(moments, index).operation
  return `${story.name}, operation ${index + 1} of ${moments.length} (${kind} at ${offset}), ${described(fault)}`
}

/** What the device may be held to after a cut at a moment: a confirmation that was begun may have come through or not. */
function pastOf(moments: readonly Moment[], index: number, fault: FlashFault): Moment['past'] {
  const { past } = momentAt(moments, index)
  const next = moments[index + 1]?.past ?? past
  if (fault.kind === 'before' || next.confirmed === past.confirmed) {
    return fault.kind === 'before' ? past : { ...past, confirming: next.confirming || past.confirming }
  }
  return { ...past, confirming: next.confirmed }
}

/** Cuts a story at every operation, in every way, and carries each to its end.
 *  @param faults narrows the ways, as for pairs of cuts
 *  @returns the number of operations, and where each cut story ended (different ends only) */
export async function sweep(
  options: SweepOptions,
  start: CutStart,
  story: CutTale,
  faults: (moment: Moment, random: SeededRandom) => Iterable<FlashFault> = faultsOf,
): Promise<{ readonly operations: number; readonly ends: readonly CutEnd[] }> {
  const { tally, random, share = 1, sampleOneIn, weight = 1 } = options
  let where = (): string => story.name
  const { layout, flash: chip } = new CutWorld(
    counting(options, () => where()),
    start.image,
    start.past,
  )
  const reader = options.reader ?? new PairReader(layout)
  const world = { ...counting(options, () => where()), reader }
  const { moments, downloaded: whole, end: told } = await tell(world, start, story)
  const judgeBytes = (before: number, after: number): void => {
    if (before + after > whole + againBytes(chip)) {
      world.breach('broken promise', `${before} and ${after} bytes of blocks, ${whole} without a cut`)
    }
  }
  const scratch = new FlashNor(chip)
  scratch.undecided = options.undecided
  const memory = options.memory ?? new CutMemory(layout)
  /** What the flash says at once, whoever looks at it: before any firmware has mended it. */
  const judgeContent = (before: Moment, after: Pick<Moment, 'contents'>): void => {
    if (options.undecided !== undefined) return
    const contents = reader.contents(scratch)
    const torn = tornPair(contents, before.contents, after.contents)
    if (torn !== undefined)
      world.breach('broken promise', `the ${torn} record says neither what it said before nor after`)
    if (before.kept.length === 0) return
    const lost = missing(before.kept, reader.messages(scratch))
    if (lost > 0) world.breach('lost message', `${lost} of ${before.kept.length} messages are not in flash`)
  }
  const ends: CutEnd[] = []
  for (const [index, moment] of moments.entries()) {
    for (const fault of faults(moment, random)) {
      const isDrawn = share >= 1 || random.next() < share
      // What flash says after each operation costs nothing to look at; no sample leaves it out.
      if (!isDrawn && fault.kind !== 'after') continue
      tally.cuts += weight
      scratch.restore(moment.image)
      scratch.apply(moment.operation, fault)
      where = () => placed(story, moments, index, fault)
      judgeContent(moment, moments[index + 1] ?? told)
      if (!isDrawn) continue
      const past = pastOf(moments, index, fault)
      const held = Object.values(past).join(' ')
      // Undecided bits are one thing now and another then: no two of such flashes are alike.
      const known = options.undecided === undefined ? memory.find(scratch, held) : undefined
      if (known !== undefined) {
        // Of another start's sweep, when the memory is shared.
        const alike = ends[known]
        if (alike !== undefined) {
          alike.cuts++
          if (options.memory === undefined) judgeBytes(moment.downloaded, alike.downloaded)
        }
        if (random.next() * sampleOneIn >= 1) continue
      }
      if (known !== undefined) tally.sampled++
      else tally.lived++
      const device = new CutWorld(world, scratch.image(), past)
      device.flash.watch()
      const wrong = await finish(device, story)
      if (wrong !== undefined) world.breach('broken promise', wrong)
      const downloaded = device.gateway.blockBytes
      judgeBytes(moment.downloaded, downloaded)
      await device.off()
      if (known !== undefined) continue
      await options.each?.({ image: scratch.image(), past }, where())
      memory.add(scratch, device.flash.watched, held, ends.length)
      ends.push({ end: { image: device.flash.image(), past: device.past }, downloaded, cuts: 1 })
    }
  }
  return { operations: moments.length, ends }
}

/** Where undecided bits can make a difference: in the last word of a program, which is all that a frame may lack, at its beginning, and
 *  one place between; in an erase, two states of many. */
export function* undecidedOf({ operation }: Pick<Moment, 'operation'>, random: SeededRandom): Generator<FlashFault> {
  yield { kind: 'before' }
  if (operation.kind === 'erase') {
    for (let i = 0; i < 2; i++) yield { kind: 'half-erased', random }
  } else {
    const { data } = operation
    const written = data.findLastIndex((byte) => byte !== 0xff)
    for (const bytes of new Set([0, Math.floor(random.next() * data.length), written - 1, written])) {
      if (bytes >= 0) yield { kind: 'torn', bytes, mask: Math.floor(random.next() * 256) }
    }
  }
  yield { kind: 'after' }
}

/** Cuts a story in every way, and then, from each different flash that this leaves, the recovery from it in every way again: all pairs of
 *  cuts, with those in the middle of an operation.
 *  @param faults of either cut
 *  @returns the number of operations, and of flashes that were cut a second time */
export async function sweepTwice(
  options: SweepOptions,
  start: CutStart,
  tale: CutTale,
  faults: (moment: Moment, random: SeededRandom) => Iterable<FlashFault> = faultsOf,
): Promise<{ readonly operations: number; readonly twice: number }> {
  const { layout } = new CutWorld({ ...options, breach: () => undefined }, start.image, start.past)
  const memory = new CutMemory(layout)
  let twice = 0
  const each = async (cut: CutStart, where: string): Promise<void> => {
    twice++
    await sweep({ ...options, memory }, cut, { ...tale, name: `${where}, then` }, faults)
  }
  const { operations } = await sweep({ ...options, memory, each }, start, tale, faults)
  return { operations, twice }
}

/** Before and after, no more. */
export function* edgesOf(): Generator<FlashFault> {
  yield { kind: 'before' }
  yield { kind: 'after' }
}

/** Before, after, and one way in between, drawn. */
export function* edgesAndOneOf({ operation }: Moment, random: SeededRandom): Generator<FlashFault> {
  yield* edgesOf()
  yield faultOf(operation, random)
}

/** Breaks the link at every block of a story's download, before the block is heard and after: it must go on, and no more than that block
 *  may come again.
 *  @returns how often the link broke */
export async function cutRadio(options: SweepOptions, start: CutStart, story: CutStory): Promise<number> {
  let where = story.name
  const world = counting(options, () => where)
  const { downloaded: whole } = await tell(world, start, story)
  let broke = 0
  for (const side of ['before', 'after'] as const) {
    for (let block = 0; ; block++) {
      const device = new CutWorld(world, start.image, start.past)
      let seen = 0
      device.gateway.breaksLink = () => (seen++ === block ? side : undefined)
      where = `${story.name}, link broken ${side} block ${block + 1}`
      const wrong = await finish(device, story)
      if (wrong !== undefined) world.breach('broken promise', wrong)
      const { blockBytes } = device.gateway
      if (blockBytes > whole + againBytes(device.flash)) {
        world.breach('broken promise', `${blockBytes} bytes of blocks, ${whole} without a break`)
      }
      await device.off()
      if (seen <= block) break
      broke++
    }
  }
  return broke
}

/** Cuts in a row: each boot is cut after a number of operations that is drawn, in a way that is drawn, while the device carries out one
 *  order after another; then it is left in peace and must end well. */
export async function cutInARow(
  options: SweepOptions,
  start: CutStart,
  stories: readonly CutStory[],
  rounds: number,
  operationsMax: number,
  name: string,
): Promise<void> {
  const { tally, random } = options
  const world = counting(options, () => name)
  const device = new CutWorld(world, start.image, start.past)
  let at = 0
  let seq = 1
  const order = () => ({ ...present(stories[at % stories.length], 'a story'), seq })
  device.gateway.assignment = orderOf(order().target, seq)
  for (let round = 0; round < rounds; round++) {
    const cut = device.flash.operations + Math.floor(random.next() * operationsMax)
    device.onOperation = (operation, index) => {
      if (index < cut) return undefined
      return random.next() < 0.2 ? { kind: 'after' } : faultOf(operation, random)
    }
    if (!(await device.boot())) break
    tally.cuts++
    // Orders follow each other until the power goes.
    for (let orders = 0; orders < stories.length; orders++) {
      const wanted = order()
      if (!(await device.live(() => isOver(device, wanted), 12))) break
      at++
      seq++
      device.gateway.assign(orderOf(order().target, seq))
    }
  }
  device.onOperation = undefined
  await device.off()
  // A ban ends with the confirmation of another image, which must not be the one that runs already.
  const last = order()
  const other = options.images.find((image) => image !== last.target && image.release.sha256 !== device.past.confirmed)
  const wrong = await finish(device, { ...last, seq: seq + 1, other: other ?? last.other })
  if (wrong !== undefined) world.breach('broken promise', wrong)
  tally.lived++
  await device.off()
}

const isOver = (device: CutWorld, { target }: CutStory): boolean => {
  const { state } = device
  return (
    state?.update.phase === 'idle' &&
    device.past.confirmed === target.release.sha256 &&
    state.slot === state.record.active
  )
}

/** Writes of the boot record fail, some, the first few or all, and then, if `cut`, the power goes too; the device must run its confirmed image all
 *  along, and finish once the flash is well again. */
export async function failRecords(
  options: SweepOptions,
  start: CutStart,
  story: CutStory,
  rate: number | { readonly first: number },
  cutAt: number | undefined,
  name: string,
): Promise<readonly string[]> {
  const { tally, random } = options
  const world = counting(options, () => name)
  const device = new CutWorld(world, start.image, start.past)
  const { areas, areaBytes } = device.layout.boot
  const within = { from: areas[0], to: areas[1] + areaBytes }
  let left = typeof rate === 'number' ? 0 : rate.first
  const failing =
    typeof rate === 'number'
      ? failingAt(rate, random, within)
      : (operation: FlashOperation) => (left-- > 0 ? failingAt(1, random, within)(operation) : undefined)
  device.gateway.acknowledges = story.healthy
  device.gateway.assignment = orderOf(story.target, story.seq)
  device.onOperation = (operation, index) => (index === cutAt ? faultOf(operation, random) : failing(operation))
  tally.cuts++
  tally.lived++
  if (await device.boot()) await device.live(() => isOver(device, story), 6)
  const told = [...device.gateway.story]
  if (rate === 1 && device.past.confirmed !== start.past.confirmed) {
    world.breach('broken promise', 'another image is confirmed than the record can say')
  }
  // And a reset while the record cannot be written.
  if (await device.boot()) await device.live(() => isOver(device, story), 1)
  device.onOperation = undefined
  await device.off()
  const wrong = await finish(device, story)
  if (wrong !== undefined) world.breach('broken promise', wrong)
  await device.off()
  return told
}
