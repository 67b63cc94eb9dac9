import { canonicalize } from '@tufjs/canonical-json'
import nacl from 'tweetnacl'
import { bytesToHex, hexToBytes, sha256Hex } from './bytes.ts'
import { type ContractError, contractError } from './errors.ts'
import { hexPattern, isSha256Hex } from './fields.ts'
import { LIMITS } from './limits.ts'
import { err, ok, type Result } from './result.ts'

const SIGNATURE_PATTERN = hexPattern(64)

/** A document and the signatures over its canonical JSON, in the manner of TUF metadata. */
export interface Signed<T> {
  readonly signed: T
  readonly signatures: readonly { readonly keyId: string; readonly sig: string }[]
}

/** An Ed25519 public key; its id is the sha256 of the 32 raw bytes. */
export interface PublicKey {
  readonly keyId: string
  /** 32 bytes, lower-case hex */
  readonly publicKey: string
}

/** Keys a verifier trusts for one role and how many of them must have signed. */
export interface TrustedRole {
  readonly keys: readonly PublicKey[]
  readonly threshold: number
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

export const keyIdOf = (publicKey: Uint8Array): string => sha256Hex(publicKey)

export const publicKeyOf = (publicKey: Uint8Array): PublicKey => ({
  keyId: keyIdOf(publicKey),
  publicKey: bytesToHex(publicKey),
})

/** Signs the canonical JSON of a document.
 *  @param secretKey 64-byte Ed25519 secret key as tweetnacl makes it (seed and public key)
 */
export function signDocument<T>(signed: T, secretKey: Uint8Array): Signed<T> {
  const keyId = keyIdOf(secretKey.subarray(32))
  const sig = bytesToHex(nacl.sign.detached(encoder.encode(canonicalize(signed)), secretKey))
  return { signed, signatures: [{ keyId, sig }] }
}

/** Canonical bytes of a signed document, as they are stored and sent. */
export const encodeSigned = <T>(document: Signed<T>): Uint8Array => encoder.encode(canonicalize(document))

/** Parses an envelope; the content stays `unknown` until its signatures are verified.
 *  @returns `too-large` | `malformed`
 */
export function parseSigned(data: Uint8Array, maxBytes: number): Result<Signed<unknown>, ContractError> {
  if (data.length > maxBytes)
    return err(contractError('too-large', `document of ${data.length} bytes, limit ${maxBytes}`))
  let value: unknown
  try {
    value = JSON.parse(decoder.decode(data))
  } catch {
    return err(contractError('malformed', 'document is not JSON'))
  }
  return asSigned(value)
}

/** The shape check of an envelope that was parsed already, for example one embedded in another document. */
export function asSigned(value: unknown): Result<Signed<unknown>, ContractError> {
  const envelope = value as { signed?: unknown; signatures?: unknown } | null
  if (typeof envelope !== 'object' || envelope === null || !('signed' in envelope)) {
    return err(contractError('malformed', 'document has no "signed"'))
  }
  const { signatures } = envelope
  if (!Array.isArray(signatures) || signatures.length > LIMITS.signatures) {
    return err(contractError('malformed', `"signatures" must be a list of at most ${LIMITS.signatures}`))
  }
  for (const signature of signatures as { keyId?: unknown; sig?: unknown }[]) {
    const wellFormed =
      typeof signature?.keyId === 'string' &&
      isSha256Hex(signature.keyId) &&
      typeof signature.sig === 'string' &&
      SIGNATURE_PATTERN.test(signature.sig)
    if (!wellFormed) return err(contractError('malformed', 'a signature is not { keyId, sig } in lower-case hex'))
  }
  return ok(envelope as Signed<unknown>)
}

/** Checks that enough distinct trusted keys signed the document's canonical JSON.
 *  @returns the content, still to be parsed, or `unknown-key` | `bad-signature`
 */
export function verifySigned(document: Signed<unknown>, role: TrustedRole): Result<unknown, ContractError> {
  let message: Uint8Array
  try {
    message = encoder.encode(canonicalize(document.signed))
  } catch {
    return err(contractError('malformed', 'document has no canonical form'))
  }
  const valid = new Set<string>()
  let known = 0
  for (const { keyId, sig } of document.signatures) {
    const key = role.keys.find((candidate) => candidate.keyId === keyId)
    if (key === undefined || valid.has(keyId)) continue
    known++
    if (nacl.sign.detached.verify(message, hexToBytes(sig), hexToBytes(key.publicKey))) valid.add(keyId)
  }
  if (role.threshold >= 1 && valid.size >= role.threshold) return ok(document.signed)
  return known === 0
    ? err(contractError('unknown-key', 'no signature is by a trusted key'))
    : err(contractError('bad-signature', `${valid.size} valid of ${role.threshold} required signatures`))
}
