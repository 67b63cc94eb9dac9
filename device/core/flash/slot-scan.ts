import { decodeBundle } from '../../../contract/bundle.ts'
import { sha256 } from '../../../contract/bytes.ts'
import { LIMITS } from '../../../contract/limits.ts'
import { type BundleManifest, parseManifest } from '../../../contract/manifest.ts'
import type { Flash } from '../../ports/flash.ts'
import { type BootRecord, EMPTY_IMAGE, incarnationOf, type SlotImage, untoldOf } from './boot-record.ts'
import type { FlashLayout, SlotIndex } from './flash-layout.ts'

export interface SlotContent {
  readonly slot: SlotIndex
  readonly image: SlotImage
  readonly manifest: BundleManifest
}

/** The container's own length, see contract/bundle.ts. */
const LENGTH_OFFSET = 12

/** Finds out what a slot holds when no record tells: a whole bundle, whose container, section hashes and manifest hold. That says
 *  that its bytes are as they were packed, and nothing of who signed them.
 *  @returns undefined for anything else */
export function scanSlot(flash: Flash, layout: FlashLayout, slot: SlotIndex): SlotContent | undefined {
  const offset = layout.slots[slot]
  const header = flash.read(offset, LENGTH_OFFSET + 4)
  const bytes = new DataView(header.buffer, header.byteOffset, header.byteLength).getUint32(LENGTH_OFFSET, true)
  if (bytes > layout.slotBytes || bytes > LIMITS.bundleBytes) return undefined
  const data = flash.read(offset, bytes)
  const sections = decodeBundle(data)
  const manifest = sections.ok ? parseManifest(sections.value) : undefined
  return manifest?.ok ? { slot, image: { sha256: sha256(data), bytes }, manifest: manifest.value } : undefined
}

/** A record for a device whose two copies are lost, from what its slots hold. With two images the older version is taken for the
 *  confirmed one: an update brings a newer one, and one that was only on trial must not become confirmed by an accident.
 *  @param wallMs for the boot id: seconds since 1970 are above every count of boots, so that no id of a report comes twice. And for the
 *    incarnation, which is lost with the record: it is another one than any before, if the device has a clock
 *  @returns undefined when neither slot holds a whole bundle */
export function recordFromSlots(flash: Flash, layout: FlashLayout, wallMs: number): BootRecord | undefined {
  const found = ([0, 1] as const).flatMap((slot) => scanSlot(flash, layout, slot) ?? [])
  const [oldest] = found.sort((a, b) => a.manifest.version - b.manifest.version)
  if (oldest === undefined) return undefined
  const imageOf = (slot: SlotIndex) => found.find((content) => content.slot === slot)?.image ?? EMPTY_IMAGE
  return {
    boots: Math.min(Math.floor(wallMs / 1_000), 0xffff_ffff),
    incarnation: incarnationOf(sha256(new TextEncoder().encode(`record lost at ${wallMs}`))),
    active: oldest.slot,
    phase: 'confirmed',
    images: [imageOf(0), imageOf(1)],
    assignmentSeq: 0,
    securityCounter: oldest.manifest.securityCounter,
    failedSha256: new Uint8Array(32),
    failures: 0,
    ...untoldOf('image-found', { assignmentSeq: 0 }, imageOf(oldest.slot)),
  }
}
