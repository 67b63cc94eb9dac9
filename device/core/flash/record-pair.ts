import { bytesEqual } from '../../../contract/bytes.ts'
import { type ContractError, contractError } from '../../../contract/errors.ts'
import { err, ok, type Result } from '../../../contract/result.ts'
import type { Flash } from '../../ports/flash.ts'
import { encodeFrame, FRAME_HEADER_BYTES, type Frame, frameBytes, readFrame } from './flash-frame.ts'

/** Two areas of whole sectors for one small content that must survive a power cut at any moment. They are written in turn: the one
 *  that holds the newest valid frame is never touched, so there is always a whole content, the old or the new one. */
export interface PairRegion {
  readonly areas: readonly [number, number]
  /** bytes of one area; content may have FRAME_HEADER_BYTES less */
  readonly areaBytes: number
}

interface Newest extends Frame {
  readonly area: 0 | 1
}

/** Serial number arithmetic (RFC 1982): the two frames of a pair are one step apart, so a counter that wraps from 2^32 - 1 to 0
 *  is still the newer one. */
const isNewer = (a: number, b: number): boolean => ((a - b) | 0) > 0

function newest(flash: Flash, { areas, areaBytes }: PairRegion): Newest | undefined {
  const [a, b] = areas.map((offset) => readFrame(flash, offset, areaBytes))
  if (a !== undefined && (b === undefined || !isNewer(b.seq, a.seq))) return { ...a, area: 0 }
  return b && { ...b, area: 1 }
}

/** @returns the newest whole content; undefined when there is none: never written, or both copies rotten. What then holds is the
 *  caller's to define, since only it knows. */
export const readPair = (flash: Flash, region: PairRegion): Uint8Array | undefined => newest(flash, region)?.payload

/** Writes a content over the older copy. What the flash reads back decides whether it was written, not what it said: so after an
 *  error the former content holds, and after success the new one.
 *  @returns `flash-full` | `flash-write-failed`; `too-large` when the content does not fit an area */
export function writePair(flash: Flash, region: PairRegion, content: Uint8Array): Result<void, ContractError> {
  if (frameBytes(content.length, flash.programBytes) > region.areaBytes) {
    const room = region.areaBytes - FRAME_HEADER_BYTES
    return err(contractError('too-large', `record of ${content.length} bytes, its region holds ${room}`))
  }
  const former = newest(flash, region)
  const area = former?.area === 0 ? 1 : 0
  const seq = former === undefined ? 1 : (former.seq + 1) >>> 0
  const said = writeFrame(flash, region.areas[area], encodeFrame({ seq, payload: content }, flash.programBytes))
  const now = newest(flash, region)
  if (now !== undefined && now.area === area && now.seq === seq && bytesEqual(now.payload, content))
    return ok(undefined)
  return said.ok
    ? err(contractError('flash-write-failed', `record at ${region.areas[area]} reads back otherwise`))
    : said
}

/** Erases the sectors of a frame and programs it. */
function writeFrame(flash: Flash, offset: number, frame: Uint8Array): Result<void, ContractError> {
  for (let at = offset; at < offset + frame.length; at += flash.sectorBytes) {
    const erased = flash.erase(at)
    if (!erased.ok) return erased
  }
  return flash.program(offset, frame)
}
