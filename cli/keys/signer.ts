import nacl from 'tweetnacl'
import { bytesToHex } from '../../contract/bytes.ts'

/** A signing key, wherever its secret is. */
export interface Signer {
  /** Ed25519, 32 bytes, hex */
  readonly publicKey: string
  /** @returns the signature, hex; throws a CommandFailure when the key cannot sign now */
  sign(bytes: Uint8Array): Promise<string>
}

/** Signs with a secret that is in this process. @param seed 32 bytes */
export function seedSigner(seed: Uint8Array): Signer {
  const { publicKey, secretKey } = nacl.sign.keyPair.fromSeed(seed)
  return {
    publicKey: bytesToHex(publicKey),
    sign: async (bytes) => bytesToHex(nacl.sign.detached(bytes, secretKey)),
  }
}
