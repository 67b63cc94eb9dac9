import { afterEach, describe, expect, it } from 'vitest'
import { sha256 } from '../../../../contract/bytes.ts'
import { contractError } from '../../../../contract/errors.ts'
import { PatchDecoder } from '../../../../contract/patch/patch-decoder.ts'
import {
  encodePatchHeader,
  PATCH_VERSIONS,
  readPatchHeader,
  sha256Half,
} from '../../../../contract/patch/patch-header.ts'
import { PATCH_STATE_BYTES } from '../../../../contract/patch/patch-state.ts'
import { seededRandom } from '../../../../contract/random.ts'
import { err } from '../../../../contract/result.ts'
import { makePatch } from '../../../../release/patch/make-patch.ts'
import { applyPatch, MemorySlots } from '../../../fixtures/patch.ts'
import { looseFloats, tunedNetwork } from '../../../fixtures/patch-models.ts'

const [old, next] = [tunedNetwork(1), tunedNetwork(2)]
const patch = makePatch(old, next)

describe('a decoder', () => {
  it.each(PATCH_VERSIONS)(
    'of version %i makes the result whatever the blocks and pages, and wherever it is interrupted',
    (version) => {
      const patch = makePatch(old, next, { version })
      expect(patch[2]).toBe(version)
      expect(patch.length).toBeLessThan(next.length / 2)
      for (const [blockBytes, pageBytes] of [
        [4_096, 4_096],
        [1, 256],
        [7, 4_096],
        [100, 1_024],
        [1 << 20, 1 << 20],
      ] as const) {
        for (const interrupted of [false, true]) {
          const made = applyPatch(old, patch, { blockBytes, pageBytes, interrupted })
          expect(made.ok && Buffer.from(made.value).equals(next), `${blockBytes} ${pageBytes} ${interrupted}`).toBe(
            true,
          )
        }
      }
    },
  )

  it('goes on from a checkpoint with what it had foretold with', () => {
    // Long enough that a decoder does not have all of it when it begins.
    const [base, moved] = [looseFloats(1), looseFloats(2)]
    const patch = makePatch(base, moved)
    for (const blockBytes of [7, 50]) {
      const made = applyPatch(base, patch, { blockBytes, pageBytes: 256, interrupted: true })
      expect(made.ok && Buffer.from(made.value).equals(moved)).toBe(true)
    }
  })

  it('refuses another base, a result that does not fit and a later version before the first page', () => {
    const slots = new MemorySlots(next, 4_096)
    const other = new PatchDecoder(
      { pageBytes: 4_096, maxResultBytes: 1 << 20, base: { bytes: next.length, sha256: sha256(next) } },
      slots,
    )
    expect(other.push(patch, true)).toMatchObject({ ok: false, error: { code: 'wrong-base' } })
    expect(slots.pages).toHaveLength(0)
    expect(applyPatch(null, patch)).toMatchObject({ ok: false, error: { code: 'wrong-base' } })
    expect(applyPatch(old, patch, { maxResultBytes: next.length - 1 })).toMatchObject({
      ok: false,
      error: { code: 'flash-over-budget' },
    })
    const later = patch.slice()
    later[2] = 3
    expect(applyPatch(old, later)).toMatchObject({ ok: false, error: { code: 'unknown-schema-version' } })
  })

  it('refuses a patch that is cut off anywhere, or has anything behind its end', () => {
    let whole = 0
    for (let length = 0; length < patch.length; length += length < 80 ? 1 : 37) {
      const made = applyPatch(old, patch.subarray(0, length))
      if (!made.ok) expect(['patch-truncated', 'patch-malformed']).toContain(made.error.code)
      else if (Buffer.from(made.value).equals(next)) whole++
    }
    expect(whole).toBe(0)
    for (const cut of [5, 6, 100]) {
      expect(applyPatch(old, patch.subarray(0, patch.length - cut))).toMatchObject({ ok: false })
    }
    // Up to four bytes may belong to the last number: the coder leaves zeros out at the end.
    const longer = new Uint8Array(patch.length + 5)
    longer.set(patch)
    expect(applyPatch(old, longer)).toMatchObject({ ok: false, error: { code: 'patch-malformed' } })
  })

  it('ends with what the flash says', () => {
    const slots = new MemorySlots(old, 4_096)
    const full = err(contractError('flash-full', 'no room'))
    const decoder = new PatchDecoder(
      { pageBytes: 4_096, maxResultBytes: 1 << 20, base: { bytes: old.length, sha256: sha256(old) } },
      {
        readBase: (offset, into) => slots.readBase(offset, into),
        readResult: (offset, into) => slots.readResult(offset, into),
        writePage: () => full,
      },
    )
    expect(decoder.push(patch, true)).toEqual(full)
  })

  it('does not take over a checkpoint that cannot be one, and lives with one that could', () => {
    const slots = new MemorySlots(old, 4_096)
    const options = { pageBytes: 4_096, maxResultBytes: 1 << 20, base: { bytes: old.length, sha256: sha256(old) } }
    const decoder = new PatchDecoder(options, slots)
    decoder.push(patch.subarray(0, 2_000), false)
    const checkpoint = decoder.checkpoint()
    const other = { ...options, base: { bytes: next.length, sha256: sha256(next) } }
    expect(PatchDecoder.resume(checkpoint, other, slots)).toMatchObject({ ok: false, error: { code: 'wrong-base' } })
    expect(PatchDecoder.resume(checkpoint.subarray(1), options, slots)).toMatchObject({ ok: false })
    expect(PatchDecoder.resume(new Uint8Array(0), options, slots)).toMatchObject({ ok: false })
    const random = seededRandom(7)
    let refused = 0
    for (let i = 0; i < 400; i++) {
      const damaged = checkpoint.slice()
      // The first bytes are numbers, which matter most.
      const at = Math.floor(random.next() * (i % 2 ? 360 : damaged.length))
      damaged[at] = damaged[at]! ^ (1 << Math.floor(random.next() * 8))
      const pages = new MemorySlots(old, 4_096)
      for (const page of slots.pages) pages.writePage(pages.written, page)
      const resumed = PatchDecoder.resume(damaged, options, pages)
      if (!resumed.ok) refused++
      else if (resumed.value.producedBytes - (resumed.value.producedBytes % 4_096) === pages.written) {
        resumed.value.push(patch.subarray(2_000), true)
        expect(pages.written).toBeLessThanOrEqual(next.length)
      }
    }
    expect(refused).toBeGreaterThan(50)
  })
})

describe('memory', () => {
  const constructors = ['Uint8Array', 'Uint16Array', 'Int32Array', 'Float64Array', 'Int16Array', 'Uint32Array'] as const
  const saved = constructors.map((name) => globalThis[name])
  afterEach(() => {
    for (const [i, name] of constructors.entries()) Object.assign(globalThis, { [name]: saved[i] })
  })

  it.each([
    ['numbers', patch, old],
    ['bytes', makePatch(null, new TextEncoder().encode('a label, another label, a third label, '.repeat(9))), null],
  ] as const)('%s: all that a decoder ever allocates is within its bound', (method, tried, base) => {
    const read = readPatchHeader(tried)
    expect(read.ok && read.value.header.method).toBe(method)
    const bytes = read.ok ? read.value.header.result.bytes : 0
    const slots = { pages: new Uint8Array(bytes), written: 0 }
    const sha = base && sha256(base)
    let allocated = 0
    for (const [i, name] of constructors.entries()) {
      const counted = new Proxy(saved[i] as typeof Uint8Array, {
        construct(target, args, newTarget) {
          const made = Reflect.construct(target, args, newTarget) as Uint8Array
          if (typeof args[0] === 'number') allocated += made.byteLength
          return made
        },
      })
      Object.assign(globalThis, { [name]: counted })
    }
    const pageBytes = 4_096
    const decoder = new PatchDecoder(
      { pageBytes, maxResultBytes: 1 << 20, base: base && { bytes: base.length, sha256: sha! } },
      {
        readBase: (offset, into) => into.set(base!.subarray(offset, offset + into.length)),
        readResult: (offset, into) => into.set(slots.pages.subarray(offset, offset + into.length)),
        writePage: (offset, page) => {
          slots.pages.set(page, offset)
          return { ok: true, value: undefined }
        },
      },
    )
    for (let at = 0; at < tried.length; at += 512) decoder.push(tried.subarray(at, at + 512), at + 512 >= tried.length)
    expect(decoder.producedBytes).toBe(bytes)
    expect(allocated - pageBytes).toBeLessThanOrEqual(PATCH_STATE_BYTES)
    expect(allocated - pageBytes).toBeGreaterThan(8_192)
    expect(decoder.checkpoint().length).toBeLessThanOrEqual(PATCH_STATE_BYTES + pageBytes)
  })
})

describe('a header', () => {
  const image = (bytes: number) => ({ bytes, sha256Half: sha256Half(sha256(Uint8Array.of(bytes & 255))) })

  it('says method, base and result', () => {
    for (const method of ['stored', 'numbers', 'bytes'] as const) {
      for (const base of [null, image(0), image(127), image(0xffff_ffff)]) {
        const header = { version: base === null ? 1 : 2, method, base, result: image(128) } as const
        const bytes = encodePatchHeader(header)
        expect(readPatchHeader(bytes)).toEqual({ ok: true, value: { header, headerBytes: bytes.length } })
        for (let end = 0; end < bytes.length; end++) expect(readPatchHeader(bytes.subarray(0, end)).ok).toBe(false)
      }
    }
  })

  it.each([
    ['another magic', [0x4b, 0x51]],
    ['an unknown method', [0x4b, 0x50, 1, 7]],
    ['a flag that is none', [0x4b, 0x50, 1, 16]],
    ['a length that is not minimal', [0x4b, 0x50, 1, 0, 0x81, 0x00]],
    ['a length of more than 32 bits', [0x4b, 0x50, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x1f]],
    ['a length without end', [0x4b, 0x50, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff]],
  ])('is refused with %s', (_what, begin) => {
    const bytes = new Uint8Array(64)
    bytes.set(begin)
    expect(readPatchHeader(bytes)).toMatchObject({ ok: false, error: { code: 'patch-malformed' } })
  })

  it.each([16, 32, 64, 128])('whose flags have %i, which says nothing yet, is refused for that', (flag) => {
    const bytes = encodePatchHeader({ version: 1, method: 'numbers', base: image(127), result: image(128) })
    const method = (bytes[3] ?? 0) | flag
    bytes[3] = method
    expect(readPatchHeader(bytes)).toMatchObject({
      error: { code: 'patch-malformed', detail: `method byte ${method}` },
    })
  })
})
