import { Store } from '../../cloud/store/store.ts'
import { DeviceIdentities, type EnrolmentProof, type RotationProof } from '../../cloud/trust/device-identities.ts'
import { createTokenIssuer } from '../../cloud/trust/tokens.ts'
import type { ClaimFile } from '../../contract/enrolment.ts'
import { contractError } from '../../contract/errors.ts'
import { type SecureRandom, type SeededRandom, seededRandom } from '../../contract/random.ts'
import { err, ok } from '../../contract/result.ts'
import { readFrame } from '../../device/core/flash/flash-frame.ts'
import { type FlashLayout, layoutOf } from '../../device/core/flash/flash-layout.ts'
import { deviceKey, readIdentity } from '../../device/core/flash/identity.ts'
import { type IdentityExchange, IdentityProtocol } from '../../device/link/identity-protocol.ts'
import { VirtualClock } from '../clock-virtual.ts'
import { type FlashImage, FlashNor, type FlashOperation } from '../flash-nor.ts'
import type { CutChip } from './power-cut-chips.ts'
import { CUT_BOARD, CUT_DEVICE, CUT_SITE, CUT_START_MS } from './power-cut-images.ts'
import { type Contents, digestOf, PairReader, tornPair } from './power-cut-promises.ts'
import { described, faultsOf, type Tally, tellBreach } from './power-cut-sweep.ts'

const DAY_MS = 24 * 3_600_000

function drawn(seed: number): SecureRandom {
  const random = seededRandom(seed)
  return { bytes: (length) => Uint8Array.from({ length }, () => Math.floor(random.next() * 256)) }
}

/** A question that the cloud was asked. */
interface Asked {
  readonly path: string
  readonly body: unknown
}

/** The shipping cloud's side of identity on a database in memory. It is a function of what it was asked: to have one that knows as much as
 *  another, the same is asked again. */
class IdentityCloud {
  readonly asked: Asked[] = []
  readonly claim: ClaimFile
  readonly #store: Store
  readonly #identities: DeviceIdentities

  private constructor(store: Store, identities: DeviceIdentities) {
    this.#store = store
    this.#identities = identities
    const wish = { device: CUT_DEVICE, site: CUT_SITE, board: CUT_BOARD, ttlMs: DAY_MS, replace: false }
    const claim = identities.claim(wish, 'operator')
    if (!claim.ok) throw new Error(claim.error.detail)
    this.claim = claim.value
  }

  static async after(asked: readonly Asked[]): Promise<IdentityCloud> {
    const clock = new VirtualClock(CUT_START_MS)
    const store = new Store(':memory:', CUT_START_MS)
    const random = drawn(1)
    const tokens = await createTokenIssuer(new Uint8Array(32).fill(7), clock, random, store.tokens)
    const cloud = new IdentityCloud(store, new DeviceIdentities(store, tokens, clock, random))
    for (const { path, body } of asked) await cloud.answer(path, body)
    return cloud
  }

  /** The keys that the device may prove itself with, by id. */
  get activeKey(): string | undefined {
    const device = this.#store.devices.byName(CUT_DEVICE)
    return device && this.#store.identities.activeKey(device.id)?.keyId
  }

  readonly answer: IdentityExchange = async (path, body) => {
    this.asked.push({ path, body })
    switch (path) {
      case '/v1/challenges':
        return ok({ challenge: this.#identities.challenge() })
      case '/v1/enrolments': {
        const enrolled = this.#identities.enrol(body as EnrolmentProof, () => undefined)
        if (!enrolled.ok) return enrolled
        const { name, site, board, keyId } = enrolled.value
        return ok({ device: name, site, board, keyId })
      }
      case `/v1/devices/${CUT_DEVICE}/token`: {
        const proof = body as { readonly keyId: string; readonly challenge: string; readonly signature: string }
        const minted = await this.#identities.token(CUT_DEVICE, proof)
        if (!minted.ok) return minted
        const { token, issuedMs, expiresMs } = minted.value
        return ok({ token, expiresMs, expiresInSeconds: Math.floor((expiresMs - issuedMs) / 1_000) })
      }
      case `/v1/devices/${CUT_DEVICE}/key`: {
        const rotated = this.#identities.rotate(CUT_DEVICE, body as RotationProof)
        return rotated.ok ? ok({ keyId: rotated.value }) : rotated
      }
      default:
        return err(contractError('not-found', path))
    }
  }

  close(): void {
    this.#store.close()
  }
}

type IdentityStory = 'enrol' | 'rotate'

/** A device off, and what the cloud has been asked until then. */
interface IdentityState {
  readonly image: FlashImage
  readonly asked: readonly Asked[]
}

interface IdentityMoment extends IdentityState {
  readonly operation: FlashOperation
  readonly contents: Contents
}

interface IdentitySweepOptions {
  readonly chip: CutChip
  readonly tally: Tally
  readonly random: SeededRandom
  /** cuts in a row: two are the cuts of the recovery from each */
  readonly cuts: number
  /** share of the points within an operation that are tried; before and after always are */
  readonly share: number
}

/** Cuts an enrolment, or the replacement of a key, at every flash operation, and what the device does to recover from it too. Whenever
 *  the power goes, the device then has a key that the cloud accepts, the former or the next, and the same command ends what was begun.
 *  @returns the flash operations of the story without a cut */
export async function sweepIdentity(story: IdentityStory, options: IdentitySweepOptions): Promise<number> {
  const { chip, tally, random, share } = options
  const laidOut = layoutOf(chip)
  if (!laidOut.ok) throw new Error(laidOut.error.detail)
  const layout = laidOut.value
  const reader = new PairReader(layout)
  const scratch = new FlashNor(chip)
  const known = new Set<string>()
  let start: IdentityState = { image: new Map(), asked: [] }
  if (story === 'rotate') {
    start = (await live(start, 'enrol', layout, chip, reader, 0, (what) => tellBreach(tally, 'broken promise', what)))
      .end
  }
  const explore = async (from: IdentityState, cuts: number, name: string): Promise<number> => {
    tally.lived++
    const { moments, end } = await live(from, story, layout, chip, reader, tally.lived, (what) =>
      tellBreach(tally, 'broken promise', `${name}: ${what}`),
    )
    if (cuts === 0) return moments.length
    for (const [index, moment] of moments.entries()) {
      const after = moments[index + 1]?.contents ?? end.contents
      for (const fault of faultsOf(moment, random)) {
        const isEdge = fault.kind === 'before' || fault.kind === 'after'
        if (!isEdge && share < 1 && random.next() >= share) continue
        tally.cuts++
        scratch.restore(moment.image)
        scratch.apply(moment.operation, fault)
        const where = `${name}, operation ${index + 1} of ${moments.length}, ${described(fault)}`
        const torn = tornPair(reader.contents(scratch), moment.contents, after)
        if (torn !== undefined) tellBreach(tally, 'broken promise', `${where}: the ${torn} record is torn`)
        const frames = layout.identity.areas.map((area) => {
          const frame = readFrame(scratch, area, layout.identity.areaBytes)
          return frame && `${frame.seq} ${digestOf(frame.payload)}`
        })
        // What follows is a function of these; the questions that changed nothing make no difference.
        const key = `${cuts} ${frames} ${moment.asked.filter(({ path }) => !/challenges|token/.test(path)).length}`
        if (known.has(key)) continue
        known.add(key)
        await explore({ image: scratch.image(), asked: moment.asked }, cuts - 1, where)
      }
    }
    return moments.length
  }
  return explore(start, options.cuts, story)
}

/** Powers a device up and gives it the command; then it proves its key. */
async function live(
  { image, asked }: IdentityState,
  story: IdentityStory,
  layout: FlashLayout,
  chip: CutChip,
  reader: PairReader,
  seed: number,
  wrong: (what: string) => void,
): Promise<{
  readonly moments: readonly IdentityMoment[]
  readonly end: IdentityState & Pick<IdentityMoment, 'contents'>
}> {
  const cloud = await IdentityCloud.after(asked)
  const flash = new FlashNor(chip)
  flash.restore(image)
  const moments: IdentityMoment[] = []
  flash.onOperation = (operation) => {
    const kept = operation.kind === 'program' ? { ...operation, data: Uint8Array.from(operation.data) } : operation
    const contents = reader.contents(flash)
    if (moments.at(-1)?.contents.identity !== undefined && contents.identity === undefined)
      wrong('the identity record is lost')
    moments.push({ image: flash.image(), asked: [...cloud.asked], operation: kept, contents })
    return undefined
  }
  const client = new IdentityProtocol(cloud.answer, () => 0.5)
  const wasEnrolled = cloud.activeKey !== undefined
  const found = readIdentity(flash, layout)
  if (wasEnrolled && found?.active === undefined && found?.pending === undefined) wrong('a device of no key')
  // A device that has been told that it is enrolled always gets its token, whatever was cut.
  if (story === 'rotate') {
    const granted = await client.tokenOf(flash, layout)
    if (!granted.ok) wrong(`no token after power on: ${granted.error.code}`)
  }
  const done =
    story === 'enrol'
      ? await client.enrol(flash, layout, cloud.claim, drawn(100 + seed))
      : await client.rotate(flash, layout, drawn(100 + seed))
  if (!done.ok) wrong(`${story}: ${done.error.code}: ${done.error.detail}`)
  const identity = readIdentity(flash, layout)
  if (identity?.active === undefined) wrong('no active key at the end')
  else if (deviceKey(identity.active).public.keyId !== cloud.activeKey) wrong('another key than the one that counts')
  if (identity?.pending !== undefined) wrong('a key is still pending at the end')
  const granted = await client.tokenOf(flash, layout)
  if (!granted.ok) wrong(`no token at the end: ${granted.error.code}`)
  const end = { image: flash.image(), asked: [...cloud.asked], contents: reader.contents(flash) }
  cloud.close()
  return { moments, end }
}
