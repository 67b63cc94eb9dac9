import { readFileSync, writeFileSync } from 'node:fs'
import nacl from 'tweetnacl'
import { bytesToHex, hexToBytes } from '../contract/bytes.ts'
import type { SecureRandom } from '../contract/random.ts'
import { publicKeyOf, type TrustedRole } from '../contract/signed.ts'
import { CommandFailure, fileFailure } from './failure.ts'

/** Makes an Ed25519 key pair: the secret seed in `path` (mode 0600), the public role beside it as `path.pub.json`.
 *  Never overwrites. */
export function makeKeyFile(path: string, random: SecureRandom): TrustedRole {
  const seed = random.bytes(32)
  const { publicKey } = nacl.sign.keyPair.fromSeed(seed)
  const role: TrustedRole = { keys: [publicKeyOf(publicKey)], threshold: 1 }
  try {
    writeFileSync(path, `${bytesToHex(seed)}\n`, { mode: 0o600, flag: 'wx' })
    writeFileSync(`${path}.pub.json`, `${JSON.stringify(role, null, 2)}\n`, { flag: 'wx' })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new CommandFailure(`${path} exists; a key is never overwritten`, { hint: 'choose another file name' })
    }
    throw fileFailure(path, cause)
  }
  return role
}

/** Reads a secret key file.
 *  @returns the 64-byte tweetnacl secret key */
export function readKeyFile(path: string): Uint8Array {
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (cause) {
    throw fileFailure(path, cause)
  }
  if (!/^[0-9a-f]{64}$/.test(text)) {
    throw new CommandFailure(`${path} is no key file`, { hint: 'make one with "kinglet keys make FILE"' })
  }
  return nacl.sign.keyPair.fromSeed(hexToBytes(text)).secretKey
}

/** Reads a public role file, as `keys make` writes it. */
export function readRoleFile(path: string): TrustedRole {
  try {
    const role = JSON.parse(readFileSync(path, 'utf8')) as TrustedRole
    if (Array.isArray(role.keys) && Number.isInteger(role.threshold) && role.threshold >= 1) return role
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw fileFailure(path, cause)
  }
  throw new CommandFailure(`${path}: expected {"keys": [{"keyId", "publicKey"}], "threshold"}`)
}
