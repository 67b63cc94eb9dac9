import { bytesEqual, sha256 } from '../../contract/bytes.ts'
import { PatchDecoder } from '../../contract/patch/patch-decoder.ts'
import { isPatchImage, PATCH_VERSIONS, readPatchHeader } from '../../contract/patch/patch-header.ts'
import { makePatch } from '../../release/patch/make-patch.ts'
import { applyPatch, MemorySlots } from '../fixtures/patch.ts'
import { tunedNetwork } from '../fixtures/patch-models.ts'
import type { FuzzTarget } from './fuzz-run.ts'
import { codeOf, MIB, must } from './fuzz-soundness.ts'

const PAGE_BYTES = 512
/** Chosen: networks this small decode in a millisecond. */
const CHANNELS = 8

/** What comes over the air: any bytes make some image or none, in their slot, and only the honest one passes for it. */
function patch(base: Uint8Array, result: Uint8Array): FuzzTarget {
  return {
    name: 'patch',
    corpus: [
      ...PATCH_VERSIONS.map((version) => makePatch(base, result, { version })),
      makePatch(null, result),
      makePatch(base, result.subarray(0, 40)),
    ],
    weight: 2,
    allocationBytes: 16 * MIB,
    run(input) {
      const made = applyPatch(base, input, { pageBytes: PAGE_BYTES, maxResultBytes: result.length })
      if (!made.ok) return made.error.code
      must(made.value.length <= result.length, 'an image larger than its slot')
      const read = readPatchHeader(input)
      must(read.ok, 'an image of a patch without a header')
      const named = read.ok && isPatchImage(read.value.header.result, made.value.length, sha256(made.value))
      if (!named) return 'hash-mismatch'
      const honest = bytesEqual(made.value, result) || bytesEqual(made.value, result.subarray(0, 40))
      must(honest || made.value.length === 0, 'another image under its hash')
      return 'accepted'
    },
  }
}

/** What a flash holds of a decoder: whatever it is taken for, what goes on from it stays in its slot. */
function checkpoint(base: Uint8Array, result: Uint8Array): FuzzTarget {
  const whole = makePatch(base, result)
  const first = makePatch(base, result, { version: 1 })
  const options = {
    pageBytes: PAGE_BYTES,
    maxResultBytes: result.length,
    base: { bytes: base.length, sha256: sha256(base) },
  }
  const at = [60, Math.floor(whole.length / 2), whole.length - 8]
  const corpus = [whole, first].flatMap((patch) =>
    at.map((consumed) => {
      const decoder = new PatchDecoder(options, new MemorySlots(base, PAGE_BYTES))
      must(decoder.push(patch.subarray(0, consumed), false).ok, 'a patch that does not begin')
      return decoder.checkpoint()
    }),
  )
  return {
    name: 'patch-checkpoint',
    corpus,
    weight: 1,
    allocationBytes: 16 * MIB,
    run(input) {
      let end = 0
      const slots = {
        readBase: (offset: number, into: Uint8Array) => {
          must(offset >= 0 && offset + into.length <= base.length, 'a read outside the base')
          into.set(base.subarray(offset, offset + into.length))
        },
        readResult: (offset: number, into: Uint8Array) => {
          must(offset >= 0 && offset + into.length <= result.length, 'a read outside the slot')
          into.fill(0)
        },
        writePage: (offset: number, page: Uint8Array) => {
          end = offset + page.length
          must(offset >= 0 && offset % PAGE_BYTES === 0 && end <= result.length, 'a page outside the slot')
          return { ok: true, value: undefined } as const
        },
      }
      const resumed = PatchDecoder.resume(input, options, slots)
      if (!resumed.ok) return codeOf(resumed)
      const { consumedBytes } = resumed.value
      resumed.value.push(whole.subarray(Math.min(consumedBytes, whole.length)), true)
      return 'accepted'
    },
  }
}

/** Decoders of patches. */
export function patchTargets(): readonly FuzzTarget[] {
  const [base, result] = [tunedNetwork(1, CHANNELS), tunedNetwork(2, CHANNELS)]
  return [patch(base, result), checkpoint(base, result)]
}
