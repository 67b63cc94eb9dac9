import { existsSync, readFileSync } from 'node:fs'
import { bytesToHex, hexToBytes } from '../../contract/bytes.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { writeFileDurably } from '../../platform/durable-file.ts'

/** Whether a file holds this seed still; false when it was replaced, removed or spoiled. */
export function holdsSeed(path: string, seed: Uint8Array): boolean {
  try {
    return readFileSync(path, 'utf8').trim() === bytesToHex(seed)
  } catch {
    return false
  }
}

/** Reads a 32-byte secret seed from a file, or creates it, mode 0600 (secret-files.ts sees to one that is there). It is on the medium before it
 *  is used.
 *  @throws Error when the file is there but is no seed
 */
export function loadOrCreateSeed(path: string, random: SecureRandom): Uint8Array {
  if (existsSync(path)) {
    const text = readFileSync(path, 'utf8').trim()
    if (!/^[0-9a-f]{64}$/.test(text)) throw new Error(`${path} holds no key: expected 64 hex digits`)
    return hexToBytes(text)
  }
  const seed = random.bytes(32)
  writeFileDurably(path, `${bytesToHex(seed)}\n`, { mode: 0o600 })
  return seed
}
