import { sha256 } from '../../contract/bytes.ts'

/** Place of a device in a rollout's order, in [0, 1): the first 48 bits of sha256(salt + device id). Uniform, the same on
 *  every replica, different for every rollout (else the same devices would always be canaries).
 */
export function bucketOf(salt: string, device: string): number {
  const hash = sha256(new TextEncoder().encode(salt + device))
  let value = 0
  for (const byte of hash.subarray(0, 6)) value = value * 256 + byte
  return value / 2 ** 48
}

/** Exposed at this percentage: monotone in it, so a device that entered never leaves by growth of the stage. */
export const isExposed = (bucket: number, percent: number): boolean => bucket < percent / 100
