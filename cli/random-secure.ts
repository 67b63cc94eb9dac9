import { randomBytes } from 'node:crypto'
import type { SecureRandom } from '../contract/random.ts'

/** The machine's randomness, for keys, nonces and ids. */
export const secureRandom: SecureRandom = { bytes: (length) => randomBytes(length) }

/** Uniform in [0, 1), for pauses. */
export const chance = (): number => randomBytes(4).readUInt32LE() / 0x1_0000_0000
