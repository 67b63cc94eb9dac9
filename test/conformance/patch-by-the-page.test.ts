import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bytesToHex, sha256 } from '../../contract/bytes.ts'
import { PATCH_VERSIONS } from '../../contract/patch/patch-header.ts'
import { makePatch } from '../../release/patch/make-patch.ts'
import { applyPatch } from '../fixtures/patch.ts'
import { looseFloats, offsetTables, tunedNetwork } from '../fixtures/patch-models.ts'
import { plannedPatch, plans } from '../fixtures/patch-plans.ts'
import { decodeByThePage } from './patch-second-decoder.ts'

interface Vector {
  readonly name: string
  readonly base: string | null
  readonly patch: string
  readonly sha256: string
}
const VECTORS = PATCH_VERSIONS.flatMap((version) => {
  const url = new URL(`../fixtures/patches-v${version}.json`, import.meta.url)
  const vectors = JSON.parse(readFileSync(url, 'utf8')) as Vector[]
  return vectors.map((vector) => ({ ...vector, name: `${vector.name}, version ${version}` }))
})
const none = new Uint8Array(0)

describe('a decoder that follows docs/patch.md and shares nothing with ours', () => {
  it.each(VECTORS)('makes of the vector what it is a patch of: $name', ({ base, patch, sha256: expected }) => {
    const made = decodeByThePage(Buffer.from(base ?? '', 'base64'), Buffer.from(patch, 'base64'))
    expect(bytesToHex(sha256(made))).toBe(expected)
  })

  it('makes the same of runs of every kind, gain and source', () => {
    fc.assert(
      fc.property(plans, fc.constantFrom(...PATCH_VERSIONS), (plan, version) => {
        const { result, patch } = plannedPatch(plan, version)
        expect(Buffer.from(decodeByThePage(plan.base, patch)).equals(result)).toBe(true)
      }),
      { seed: 13, numRuns: 150 },
    )
  })

  it('makes the same of patches and full images of networks, of bytes, of what does not compress, of nothing', () => {
    const networks = [tunedNetwork(1, 12), tunedNetwork(2, 12)] as const
    const files = [looseFloats(1).subarray(0, 6_000), looseFloats(2).subarray(0, 6_000)] as const
    const noise = Uint8Array.from({ length: 999 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 24)
    const tables = [offsetTables(), offsetTables(64, 12)] as const
    const pairs = [networks, files, tables, [none, networks[0]], [none, noise], [files[0], none]] as const
    for (const version of PATCH_VERSIONS) {
      for (const [base, result] of pairs) {
        const patch = makePatch(base.length > 0 ? base : null, result, { version })
        expect(Buffer.from(decodeByThePage(base, patch)).equals(result)).toBe(true)
      }
    }
  })

  it('and ours agree about patches with a byte changed: what one refuses the other does, else both make the same', () => {
    const [base, result] = [tunedNetwork(1, 8), tunedNetwork(2, 8)]
    const patch = makePatch(base, result)
    for (let at = 60; at < patch.length; at += 97) {
      const damaged = patch.slice()
      damaged[at]! ^= 0x55
      const ours = applyPatch(base, damaged)
      let theirs: Uint8Array | undefined
      try {
        theirs = decodeByThePage(base, damaged)
      } catch {
        theirs = undefined
      }
      expect(theirs === undefined, `byte ${at}`).toBe(!ours.ok)
      if (ours.ok && theirs !== undefined) expect(Buffer.from(theirs).equals(ours.value), `byte ${at}`).toBe(true)
    }
  })
})
