import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { CloudApi } from '../../../../cli/cloud-api.ts'
import { KeptPatches } from '../../../../cli/release/kept-patches.ts'
import { basesInCloud, makePatches, patchLines, repeatPatches } from '../../../../cli/release/release-patches.ts'
import { sha256, sha256Hex } from '../../../../contract/bytes.ts'
import { LIMITS } from '../../../../contract/limits.ts'
import { PatchDecoder } from '../../../../contract/patch/patch-decoder.ts'
import { seededRandom } from '../../../../contract/random.ts'
import { releaseSample } from '../../../fixtures/documents.ts'
import { offsetTables } from '../../../fixtures/patch-models.ts'

const random = seededRandom(3)
const noise = (length: number) => Uint8Array.from({ length }, () => Math.floor(random.next() * 256))
const changed = (bytes: Uint8Array, every: number) => bytes.map((byte, i) => (i % every === 0 ? byte ^ 1 : byte))
/** half of it compresses */
const bundle = Uint8Array.from([...noise(3_000), ...new Uint8Array(3_000)])
const older = { name: 'kws-1 1', bundle: changed(bundle, 100) }
const stranger = { name: 'another 1', bundle: noise(6_000) }

const applied = (base: Uint8Array | null, patch: Uint8Array): string => {
  const out = new Uint8Array(bundle.length)
  const decoder = new PatchDecoder(
    { pageBytes: 4_096, maxResultBytes: bundle.length, base: base && { bytes: base.length, sha256: sha256(base) } },
    {
      readBase: (at, into) => into.set(base!.subarray(at, at + into.length)),
      readResult: (at, into) => into.set(out.subarray(at, at + into.length)),
      writePage: (at, page) => {
        out.set(page, at)
        return { ok: true, value: undefined }
      },
    },
  )
  const pushed = decoder.push(patch, true)
  return pushed.ok ? sha256Hex(out) : pushed.error.code
}

describe('the patches of a release', () => {
  it('are those smaller than the compact full image, and that one where it is smaller than the bundle', () => {
    const patches = makePatches(bundle, [stranger, older, older, { name: 'itself', bundle }])
    expect(patches.map(({ from, base }) => [from, base])).toEqual([
      ['kws-1 1', sha256Hex(older.bundle)],
      ['no base', null],
    ])
    const [patch, compact] = patches
    expect(patch!.bytes).toBeLessThan(compact!.bytes)
    expect(compact!.bytes).toBeLessThan(bundle.length)
    expect([applied(older.bundle, patch!.data), applied(null, compact!.data)]).toEqual([
      sha256Hex(bundle),
      sha256Hex(bundle),
    ])
    for (const { data, sha256: hash, bytes } of patches) expect([sha256Hex(data), data.length]).toEqual([hash, bytes])
    // Nothing saves anything on bytes that have no pattern.
    expect(makePatches(noise(3_000), [stranger])).toEqual([])
  })

  it('are of both versions where the second saves more than its entry takes, and of the first alone elsewhere', () => {
    const [tables, moved] = [offsetTables(), offsetTables(64, 12)]
    const told: number[] = []
    const patches = makePatches(moved, [{ name: 'tables 1', bundle: tables }], (share) => told.push(share))
    expect(patches.map(({ version, from }) => [version, from])).toEqual([
      [1, 'tables 1'],
      [1, 'no base'],
      [2, 'tables 1'],
    ])
    const [first, , second] = patches
    expect(second!.bytes + 180).toBeLessThan(first!.bytes)
    expect(second!.base).toBe(first!.base)
    for (const { version, data } of patches) expect(data[2]).toBe(version)
    expect(patchLines(patches, moved.length)[3]).toMatch(/^tables 1 \(version 2\) +\d+/)
    expect(told).toEqual([...told].sort((a, b) => a - b))
    expect(told.at(-1)).toBe(1)
    expect(makePatches(bundle, [older]).map(({ version }) => version)).toEqual([1, 1])
  })

  it('are at most 16, of the newest bases', () => {
    const small = noise(600)
    const bases = Array.from({ length: 20 }, (_, i) => ({ name: `${i}`, bundle: changed(small, 50 + i) }))
    const patches = makePatches(Uint8Array.from([...small, 1]), bases)
    expect(patches.length).toBeLessThanOrEqual(LIMITS.releasePatches)
    expect(patches.map(({ from }) => from)).toEqual(Array.from({ length: 15 }, (_, i) => `${i + 5}`))
  })

  it('are shown with their share', () => {
    const lines = patchLines(makePatches(bundle, [older]), bundle.length)
    expect(lines).toHaveLength(3)
    expect(lines[1]).toMatch(/^kws-1 1 +\d+ +\d+\.\d %$/)
    expect(patchLines([], 10)).toEqual(['no patch is smaller than the bundle'])
  })
})

/** A cloud that has these bundles. */
const cloudOf = (bundles: readonly Uint8Array[], answers: Record<string, unknown>) =>
  ({
    get: async (path: string) => answers[path],
    getBytes: async (path: string) => bundles.find((each) => path.endsWith(sha256Hex(each))) ?? noise(5),
  }) as unknown as CloudApi

describe('with the cloud', () => {
  it('bases are the releases of the family that are not archived, and really those', async () => {
    const model = (name: string, state: string, bytes: Uint8Array) => ({
      name,
      version: 1,
      state,
      sha256: sha256Hex(bytes),
    })
    const models = [
      model('kws-0', 'archived', noise(9)),
      model('kws-1', 'production', older.bundle),
      model('dog-1', 'staging', stranger.bundle),
    ]
    const api = cloudOf([older.bundle, stranger.bundle], {})
    const ofFamily = models.filter(({ name }) => name.startsWith('kws'))
    expect(await basesInCloud(api, ofFamily)).toEqual([older])
    const lying = cloudOf([], {})
    await expect(basesInCloud(lying, models)).rejects.toThrow(/another file/)
  })

  it('a release that is added again gets the patches it was signed with, those that are missing', async () => {
    const patches = makePatches(bundle, [older])
    const named = patches.map(({ base, sha256: hash, bytes }) => ({ base, sha256: hash, bytes }))
    const release = { release: { ...releaseSample, patches: named }, later: [] as typeof named }
    const path = `/v1/models/${releaseSample.name}/${releaseSample.version}/patches`
    const listed = (stored: boolean[]) => ({
      [path]: { patches: named.map((each, i) => ({ ...each, stored: stored[i] })) },
    })
    let kept = (_: string): Uint8Array | undefined => undefined
    const repeat = async (stored: boolean[], of = release) =>
      (await repeatPatches(bundle, of, cloudOf([older.bundle], listed(stored)), kept)).map(({ sha256: hash }) => hash)
    expect(await repeat([false, false])).toEqual(named.map(({ sha256: hash }) => hash))
    expect(await repeat([false, true])).toEqual([named[0]!.sha256])
    const signed = (patch: (typeof named)[number]) => ({ ...release, release: { ...releaseSample, patches: [patch] } })
    const other = signed({ ...named[0]!, sha256: '00'.repeat(32) })
    await expect(repeat([false, false], other)).rejects.toThrow(/cannot be made again/)
    // The second list is made again in its own version.
    const bothNamed = makePatches(offsetTables(64, 12), [{ name: 'tables 1', bundle: offsetTables() }]).map(
      ({ base, sha256: hash, bytes }) => ({ base, sha256: hash, bytes }),
    )
    const twice = { release: { ...releaseSample, patches: bothNamed.slice(0, 2) }, later: bothNamed.slice(2) }
    const missing = { [path]: { patches: bothNamed.map((each) => ({ ...each, stored: false })) } }
    const again = await repeatPatches(offsetTables(64, 12), twice, cloudOf([offsetTables()], missing), kept)
    expect(again.map(({ version }) => version)).toEqual([1, 1, 2])
    expect(again.map(({ sha256: hash }) => hash)).toEqual(bothNamed.map(({ sha256: hash }) => hash))
    // An encoder of before made other bytes; they were kept.
    const earlier = noise(99)
    const folder = mkdtempSync(join(tmpdir(), 'kinglet-kept-patches-'))
    const shelf = new KeptPatches(folder)
    const madeThen = { ...patches[0]!, sha256: sha256Hex(earlier), bytes: earlier.length, data: earlier }
    shelf.keep([madeThen])
    kept = (hash) => new KeptPatches(folder).get(hash)
    const signedThen = signed({ ...named[0]!, sha256: madeThen.sha256, bytes: 99 })
    expect(await repeat([false], signedThen)).toEqual([madeThen.sha256])
    // One that rotted counts as none.
    writeFileSync(join(folder, 'patches', madeThen.sha256), noise(99))
    await expect(repeat([false], signedThen)).rejects.toThrow(/cannot be made again/)
    shelf.drop([madeThen.sha256])
    expect(readdirSync(join(folder, 'patches'))).toEqual([])
    rmSync(folder, { recursive: true })
  })
})
