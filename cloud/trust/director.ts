import { createPrivateKey, type KeyObject, sign } from 'node:crypto'
import { chmodSync, closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { canonicalize } from '@tufjs/canonical-json'
import nacl from 'tweetnacl'
import { bytesToHex, hexToBytes } from '../../contract/bytes.ts'
import type { SecureRandom } from '../../contract/random.ts'
import type { Assignment } from '../../contract/release.ts'
import { type PublicKey, publicKeyOf, type Signed, type TrustedRole } from '../../contract/signed.ts'

/** PKCS #8 wrapping of a raw Ed25519 seed. @see RFC 8410 section 7 */
const PKCS8_ED25519 = hexToBytes('302e020100300506032b657004220420')

/** The director: signs what each device is to run. It cannot make a device run what the keys of the image repository
 *  did not sign. */
export interface Director {
  readonly publicKey: PublicKey
  readonly role: TrustedRole
  sign(assignment: Assignment): Signed<Assignment>
}

/** Reads a 32-byte secret seed from a file of mode 0600, or creates it: written aside, flushed, renamed, so that a crash
 *  leaves no half key.
 *  @throws Error when the file is there but is no seed
 */
export function loadOrCreateSeed(path: string, random: SecureRandom): Uint8Array {
  if (existsSync(path)) {
    const text = readFileSync(path, 'utf8').trim()
    if (!/^[0-9a-f]{64}$/.test(text)) throw new Error(`${path} holds no key: expected 64 hex digits`)
    chmodSync(path, 0o600)
    return hexToBytes(text)
  }
  const seed = random.bytes(32)
  writePrivateFile(path, `${bytesToHex(seed)}\n`)
  return seed
}

/** Writes a file of mode 0600 atomically. */
export function writePrivateFile(path: string, text: string): void {
  const aside = `${path}.new`
  const fd = openSync(aside, 'w', 0o600)
  try {
    writeSync(fd, text)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  chmodSync(aside, 0o600)
  renameSync(aside, path)
}

/** Node's own key object of a seed. */
export const ed25519FromSeed = (seed: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: 'der', type: 'pkcs8' })

/** @param seed 32 bytes
 *
 *  Signs with node:crypto: Ed25519 is deterministic, so the bytes are those of tweetnacl (a test compares them), at about a
 *  fiftieth of its time; a stage of a large fleet signs as many documents as it has devices.
 */
export function createDirector(seed: Uint8Array): Director {
  const key = ed25519FromSeed(seed)
  const publicKey = publicKeyOf(nacl.sign.keyPair.fromSeed(seed).publicKey)
  return {
    publicKey,
    role: { keys: [publicKey], threshold: 1 },
    sign: (assignment) => ({
      signed: assignment,
      signatures: [
        { keyId: publicKey.keyId, sig: sign(null, Buffer.from(canonicalize(assignment)), key).toString('hex') },
      ],
    }),
  }
}
