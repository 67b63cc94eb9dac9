import type { ContractError } from '../../../contract/errors.ts'
import { TUF_LIMITS } from '../../../contract/limits.ts'
import { bytes, defineMessage, optional, text, uint } from '../../../contract/message-codec.ts'
import type { Result } from '../../../contract/result.ts'
import { NO_TIME_FLOOR, raiseFloor, type TimeFloor } from '../../../contract/time-floor.ts'
import { PORTABLE_SCHEMES } from '../../../contract/tuf/signature-scheme.ts'
import { type TrustedFiles, TrustedSet } from '../../../contract/tuf/trusted-set.ts'
import type { Flash } from '../../ports/flash.ts'
import { type FlashLayout, TRUST_BYTES } from './flash-layout.ts'
import { readPair, writePair } from './record-pair.ts'

/** What a device believes of the image repository and of the time, over resets. Targets are not kept: they are fetched when an
 *  assignment asks for one, and held against the snapshot that is. */
export interface TrustRecord {
  readonly files: Pick<TrustedFiles, 'root' | 'timestamp' | 'snapshot'>
  readonly floor: TimeFloor
}

const codec = defineMessage('trust record', 1, TRUST_BYTES, {
  root: [1, bytes(1, TUF_LIMITS.rootBytes)],
  timestamp: [2, optional(bytes(1, TUF_LIMITS.timestampBytes))],
  snapshot: [3, optional(bytes(1, TUF_LIMITS.snapshotBytes))],
  floorMs: [4, uint()],
  witness: [5, text(64)],
})

/** What the factory gives a device: the root it was built with. When that was signed is the first word about the time, so that a clock
 *  that is years ahead at the very first boot is disbelieved too. */
export function factoryTrust(root: Uint8Array): TrustRecord {
  const set = TrustedSet.load({ root, verified: true }, PORTABLE_SCHEMES, TUF_LIMITS, 0)
  return { files: { root }, floor: set.ok ? raiseFloor(NO_TIME_FLOOR, set.value.timeEvidence) : NO_TIME_FLOOR }
}

/** @returns undefined when nothing was ever kept, or both copies are lost; the factory's root holds then, and versions that were seen
 *  are forgotten: one power cut cannot do that, see record-pair.ts */
export function readTrust(flash: Flash, layout: FlashLayout): TrustRecord | undefined {
  const payload = readPair(flash, layout.trust)
  const decoded = payload && codec.decode(payload)
  if (!decoded?.ok) return undefined
  const { root, timestamp, snapshot, floorMs, witness } = decoded.value
  return { files: { root, timestamp, snapshot }, floor: { floorMs, witness } }
}

/** @returns `flash-write-failed` | `flash-full`; the record before it still holds then */
export function writeTrust(flash: Flash, layout: FlashLayout, record: TrustRecord): Result<void, ContractError> {
  const { files, floor } = record
  const { root, timestamp, snapshot } = files
  return writePair(flash, layout.trust, codec.encode({ root, timestamp, snapshot, ...floor }))
}
