import { scrypt } from 'node:crypto'
import nacl from 'tweetnacl'
import * as z from 'zod'
import { bytesToHex, hexToBytes } from '../../contract/bytes.ts'
import { hexPattern } from '../../contract/fields.ts'
import type { SecureRandom } from '../../contract/random.ts'

const hex = (bytes: number) => z.string().regex(hexPattern(bytes))

/** chosen: the most memory that reading a key file may ask for; four times what we write */
const MEMORY_BYTES_MAX = 512 * 1024 * 1024

/** A secret key under a passphrase: scrypt derives the key of a nacl secretbox. Every number is bounded before memory is taken
 *  for it, since a key file may come from somebody else. */
export const sealedSchema = z
  .strictObject({
    kdf: z.literal('scrypt'),
    n: z
      .int()
      .min(2 ** 14)
      .max(2 ** 20)
      .refine((n) => (n & (n - 1)) === 0, 'is no power of two'),
    r: z.int().min(8).max(16),
    p: z.int().min(1).max(4),
    salt: hex(32),
    nonce: hex(nacl.secretbox.nonceLength),
    /** 32 bytes of seed and 16 of authenticator */
    box: hex(32 + nacl.secretbox.overheadLength),
  })
  .refine(({ n, r }) => 128 * n * r <= MEMORY_BYTES_MAX, 'asks for too much memory')
export type SealedSecret = z.infer<typeof sealedSchema>

export interface ScryptCost {
  readonly n: number
  readonly r: number
  readonly p: number
}

/** OWASP password storage cheat sheet, scrypt: N = 2^17, r = 8, p = 1; 128 MiB and about half a second a try. */
export const SCRYPT_COST: ScryptCost = { n: 2 ** 17, r: 8, p: 1 }

/** @param seed 32 secret bytes */
export async function sealSecret(
  seed: Uint8Array,
  passphrase: string,
  random: SecureRandom,
  cost: ScryptCost = SCRYPT_COST,
): Promise<SealedSecret> {
  const salt = random.bytes(32)
  const nonce = random.bytes(nacl.secretbox.nonceLength)
  const box = nacl.secretbox(Uint8Array.from(seed), Uint8Array.from(nonce), await derive(passphrase, salt, cost))
  return { kdf: 'scrypt', ...cost, salt: bytesToHex(salt), nonce: bytesToHex(nonce), box: bytesToHex(box) }
}

/** @returns the seed; undefined when the passphrase is wrong or the box was changed, which cannot be told apart */
export async function openSecret(sealed: SealedSecret, passphrase: string): Promise<Uint8Array | undefined> {
  const key = await derive(passphrase, hexToBytes(sealed.salt), sealed)
  return nacl.secretbox.open(hexToBytes(sealed.box), hexToBytes(sealed.nonce), key) ?? undefined
}

function derive(passphrase: string, salt: Uint8Array, { n, r, p }: ScryptCost): Promise<Uint8Array> {
  // The same passphrase typed on another keyboard is the same bytes.
  const text = passphrase.normalize('NFC')
  return new Promise((resolve, reject) => {
    // Node counts 128·N·r and a little more.
    scrypt(text, salt, nacl.secretbox.keyLength, { N: n, r, p, maxmem: 256 * n * r }, (error, key) => {
      if (error === null) resolve(new Uint8Array(key))
      else reject(error)
    })
  })
}
