import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import bsdiff from 'bsdiff-node'
import { afterAll, describe, expect, it } from 'vitest'
import { applyBsdiff } from '../../../../cli/patch/bsdiff-apply.ts'
import { Bzip2Error, bunzip2 } from '../../../../cli/patch/bunzip2.ts'
import { seededRandom } from '../../../../contract/random.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-bsdiff-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const MAX = 8 * 1024 * 1024

/** The patch that the C code makes. */
async function patchOf(old: Uint8Array, next: Uint8Array): Promise<Uint8Array> {
  const [a, b, patch] = ['old', 'new', 'patch'].map((name) => join(dir, name)) as [string, string, string]
  writeFileSync(a, old)
  writeFileSync(b, next)
  await bsdiff.diff(a, b, patch)
  return new Uint8Array(readFileSync(patch))
}
const random = seededRandom(7)
const noise = (length: number): Uint8Array => Uint8Array.from({ length }, () => Math.floor(random.next() * 256))
const text = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => 97 + ((i * i) % 7) + ((i >> 6) % 5))

describe('applyBsdiff', () => {
  const changed = (bytes: Uint8Array): Uint8Array => {
    const next = Uint8Array.from([...bytes.subarray(500), ...noise(300), ...bytes.subarray(0, 700)])
    for (let i = 0; i < next.length; i += 17) next[i]! += 3
    return next
  }
  const base = text(20_000)

  it.each<[string, Uint8Array, Uint8Array]>([
    ['from nothing', new Uint8Array(0), text(3_000)],
    ['to nothing', text(3_000), new Uint8Array(0)],
    ['the same', base, base],
    ['a change', base, changed(base)],
    ['noise', noise(5_000), noise(70_000)],
    [
      'runs of 3, 4, 5, 255, 259, 260 and many',
      new Uint8Array(0),
      Uint8Array.from([3, 4, 5, 255, 259, 260, 5_000].flatMap((n, i) => new Array(n).fill(i))),
    ],
    ['one byte', new Uint8Array(0), Uint8Array.of(0)],
    ['zeros beyond a block', new Uint8Array(0), new Uint8Array(2_500_000)],
    ['noise beyond a block of 900 kB', new Uint8Array(0), noise(1_100_000)],
  ])('applies what bsdiff made: %s', async (_, old, next) => {
    const patch = await patchOf(old, next)
    expect(Buffer.from(applyBsdiff(old, patch, MAX)).equals(next)).toBe(true)
  })

  it('refuses what would make too much, before it makes it', async () => {
    const patch = await patchOf(base, changed(base))
    expect(() => applyBsdiff(base, patch, 20_000)).toThrow('it makes 20500 bytes, at most 20000')
  })

  it.each<[string, (patch: DataView) => void, string]>([
    ['negative length of the steps', (p) => p.setUint8(15, 0x80), 'negative'],
    ['negative length of the new file', (p) => p.setUint8(31, 0x80), 'negative'],
    ['endless new file', (p) => p.setUint8(30, 0x7f), 'negative or endless'],
    ['streams beyond the file', (p) => p.setUint8(10, 0xff), 'shorter than its header says'],
    ['a larger new file', (p) => p.setUint8(25, 0xff), 'its steps make'],
    ['no bzip2', (p) => p.setUint8(32, 0), 'no bzip2 data'],
    ['another checksum', (p) => p.setUint8(44, p.getUint8(44) ^ 1), 'checksum'],
  ])('refuses: %s', async (_, damage, words) => {
    const patch = await patchOf(base, changed(base))
    damage(new DataView(patch.buffer))
    expect(() => applyBsdiff(base, patch, MAX)).toThrow(words)
  })

  it('answers any damage with a file of the stated size or an error of its own', async () => {
    const patch = await patchOf(base, changed(base))
    const names = new Set<string>()
    for (let round = 0; round < 3_000; round++) {
      const damaged = patch.slice(0, random.next() < 0.2 ? Math.floor(random.next() * patch.length) : patch.length)
      for (let i = 0; i < 3; i++) damaged[Math.floor(random.next() * damaged.length)] = Math.floor(random.next() * 256)
      try {
        expect(applyBsdiff(base, damaged, MAX).length).toBeLessThanOrEqual(MAX)
      } catch (cause) {
        names.add((cause as Error).name)
      }
    }
    expect([...names]).toEqual(['BsdiffError'])
  })
})

describe('bunzip2', () => {
  it('reads an empty stream', () => {
    const empty = Uint8Array.from([0x42, 0x5a, 0x68, 0x39, 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, 0, 0, 0, 0])
    expect(bunzip2(empty, 10)).toEqual(new Uint8Array(0))
    expect(() => bunzip2(empty.subarray(0, 9), 10)).toThrow(Bzip2Error)
    expect(() =>
      bunzip2(
        empty.map((byte, i) => (i === 13 ? 1 : byte)),
        10,
      ),
    ).toThrow('the checksum of all')
  })

  it('stops a small stream that makes much', async () => {
    const patch = await patchOf(new Uint8Array(0), new Uint8Array(4_000_000))
    const lengths = new DataView(patch.buffer)
    const third = 32 + lengths.getUint32(8, true) + lengths.getUint32(16, true)
    expect(patch.length - third).toBeLessThan(1_000)
    expect(() => bunzip2(patch.subarray(third), 1_000_000)).toThrow('more than 1000000 bytes')
    expect(bunzip2(patch.subarray(third), 4_000_000).length).toBe(4_000_000)
  })
})
