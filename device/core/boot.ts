import { bytesEqual, sha256 } from '../../contract/bytes.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { Engine } from '../../model/engine/engine.ts'
import { checkGolden, type OpenedBundle, openBundle } from '../../model/opened-bundle.ts'
import type { Flash } from '../ports/flash.ts'
import {
  type BootOutcome,
  type BootPlan,
  type BootRecord,
  EMPTY_IMAGE,
  planBoot,
  readRecord,
  untoldOf,
  withImage,
  writeRecord,
} from './flash/boot-record.ts'
import { type FlashLayout, otherSlot, type SlotIndex } from './flash/flash-layout.ts'
import { recordFromSlots, scanSlot } from './flash/slot-scan.ts'

/** What a reset came to. */
export interface Booted {
  /** as it is in flash, unless `trouble` is a failed write */
  readonly record: BootRecord
  readonly slot: SlotIndex
  readonly outcome: BootOutcome
  readonly bundle: OpenedBundle
  /** why the image that was to run does not, or why the record could not be written */
  readonly trouble?: ContractError | undefined
}

export interface BootParts {
  readonly flash: Flash
  readonly layout: FlashLayout
  readonly engine: Engine
  readonly ramBytes: number
  readonly wallMs: number
  /** true when another reset has come meanwhile: this boot must not touch the flash any more */
  readonly isVoid?: () => boolean
}

/** Trial, its revert, the fall-back, an image found: each is tried at most once. */
const ROUNDS_MAX = 4
const NOTHING_LEFT = contractError('no-fallback-slot', 'no image could be run')

/** Brings up the image a reset is to run: decides (planBoot), writes the record, verifies and loads. A boot goes on with the next best
 *  image when one does not load, and without a record when that cannot be written: except a trial, which is not begun then, for
 *  nobody would know that it was.
 *  @returns the loaded image, or the code of what is wrong with the last one that was left
 */
export async function bootImage(parts: BootParts): Promise<Result<Booted, ContractError>> {
  const { flash, layout } = parts
  const recorded = readRecord(flash, layout) ?? recordFromSlots(flash, layout, parts.wallMs)
  if (recorded === undefined) {
    return err(contractError('no-fallback-slot', 'no boot record and no bundle: the device was never provisioned'))
  }
  let found = recorded
  let trouble: ContractError | undefined
  let abandoned = false
  const refused = new Set<SlotIndex>()
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const plan = planBoot(found, (slot) => !refused.has(slot) && isIntact(flash, layout, found, slot))
    const next = plan.ok ? plan.value : foundImage(parts, found, refused)
    if (next === undefined) return trouble === undefined && !plan.ok ? plan : err(trouble ?? NOTHING_LEFT)
    const { slot, outcome } = next
    if (outcome === 'trial') {
      // Before anything of the image runs: if this boot dies, the next one must know that it was tried.
      const written = writeRecord(flash, layout, next.record)
      if (!written.ok) {
        trouble = written.error
        abandoned = true
        found = { ...found, phase: 'confirmed' }
        continue
      }
    }
    const opened = await open(parts, next)
    if (parts.isVoid?.()) {
      if (opened.ok) await opened.value.dispose()
      return err(contractError('unavailable', 'another reset came during this boot'))
    }
    if (!opened.ok) {
      trouble = opened.error
      refused.add(slot)
      // The boot is counted once, however many images it takes.
      if (outcome === 'trial') found = { ...next.record, boots: found.boots }
      continue
    }
    if (outcome === 'trial') return ok({ ...next, bundle: opened.value })
    const record = withoutLostImage(parts, next, refused)
    const written = writeRecord(flash, layout, record)
    return ok({
      ...next,
      outcome: abandoned && outcome === 'confirmed' ? 'abandoned' : outcome,
      record,
      bundle: opened.value,
      trouble: written.ok ? trouble : written.error,
    })
  }
  return err(trouble ?? NOTHING_LEFT)
}

function isIntact(flash: Flash, layout: FlashLayout, record: BootRecord, slot: SlotIndex): boolean {
  const image = record.images[slot]
  if (image.bytes === 0 || image.bytes > layout.slotBytes) return false
  return bytesEqual(sha256(flash.read(layout.slots[slot], image.bytes)), image.sha256)
}

/** Loads an image; one that nobody has confirmed on this device must also reproduce its golden vectors here and now, and none may
 *  take the security counter back. */
async function open(
  { flash, layout, engine, ramBytes }: BootParts,
  { slot, outcome, record }: BootPlan,
): Promise<Result<OpenedBundle, ContractError>> {
  const data = flash.read(layout.slots[slot], record.images[slot].bytes)
  // Hashed once more, as the very bytes that are loaded: a flash may show others to its second reader.
  if (!bytesEqual(sha256(data), record.images[slot].sha256)) {
    return err(contractError('hash-mismatch', `slot ${slot} changed while it was read`))
  }
  const opened = await openBundle(data, engine, ramBytes)
  if (!opened.ok) return opened
  const bundle = opened.value
  const { securityCounter } = bundle.manifest
  const refusal =
    outcome !== 'confirmed' && outcome !== 'reverted' && securityCounter < record.securityCounter
      ? err(contractError('security-counter-too-low', `image has ${securityCounter}, device ${record.securityCounter}`))
      : outcome === 'trial' || record.untold === 'image-found'
        ? await checkGolden(bundle)
        : ok(0)
  if (refusal.ok) return opened
  await bundle.dispose()
  return refusal
}

/** No slot holds what the record says: somebody has flashed the device by hand, or the images have rotted. A whole bundle is run, and
 *  told of, rather than nothing; it stays until the next assignment, which brings back what the fleet runs. */
function foundImage(
  { flash, layout }: BootParts,
  record: BootRecord,
  refused: ReadonlySet<SlotIndex>,
): BootPlan | undefined {
  for (const slot of [record.active, otherSlot(record.active)]) {
    // An image that is on record and was refused in this boot is not found anew; nor is a download that was never verified.
    if (refused.has(slot) || record.images[slot].bytes === 0) continue
    const content = scanSlot(flash, layout, slot)
    if (content === undefined) continue
    return {
      slot,
      outcome: 'found',
      record: {
        ...record,
        boots: Math.min(record.boots + 1, 0xffff_ffff),
        active: slot,
        phase: 'confirmed',
        images: withImage({ ...record, images: [EMPTY_IMAGE, EMPTY_IMAGE] }, slot, content.image),
        ...untoldOf('image-found', record, content.image),
      },
    }
  }
  return undefined
}

/** After a fall-back: a slot whose bytes are not the recorded ones is empty to the next update, which then downloads. One that
 *  is whole and does not load keeps its name: fetching the same bytes again would change nothing. */
function withoutLostImage(
  { flash, layout }: BootParts,
  { outcome, record }: BootPlan,
  refused: ReadonlySet<SlotIndex>,
) {
  const lost = otherSlot(record.active)
  if (outcome !== 'fell-back' || refused.has(lost) || isIntact(flash, layout, record, lost)) return record
  return { ...record, images: withImage(record, lost, EMPTY_IMAGE) }
}
