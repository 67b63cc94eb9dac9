import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PATCH_VERSIONS } from '../../contract/patch/patch-header.ts'
import { makePatch } from '../../release/patch/make-patch.ts'
import { applyPatch } from '../fixtures/patch.ts'
import { tunedNetwork } from '../fixtures/patch-models.ts'
import { plannedPatch, plans } from '../fixtures/patch-plans.ts'

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.from(a).equals(b)

function roundTrip(base: Uint8Array | null, result: Uint8Array, blockBytes = 4_096, pageBytes = 512): Uint8Array {
  const [, patch] = PATCH_VERSIONS.map((version) => {
    const patch = makePatch(base, result, { version })
    const made = applyPatch(base, patch, { blockBytes, pageBytes, interrupted: blockBytes % 2 === 1 })
    expect(made.ok && same(made.value, result)).toBe(true)
    expect(patch.length).toBeLessThanOrEqual(result.length + 24)
    return patch
  })
  return patch!
}

/** A file made of pieces of another, with changes: what versions of anything look like. */
const versions = fc
  .record({
    base: fc.uint8Array({ maxLength: 2_000 }),
    pieces: fc.array(
      fc.record({
        from: fc.nat({ max: 2_000 }),
        length: fc.nat({ max: 600 }),
        step: fc.integer({ min: -3, max: 3 }),
        fresh: fc.uint8Array({ maxLength: 30 }),
      }),
      { maxLength: 8 },
    ),
  })
  .map(({ base, pieces }) => {
    const parts = pieces.map(({ from, length, step, fresh }) =>
      Buffer.concat([base.slice(from, from + length).map((byte, i) => byte + (i % 7 === 0 ? step : 0)), fresh]),
    )
    return { base, result: new Uint8Array(Buffer.concat(parts)) }
  })

describe('a patch', () => {
  it('makes any result from any base', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3_000 }), fc.uint8Array({ maxLength: 3_000 }), (base, result) => {
        roundTrip(base, result)
        roundTrip(null, result)
      }),
      { numRuns: 40 },
    )
  })

  it('makes versions both ways, whatever the blocks', () => {
    fc.assert(
      fc.property(versions, fc.integer({ min: 1, max: 300 }), ({ base, result }, blockBytes) => {
        roundTrip(base, result, blockBytes, 64)
        roundTrip(result, base, blockBytes, 64)
      }),
      { numRuns: 60 },
    )
  })

  it('makes empty files and equal ones of next to nothing', () => {
    const network = tunedNetwork(1)
    const empty = new Uint8Array(0)
    for (const base of [null, empty, network]) expect(roundTrip(base, empty).length).toBeLessThan(48)
    roundTrip(empty, network)
    expect(roundTrip(network, network).length).toBeLessThan(56)
  })

  it('codes numbers of every kind from every source', () => {
    fc.assert(
      fc.property(plans, fc.constantFrom(...PATCH_VERSIONS), ({ base, parts }, version) => {
        const { result, patch } = plannedPatch({ base, parts }, version)
        for (const interrupted of [false, true]) {
          const applied = applyPatch(base, patch, { pageBytes: 32, blockBytes: 61, interrupted })
          expect(applied.ok && same(applied.value, result)).toBe(true)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('that was changed ends, within its slot, with an error or with another image', () => {
    const [old, next] = [tunedNetwork(1), tunedNetwork(2)]
    const honest = [makePatch(old, next), makePatch(null, next), makePatch(old, next, { version: 1 })]
    const change = fc.record({
      at: fc.double({ min: 0, max: 0.999, noNaN: true }),
      byte: fc.nat({ max: 255 }),
      cut: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.nat({ max: 2 }), fc.array(change, { minLength: 1, maxLength: 4 }), (which, changes) => {
        let patch = honest[which]!.slice()
        for (const { at, byte, cut } of changes) {
          const index = Math.floor(at * patch.length)
          if (cut) patch = patch.slice(0, index + 1)
          else patch[index] = byte
        }
        const made = applyPatch(which === 1 ? null : old, patch, { maxResultBytes: next.length })
        if (!made.ok) return
        expect(made.value.length).toBeLessThanOrEqual(next.length)
        const isHonest = same(patch, honest[which]!)
        if (same(made.value, next) && !isHonest) expect(patch.length).toBeGreaterThan(honest[which]!.length - 5)
      }),
      { numRuns: 400 },
    )
  })
})
