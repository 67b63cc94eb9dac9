import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import nacl from 'tweetnacl'
import * as z from 'zod'
import { bytesToHex, hexToBytes } from '../contract/bytes.ts'
import { LIMITS } from '../contract/limits.ts'
import type { SecureRandom } from '../contract/random.ts'
import { publicKeyOf, type TrustedRole } from '../contract/signed.ts'
import { CommandFailure, fileFailure } from './failure.ts'
import { firstIssue, readJsonFile } from './json-file.ts'

/** Makes an Ed25519 key pair: the secret seed in `path` (mode 0600), the public role beside it as `path.pub.json`.
 *  Never overwrites. */
export function makeKeyFile(path: string, random: SecureRandom): TrustedRole {
  const seed = random.bytes(32)
  const { publicKey } = nacl.sign.keyPair.fromSeed(seed)
  const role: TrustedRole = { keys: [publicKeyOf(publicKey)], threshold: 1 }
  writeNew(path, `${bytesToHex(seed)}\n`, 0o600)
  try {
    writeNew(`${path}.pub.json`, `${JSON.stringify(role, null, 2)}\n`, 0o644)
  } catch (failure) {
    // Half a pair, made a moment ago and known to nobody.
    rmSync(path, { force: true })
    throw failure
  }
  return role
}

function writeNew(path: string, text: string, mode: number): void {
  try {
    writeFileSync(path, text, { mode, flag: 'wx' })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new CommandFailure(`${path} exists; a key is never overwritten`, { hint: 'choose another file name' })
    }
    throw fileFailure(path, cause)
  }
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

const publicKeySchema = z.object({
  keyId: z.string().regex(/^[0-9a-f]{64}$/),
  publicKey: z.string().regex(/^[0-9a-f]{64}$/),
})
const roleSchema = z.object({
  keys: z.array(publicKeySchema).min(1).max(LIMITS.signatures),
  threshold: z.int().min(1).max(LIMITS.signatures),
})

/** Reads a public role file, as `keys make` writes it. */
export function readRoleFile(path: string): TrustedRole {
  const parsed = roleSchema.safeParse(readJsonFile(path))
  if (parsed.success) return parsed.data
  throw new CommandFailure(`${path}: ${firstIssue(parsed.error)}`, {
    hint: 'expected public keys as "kinglet keys make FILE" writes them to FILE.pub.json',
  })
}

/** `GET /v1/keys` of a cloud: one director key, and the release role; what else it says is not for devices. */
const trustSchema = z.object({ director: publicKeySchema, release: roleSchema })

/** Reads what a device trusts, as `GET /v1/keys` gives it. */
export function readTrustFile(path: string): { readonly director: TrustedRole; readonly release: TrustedRole } {
  const parsed = trustSchema.safeParse(readJsonFile(path))
  if (!parsed.success) {
    throw new CommandFailure(`${path}: ${firstIssue(parsed.error)}`, {
      hint: 'expected the answer of GET /v1/keys of the cloud, saved as it is',
    })
  }
  const { director, release } = parsed.data
  return { director: { keys: [director], threshold: 1 }, release }
}
