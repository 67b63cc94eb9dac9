import nacl from 'tweetnacl'
import { bytesToHex, hexToBytes } from '../../contract/bytes.ts'
import { type ContractError, contractError, type ErrorCode } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { keyIdOf } from '../../contract/signed.ts'
import type { ClaimRecord } from '../store/identity-store.ts'
import type { Store } from '../store/store.ts'
import type { Challenges } from './challenges.ts'
import { verifyEd25519 } from './ed25519.ts'

/** What whoever enrols sends: the claim's key and its own have signed the same message. */
export interface ClaimProof {
  readonly claim: string
  /** 32 bytes, hex */
  readonly publicKey: string
  readonly challenge: string
  readonly claimSignature: string
  readonly signature: string
}

/** Stands in for the key of a claim that does not exist, so that its refusal takes as long as that of a wrong proof. */
const NOBODY = '00'.repeat(32)

export const refuse = (code: ErrorCode, detail: string) => err(contractError(code, detail))

/** A new claim's id, and its key: the secret half goes into the claim, the other is kept. */
export function claimKey(random: SecureRandom): { claim: string; secret: string; publicKey: string } {
  const claim = bytesToHex(random.bytes(LIMITS.claimIdBytes))
  const secret = random.bytes(32)
  return {
    claim,
    secret: bytesToHex(secret),
    publicKey: bytesToHex(nacl.sign.keyPair.fromSeed(secret).publicKey),
  }
}

/** Checks a claim and the key that is to be enrolled with it, and spends the challenge. Changes nothing else: the claim is burned in the
 *  transaction that enrols.
 *  @param of whose claim it is to be
 *  @param message that both keys have signed
 *  @returns the claim and the key's id, or `claim-invalid` | `claim-used` | `claim-expired` | `bad-signature` | `expired` | `replayed` |
 *    `conflict` (the key is somebody's, or was) */
export function provenClaim(
  store: Store,
  challenges: Challenges,
  of: { readonly kind: 'device' | 'gateway'; readonly name: string },
  proof: ClaimProof,
  message: Uint8Array,
  nowMs: number,
): Result<{ readonly claim: ClaimRecord; readonly keyId: string }, ContractError> {
  const { identities, gateways } = store
  const fresh = challenges.check(proof.challenge, nowMs)
  if (!fresh.ok) return fresh
  const claim = identities.claim(proof.claim)
  const claimed = verifyEd25519(message, hexToBytes(proof.claimSignature), claim?.publicKey ?? NOBODY)
  // Whether a claim exists, was used or has expired is for its holder to know.
  const kind = claim?.sites === null ? 'device' : 'gateway'
  if (claim === undefined || !claimed || claim.device !== of.name || kind !== of.kind) {
    return refuse('claim-invalid', 'no claim with this proof')
  }
  if (!verifyEd25519(message, hexToBytes(proof.signature), proof.publicKey)) {
    return refuse('bad-signature', `the ${of.kind} does not prove that it has the key`)
  }
  if (claim.usedMs !== null)
    return refuse('claim-used', `the claim was used at ${new Date(claim.usedMs).toISOString()}`)
  if (claim.expiresMs <= nowMs) return refuse('claim-expired', 'the claim has expired: make another')
  const keyId = keyIdOf(hexToBytes(proof.publicKey))
  if (identities.key(keyId) !== undefined || gateways.hasKey(keyId)) {
    return refuse('conflict', 'this key belongs, or belonged, to a device or a gateway')
  }
  const spent = challenges.spend(proof.challenge, nowMs)
  return spent.ok ? ok({ claim, keyId }) : spent
}

/** Checks that whoever asks has a key now. The challenge is spent by the caller once nothing else is wrong.
 *  @returns `bad-signature` | `expired` | `replayed` */
export function provenKey(
  challenges: Challenges,
  challenge: string,
  message: Uint8Array,
  signature: string,
  publicKey: string,
  nowMs: number,
): Result<void, ContractError> {
  const fresh = challenges.check(challenge, nowMs)
  if (!fresh.ok) return fresh
  if (verifyEd25519(message, hexToBytes(signature), publicKey)) return ok(undefined)
  return refuse('bad-signature', 'the key is not proven')
}
