import nacl from 'tweetnacl'
import { bytesEqual } from '../../../contract/bytes.ts'
import type { Sign } from '../../../contract/device-proof.ts'
import type { ContractError } from '../../../contract/errors.ts'
import { LIMITS } from '../../../contract/limits.ts'
import { bytes, defineMessage, optional, text } from '../../../contract/message-codec.ts'
import type { SecureRandom } from '../../../contract/random.ts'
import { ok, type Result } from '../../../contract/result.ts'
import { type PublicKey, publicKeyOf } from '../../../contract/signed.ts'
import type { Flash } from '../../ports/flash.ts'
import type { FlashLayout } from './flash-layout.ts'
import { readPair, writePair } from './record-pair.ts'

/** Who a device is. Its key is made on the device and does not leave its flash.
 *
 *  A key is written as pending before anybody hears of it, and becomes active when the cloud has confirmed it. So a power cut at any
 *  moment leaves a device that holds every key the cloud may know: to enrol or to rotate again with the same pending key is
 *  harmless, and says which one counts. */
export interface Identity {
  readonly device: string
  readonly site: string
  readonly board: string
  /** Ed25519 seeds, 32 bytes; no active one: the enrolment is not confirmed; a pending one beside it: a rotation is not */
  readonly active?: Uint8Array | undefined
  readonly pending?: Uint8Array | undefined
}

const codec = defineMessage('identity', 1, 256, {
  device: [1, text(LIMITS.idLength)],
  site: [2, text(LIMITS.idLength)],
  board: [3, text(LIMITS.nameLength)],
  active: [4, optional(bytes(32))],
  pending: [5, optional(bytes(32))],
})

/** @returns undefined when the device has none, or both copies are lost: it must be enrolled again then */
export function readIdentity(flash: Flash, layout: FlashLayout): Identity | undefined {
  const content = readPair(flash, layout.identity)
  const decoded = content && codec.decode(content)
  return decoded?.ok ? decoded.value : undefined
}

/** @returns `flash-write-failed` | `flash-full`; then the identity before it still holds */
export const writeIdentity = (flash: Flash, layout: FlashLayout, identity: Identity): Result<void, ContractError> =>
  writePair(flash, layout.identity, codec.encode(identity))

/** Brings a key into flash before it is used: the pending one of an earlier attempt, or a new one.
 *  @param place who the device is to be; a pending key of another place is forgotten, since nobody has confirmed it
 *  @returns the identity as it is in flash, with a pending key */
export function preparePendingKey(
  flash: Flash,
  layout: FlashLayout,
  place: Pick<Identity, 'device' | 'site' | 'board'>,
  random: SecureRandom,
): Result<Identity & { readonly pending: Uint8Array }, ContractError> {
  const found = readIdentity(flash, layout)
  const same = found?.device === place.device && found.site === place.site && found.board === place.board
  if (same && found.pending !== undefined) return ok({ ...found, pending: found.pending })
  const pending = random.bytes(32)
  const identity = { ...place, active: same ? found.active : undefined, pending }
  const written = writeIdentity(flash, layout, identity)
  return written.ok ? ok(identity) : written
}

/** The cloud has confirmed the pending key: from now on it is the device's.
 *  @param confirmed the seed that was confirmed; another one changes nothing */
export function activatePendingKey(
  flash: Flash,
  layout: FlashLayout,
  confirmed: Uint8Array,
): Result<void, ContractError> {
  const identity = readIdentity(flash, layout)
  if (identity?.pending === undefined || !bytesEqual(identity.pending, confirmed)) return ok(undefined)
  return writeIdentity(flash, layout, { ...identity, active: identity.pending, pending: undefined })
}

/** A key ready for use. */
export interface DeviceKey {
  readonly public: PublicKey
  readonly sign: Sign
}

/** @param seed 32 bytes; signing takes about 2 ms on a laptop with tweetnacl, so hosts that sign for many devices inject their own */
export function deviceKey(seed: Uint8Array): DeviceKey {
  const { secretKey, publicKey } = nacl.sign.keyPair.fromSeed(seed)
  return { public: publicKeyOf(publicKey), sign: (message) => nacl.sign.detached(message, secretKey) }
}
