import { randomBytes } from 'node:crypto'
import type { SecureRandom } from '../contract/random.ts'

/** The machine's randomness, for keys, nonces and ids. */
export const secureRandom: SecureRandom = { bytes: (length) => randomBytes(length) }
