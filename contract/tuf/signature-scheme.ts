import { canonicalize } from '@tufjs/canonical-json'
import nacl from 'tweetnacl'
import { hexToBytes } from '../bytes.ts'
import { type ContractError, contractError } from '../errors.ts'
import { err, ok, type Result } from '../result.ts'
import type { Envelope, RoleKeys, TufKey } from './metadata.ts'

/** One way to sign. Keys and signatures are hostile: whatever they are, the answer is true or false, never an exception. */
export interface SignatureScheme {
  /** @param publicKey as metadata has it: hex or PEM */
  verify(publicKey: string, message: Uint8Array, signature: Uint8Array): boolean
}

/** The schemes a caller has, by `schemeName`. A key of another scheme is ignored, as section 4.2 allows. */
export type SignatureSchemes = ReadonlyMap<string, SignatureScheme>

export const schemeName = (keyType: string, scheme: string): string => `${keyType}/${scheme}`

/** Ed25519 by tweetnacl: portable, and all that a device needs for repositories of our own. */
const ed25519: SignatureScheme = {
  verify(publicKey, message, signature) {
    if (!/^[0-9a-fA-F]{64}$/.test(publicKey) || signature.length !== nacl.sign.signatureLength) return false
    return nacl.sign.detached.verify(message, signature, hexToBytes(publicKey))
  },
}

export const PORTABLE_SCHEMES: SignatureSchemes = new Map([[schemeName('ed25519', 'ed25519'), ed25519]])

/** Counts what a cycle cost. */
export interface VerificationCount {
  verifications: number
}

const encoder = new TextEncoder()

/** Checks that enough different keys of a role have signed a document, and stops as soon as they have. Keys are counted by
 *  what they are, not by their ids: one key listed under two ids is one signer.
 *  @returns nothing, or `metadata-signature` when no trusted key has signed, `metadata-threshold` when too few have
 *  @see TUF 1.0.33, 4.2.1 and 5.4.2
 */
export function verifyThreshold(
  envelope: Envelope,
  role: RoleKeys,
  keys: ReadonlyMap<string, TufKey>,
  schemes: SignatureSchemes,
  count: VerificationCount,
): Result<void, ContractError> {
  let message: Uint8Array | undefined
  const signers = new Set<string>()
  for (const keyId of role.keyIds) {
    const key = keys.get(keyId)
    const sig = envelope.signatures.get(keyId)
    if (key === undefined || sig === undefined || signers.has(identityOf(key))) continue
    const scheme = schemes.get(schemeName(key.keyType, key.scheme))
    if (scheme === undefined || sig.length % 2 !== 0 || !/^[0-9a-fA-F]+$/.test(sig)) continue
    message ??= encoder.encode(canonicalize(envelope.signed))
    count.verifications++
    if (!scheme.verify(key.publicKey, message, hexToBytes(sig))) continue
    signers.add(identityOf(key))
    if (signers.size >= role.threshold) return ok(undefined)
  }
  return err(
    signers.size === 0
      ? contractError('metadata-signature', 'no valid signature by a trusted key')
      : contractError('metadata-threshold', `${signers.size} valid of ${role.threshold} required signatures`),
  )
}

/** What a key is, whatever id it is listed under and however it is written down. */
export const identityOf = (key: TufKey): string => {
  const text = key.publicKey.replace(/\s/g, '')
  return /^[0-9a-fA-F]*$/.test(text) ? text.toLowerCase() : text
}
