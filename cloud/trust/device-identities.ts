import { bytesToHex, hexToBytes } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import { enrolmentMessage, rotationMessage, tokenMessage } from '../../contract/device-proof.ts'
import type { ClaimFile } from '../../contract/enrolment.ts'
import type { ContractError } from '../../contract/errors.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { ok, type Result } from '../../contract/result.ts'
import { keyIdOf } from '../../contract/signed.ts'
import { familyOfDevice } from '../family.ts'
import type { DeviceRecord } from '../store/device-store.ts'
import type { DeviceKeyRecord } from '../store/identity-store.ts'
import type { Store } from '../store/store.ts'
import { Challenges } from './challenges.ts'
import { type ClaimProof, claimKey, provenClaim, provenKey, refuse } from './claim-proof.ts'
import { verifyEd25519 } from './ed25519.ts'
import type { MintedToken, TokenIssuer } from './tokens.ts'

/** spec: a token of a device with a key lives this long; it fetches the next one by itself */
const KEYED_TOKEN_TTL_MS = 3_600_000

export interface ClaimWish {
  readonly site: string
  readonly board: string
  /** a new name when absent */
  readonly device?: string | undefined
  readonly tags?: readonly string[] | undefined
  readonly model?: string | undefined
  /** what it is to follow; of a device that is enrolled what it follows */
  readonly family?: string | undefined
  readonly ttlMs: number
  /** lets the claim replace the key of a device that has one */
  readonly replace: boolean
}

export interface EnrolmentProof extends ClaimProof {
  readonly device: string
}

export interface RotationProof {
  readonly formerKeyId: string
  readonly publicKey: string
  readonly challenge: string
  /** by the former key and by the new one, over the same message */
  readonly formerSignature: string
  readonly signature: string
}

/** Enrols devices, hands out their tokens, changes and revokes their keys. */
export class DeviceIdentities {
  readonly #store: Store
  readonly #tokens: TokenIssuer
  readonly #clock: Clock
  readonly #random: SecureRandom
  readonly #challenges: Challenges
  readonly #tokenTtlMs: number

  /** @param challenges that it answers for with others who have keys */
  constructor(
    store: Store,
    tokens: TokenIssuer,
    clock: Clock,
    random: SecureRandom,
    tokenTtlMs = KEYED_TOKEN_TTL_MS,
    challenges = new Challenges(random),
  ) {
    this.#store = store
    this.#tokens = tokens
    this.#clock = clock
    this.#random = random
    this.#challenges = challenges
    this.#tokenTtlMs = Math.min(tokenTtlMs, KEYED_TOKEN_TTL_MS)
  }

  challenge(): string {
    return this.#challenges.issue(this.#clock.wallMs())
  }

  /** Makes a claim; its secret is in the answer and nowhere else.
   *  @returns `conflict` when the device has a key and the claim is not to replace it; the codes of `familyOfDevice` */
  claim(wish: ClaimWish, by: string): Result<ClaimFile, ContractError> {
    const { identities, devices, audit } = this.#store
    const now = this.#clock.wallMs()
    const device = wish.device ?? `d-${bytesToHex(this.#random.bytes(6))}`
    const known = devices.byName(device)
    if (known !== undefined && !wish.replace && identities.activeKey(known.id) !== undefined) {
      return refuse('conflict', `${device} has a key; say that it is to be replaced`)
    }
    const followed = familyOfDevice(this.#store, { ...wish, device })
    if (!followed.ok) return followed
    const family = followed.value
    const { claim, secret, publicKey } = claimKey(this.#random)
    const expiresMs = now + wish.ttlMs
    const { site, board } = wish
    this.#store.atomically(() => {
      identities.addClaim({
        id: claim,
        publicKey,
        ...{ device, site, board, tags: wish.tags ?? [], model: wish.model ?? null, family, sites: null },
        createdMs: now,
        createdBy: by,
        expiresMs,
      })
      const detail = { claim, site, board, family, expiresMs, replace: wish.replace }
      audit.append({ atMs: now, actor: by, action: 'device.claimed', subject: device, detail })
    })
    return ok({ v: 1, claim, secret, device, site, board, expiresMs })
  }

  /** Enrols a device with its key. The claim is burned in the same transaction.
   *  @param admit puts the device under the rollouts, see RolloutEngine.admit
   *  @returns the device, or `claim-invalid` | `claim-used` | `claim-expired` | `bad-signature` | `expired` | `replayed` |
   *    `conflict` (the key is somebody's, or was) */
  enrol(
    proof: EnrolmentProof,
    admit: (device: DeviceRecord, model: string | null) => void,
  ): Result<DeviceRecord & { readonly keyId: string }, ContractError> {
    const { identities, devices, audit } = this.#store
    const now = this.#clock.wallMs()
    const message = enrolmentMessage({ ...proof, publicKey: hexToBytes(proof.publicKey) })
    const of = { kind: 'device', name: proof.device } as const
    const proven = provenClaim(this.#store, this.#challenges, of, proof, message, now)
    if (!proven.ok) return proven
    const { claim, keyId } = proven.value
    return this.#store.atomically(() => {
      if (!identities.burnClaim(claim.id, now)) return refuse('claim-used', 'the claim was used a moment ago')
      const { site, board, tags, model, family } = claim
      const of = { name: claim.device, site, board, tags, ...(family !== null && { family }) }
      const device = devices.enrol(of, now)
      // What the device was before — imported with a long token, or lost to somebody — ends here.
      const ended = identities.revokeKeys(device.id, now)
      if (ended > 0 || device.enrolledMs !== now) identities.revokeTokens(device.name, now)
      identities.addKey({ keyId, publicKey: proof.publicKey, device: device.id, sinceMs: now })
      // Gateways dropped what they held when they heard of the revocation.
      devices.markDirty(device.id)
      admit(device, model)
      const detail = { claim: claim.id, keyId, replaced: ended > 0 }
      audit.append({
        atMs: now,
        actor: `device ${device.name}`,
        action: 'device.enrolled',
        subject: device.name,
        detail,
      })
      return ok({ ...device, keyId })
    })
  }

  /** Mints a token for a device that proves its key now.
   *  @returns `unknown-key` | `device-revoked` | `bad-signature` | `expired` | `replayed` */
  async token(
    name: string,
    proof: { readonly keyId: string; readonly challenge: string; readonly signature: string },
  ): Promise<Result<MintedToken, ContractError>> {
    const now = this.#clock.wallMs()
    const found = this.#keyed(name, proof.keyId)
    if (!found.ok) return found
    const { device, key } = found.value
    const { challenge, signature } = proof
    const message = tokenMessage(name, proof.keyId, challenge)
    const proven = provenKey(this.#challenges, challenge, message, signature, key.publicKey, now)
    if (!proven.ok) return proven
    if (key.state === 'revoked') return refuse('device-revoked', `the key of ${name} was revoked`)
    if (key.state === 'retired') return refuse('unknown-key', `${name} has another key now`)
    const spent = this.#challenges.spend(proof.challenge, now)
    if (!spent.ok) return spent
    const { site, board } = device
    return ok(await this.#tokens.mintDevice({ device: name, site, board }, this.#tokenTtlMs, key.keyId))
  }

  /** Replaces a device's key by one that the old one vouches for. May be repeated when the answer was lost.
   *  @returns the new key's id, or the codes of `token` and `conflict` */
  rotate(name: string, proof: RotationProof): Result<string, ContractError> {
    const { identities, audit } = this.#store
    const now = this.#clock.wallMs()
    const found = this.#keyed(name, proof.formerKeyId)
    if (!found.ok) return found
    const fresh = this.#challenges.check(proof.challenge, now)
    if (!fresh.ok) return fresh
    const { device, key } = found.value
    const publicKey = hexToBytes(proof.publicKey)
    const keyId = keyIdOf(publicKey)
    const message = rotationMessage({ device: name, ...proof, publicKey })
    if (
      !verifyEd25519(message, hexToBytes(proof.formerSignature), key.publicKey) ||
      !verifyEd25519(message, hexToBytes(proof.signature), proof.publicKey)
    ) {
      return refuse('bad-signature', 'the device does not prove that it has both keys')
    }
    if (key.state === 'revoked') return refuse('device-revoked', `the key of ${name} was revoked`)
    const owner = identities.key(keyId)
    const done = owner?.device === device.id && owner.state === 'active' && key.state === 'retired'
    if (owner !== undefined && !done) return refuse('conflict', 'this key belongs, or belonged, to a device')
    if (key.state === 'retired' && !done) return refuse('unknown-key', `${name} has another key now`)
    const spent = this.#challenges.spend(proof.challenge, now)
    if (!spent.ok) return spent
    if (done) return ok(keyId)
    this.#store.atomically(() => {
      identities.retireKey(device.id, now)
      identities.addKey({ keyId, publicKey: proof.publicKey, device: device.id, sinceMs: now })
      const detail = { formerKeyId: key.keyId, keyId }
      audit.append({ atMs: now, actor: `device ${name}`, action: 'device.key-rotated', subject: name, detail })
    })
    return ok(keyId)
  }

  /** Ends a device's keys and every token it was given so far. A new claim brings it back.
   *  @returns `not-found` */
  revoke(name: string, reason: string, by: string): Result<DeviceRecord, ContractError> {
    const { identities, devices, audit } = this.#store
    const now = this.#clock.wallMs()
    const device = devices.byName(name)
    if (device === undefined) return refuse('not-found', `no device "${name}"`)
    this.#store.atomically(() => {
      const keys = identities.revokeKeys(device.id, now)
      identities.revokeTokens(name, now)
      devices.leave(device.id, now)
      audit.append({ atMs: now, actor: by, action: 'device.revoked', subject: name, detail: { reason, keys } })
    })
    return ok(device)
  }

  /** Ends a device: keys, tokens, claims, target, assignment, arms. Its name may be enrolled again, as a new device.
   *  @param erase forgets its rows too; the audit log keeps that it was there
   *  @returns `not-found`, also for one that is removed already and is not to be erased */
  remove(
    name: string,
    reason: string,
    erase: boolean,
    by: string,
  ): Result<{ readonly removedMs: number }, ContractError> {
    const { identities, devices, audit, telemetry } = this.#store
    const now = this.#clock.wallMs()
    const device = devices.byName(name)
    if (device === undefined || (device.removedMs !== null && !erase)) return refuse('not-found', `no device "${name}"`)
    this.#store.atomically(() => {
      identities.endClaims('device', name, now)
      const keys = identities.revokeKeys(device.id, now)
      // Of history that was set aside there is nothing to revoke, and the name may be another device's.
      if (device.removedMs === null) {
        identities.revokeTokens(name, now)
      }
      devices.remove(device, now, erase)
      const detail = { reason, keys, erased: erase, site: device.site, board: device.board }
      audit.append({ atMs: now, actor: by, action: 'device.removed', subject: name, detail })
    })
    telemetry.forget(name)
    return ok({ removedMs: now })
  }

  #keyed(
    name: string,
    keyId: string,
  ): Result<{ readonly device: DeviceRecord; readonly key: DeviceKeyRecord }, ContractError> {
    const device = this.#store.devices.byName(name)
    const key = this.#store.identities.key(keyId)
    if (device === undefined || key === undefined || key.device !== device.id) {
      return refuse('unknown-key', `${name} has no such key`)
    }
    return ok({ device, key })
  }
}
