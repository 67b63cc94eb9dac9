import { sign } from 'node:crypto'
import { canonicalize } from '@tufjs/canonical-json'
import nacl from 'tweetnacl'
import type { Assignment } from '../../contract/release.ts'
import { type PublicKey, publicKeyOf, type Signed, type TrustedRole } from '../../contract/signed.ts'
import { ed25519FromSeed } from './ed25519.ts'

/** The director: signs what each device is to run. It cannot make a device run what the keys of the image repository
 *  did not sign. */
export interface Director {
  readonly publicKey: PublicKey
  readonly role: TrustedRole
  sign(assignment: Assignment): Signed<Assignment>
}

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
