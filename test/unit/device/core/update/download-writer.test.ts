import { describe, expect, it } from 'vitest'
import { sha256, sha256Hex } from '../../../../../contract/bytes.ts'
import { encodePatchHeader, sha256Half } from '../../../../../contract/patch/patch-header.ts'
import { seededRandom } from '../../../../../contract/random.ts'
import type { Release } from '../../../../../contract/release.ts'
import { layoutOf } from '../../../../../device/core/flash/flash-layout.ts'
import { clearProgress, readProgress } from '../../../../../device/core/flash/progress-record.ts'
import { programSlot } from '../../../../../device/core/flash/provision.ts'
import type { Artifact } from '../../../../../device/core/update/download.ts'
import { type BlockOrder, DownloadWriter } from '../../../../../device/core/update/download-writer.ts'
import { type FlashFault, FlashNor } from '../../../../../firmware-sim/flash-nor.ts'
import { makePatch } from '../../../../../release/patch/make-patch.ts'
import { wantedRelease } from '../../../../fixtures/agent.ts'

const random = seededRandom(5)
const noise = (length: number) => Uint8Array.from({ length }, () => Math.floor(random.next() * 256))
const base = noise(21_000)
/** seven of ten bytes are new */
const fresh = noise(21_000)
const image = base.map((byte, i) => (i % 1_000 < 300 ? byte : fresh[i]!))
const release: Release = { ...wantedRelease, sha256: sha256Hex(image), bytes: image.length }
const asImage: Artifact = { kind: 'image', sha256: release.sha256, bytes: image.length }
const patchOf = (bytes: Uint8Array): Artifact => ({ kind: 'patch', sha256: sha256Hex(bytes), bytes: bytes.length })
const honest = makePatch(base, image)
/** A patch that claims what it likes and has the bytes as they are. */
const claiming = (of: Uint8Array | null, result: Uint8Array): Uint8Array => {
  const imageOf = (bytes: Uint8Array) => ({ bytes: bytes.length, sha256Half: sha256Half(sha256(bytes)) })
  const header = encodePatchHeader({ version: 1, method: 'stored', base: of && imageOf(of), result: imageOf(result) })
  return Uint8Array.from([...header, ...result])
}

/** A chip with the base in slot 0, and a writer for slot 1. */
class Bench {
  readonly flash: FlashNor
  readonly layout
  writer: DownloadWriter

  constructor(sectorBytes = 4_096) {
    this.flash = new FlashNor({ sizeBytes: 512 * 1024, sectorBytes })
    const layout = layoutOf(this.flash)
    if (!layout.ok) throw new Error(layout.error.detail)
    this.layout = layout.value
    programSlot(this.flash, this.layout, 0, 0, base)
    // What an earlier image has left in the other slot.
    programSlot(this.flash, this.layout, 1, 0, noise(30_000))
    this.writer = new DownloadWriter(this.flash, this.layout)
  }

  apply(artifact: Artifact, bytes: Uint8Array, offset: number, change: Partial<BlockOrder> = {}) {
    const data = bytes.subarray(offset, offset + 4_096)
    const last = offset + data.length === bytes.length
    const running = { sha256: sha256(base), bytes: base.length }
    return this.writer.apply({ release, artifact, slot: 1, base: running, offset, data, last, ...change })
  }

  /** From an offset to the end. @returns bytes that came; or the code it ended with */
  download(artifact: Artifact, bytes: Uint8Array, from = 0): number | string {
    let came = 0
    for (let offset = from; offset < bytes.length; ) {
      const applied = this.apply(artifact, bytes, offset)
      if (!applied.ok) return applied.error.code
      came += applied.value.offset - offset
      offset = applied.value.offset
    }
    return came
  }

  get slot() {
    return sha256Hex(this.flash.read(this.layout.slots[1], image.length))
  }

  get recorded() {
    return readProgress(this.flash, this.layout)?.progress
  }

  reset() {
    this.flash.powerUp()
    this.writer = new DownloadWriter(this.flash, this.layout)
  }
}

describe.each([
  ['a bundle', asImage, image],
  ['a patch', patchOf(honest), honest],
  ['a patch of bytes as they are', patchOf(claiming(base, image)), claiming(base, image)],
] as const)('%s', (_, artifact, bytes) => {
  it('ends as the image, and the record says so after each block', () => {
    const bench = new Bench()
    const first = bench.apply(artifact, bytes, 0)
    expect(first.ok && first.value).toMatchObject({
      offset: 4_096,
      progress: { artifact: artifact.sha256, offset: 4_096 },
    })
    expect(bench.recorded).toEqual(first.ok && first.value.progress)
    expect(bench.download(artifact, bytes, 4_096)).toBe(bytes.length - 4_096)
    expect(bench.slot).toBe(release.sha256)
    expect(bench.recorded?.offset).toBe(bytes.length)
    clearProgress(bench.flash, bench.layout)
    expect(bench.recorded).toBeUndefined()
    const { operations } = bench.flash
    clearProgress(bench.flash, bench.layout)
    expect(bench.flash.operations).toBe(operations)
  })

  it('cut at any flash operation, goes on and fetches the cut block again and no more', () => {
    let operations = 0
    const whole = new Bench()
    whole.flash.onOperation = () => {
      operations++
      return undefined
    }
    whole.download(artifact, bytes)
    expect(bytes.length).toBeGreaterThan(3 * 4_096)
    expect(operations).toBeGreaterThan(20)
    const faults: FlashFault[] = [
      { kind: 'before' },
      { kind: 'torn', bytes: 100, mask: 0x5a },
      { kind: 'half-erased', random },
      { kind: 'after' },
    ]
    for (let cut = 0; cut < operations; cut++) {
      for (const fault of faults) {
        const bench = new Bench()
        const base_ = bench.flash.operations
        bench.flash.onOperation = ({ kind }, index) => {
          if (index - base_ !== cut) return undefined
          const fits = fault.kind === 'torn' ? kind === 'program' : fault.kind !== 'half-erased' || kind === 'erase'
          return fits ? fault : { kind: 'before' }
        }
        let came = 0
        while (!bench.flash.dead && came < bytes.length) {
          came += Math.min(4_096, bytes.length - came)
          bench.apply(artifact, bytes, came - (came % 4_096 || 4_096))
        }
        bench.reset()
        const from = bench.recorded?.offset ?? 0
        expect(came - from).toBeLessThanOrEqual(4_096)
        expect(bench.download(artifact, bytes, from)).toBe(bytes.length - from)
        expect(bench.slot).toBe(release.sha256)
      }
    }
  })

  it('on sectors larger and smaller than a block', () => {
    for (const sectorBytes of [512, 16_384]) {
      const bench = new Bench(sectorBytes)
      bench.apply(artifact, bytes, 0)
      bench.apply(artifact, bytes, 4_096)
      // The third block was begun, and its sector is not as it was.
      bench.apply(artifact, bytes, 8_192)
      bench.reset()
      const from = bench.recorded?.offset ?? 0
      expect(from).toBe(artifact.kind === 'image' && sectorBytes > 4_096 ? 0 : 12_288)
      expect(bench.download(artifact, bytes, from)).toBe(bytes.length - from)
      expect(bench.slot).toBe(release.sha256)
    }
  })
})

describe('a patch is refused', () => {
  const slotBefore = (bench: Bench) => bench.flash.image()
  const untouched = (bench: Bench, before: ReturnType<typeof slotBefore>) => {
    const firstSector = bench.layout.slots[1] / 4_096
    for (let i = 0; i < 8; i++) expect(bench.flash.sector(firstSector + i)).toBe(before.get(firstSector + i))
    expect(sha256Hex(bench.flash.read(bench.layout.slots[0], base.length))).toBe(sha256Hex(base))
  }

  it.each<[string, string, Uint8Array]>([
    ['for another base', 'wrong-base', claiming(noise(21_000), image)],
    ['that says it makes another image', 'contradicts-release', claiming(base, noise(21_000))],
    ['that makes a longer image', 'flash-over-budget', claiming(base, noise(21_001))],
    ['that is none', 'patch-malformed', noise(9_000)],
    ['of another version', 'unknown-schema-version', honest.map((byte, i) => (i === 2 ? 9 : byte))],
    ['shorter than a header', 'patch-truncated', honest.subarray(0, 3)],
  ])('%s: %s, before the first write to the slot', (_, code, bytes) => {
    const bench = new Bench()
    const before = slotBefore(bench)
    expect(bench.download(patchOf(bytes), bytes)).toBe(code)
    untouched(bench, before)
    expect(bench.recorded).toBeUndefined()
  })

  it('when it ends too early, or does not end', () => {
    const early = honest.subarray(0, 9_000)
    expect(new Bench().download(patchOf(early), early)).toBe('patch-truncated')
    const endless = new Uint8Array(honest.length + 40_000)
    endless.set(honest)
    expect(new Bench().download(patchOf(endless), endless)).toBe('patch-malformed')
  })

  it('when its record in flash does not lead to the block, or the base is another one now', () => {
    const artifact = patchOf(honest)
    const bench = new Bench()
    bench.apply(artifact, honest, 0)
    bench.reset()
    const other = { sha256: sha256(image), bytes: image.length }
    expect(bench.apply(artifact, honest, 4_096, { base: other })).toMatchObject({ error: { code: 'wrong-base' } })
    expect(bench.apply(artifact, honest, 8_192)).toMatchObject({ error: { code: 'malformed' } })
    expect(bench.apply(artifact, honest, 4_096)).toMatchObject({ ok: true })
  })
})
