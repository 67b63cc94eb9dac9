import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sha256 } from '../../contract/bytes.ts'
import { bytesOfNumber, GAIN_ONE, NUMBER_KINDS, type NumberRun } from '../../contract/patch/number-run.ts'
import { encodePatchHeader, sha256Half } from '../../contract/patch/patch-header.ts'
import type { ChannelPlan } from '../../contract/patch/patch-integers.ts'
import { PATCH_MEMORY } from '../../contract/patch/patch-layout.ts'
import { makePatch } from '../../release/patch/make-patch.ts'
import { type Copy, PatchWriter } from '../../release/patch/patch-writer.ts'
import { RangeEncoder } from '../../release/patch/range-encoder.ts'
import { applyPatch } from '../fixtures/patch.ts'
import { tunedNetwork } from '../fixtures/patch-models.ts'

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.from(a).equals(b)

function roundTrip(base: Uint8Array | null, result: Uint8Array, blockBytes = 4_096, pageBytes = 512): Uint8Array {
  const patch = makePatch(base, result)
  const made = applyPatch(base, patch, { blockBytes, pageBytes, interrupted: blockBytes % 2 === 1 })
  expect(made.ok && same(made.value, result)).toBe(true)
  expect(patch.length).toBeLessThanOrEqual(result.length + 24)
  return patch
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

/** Runs of every kind, of any numbers from any source: more than the planner would ever choose. */
const plans = fc.record({
  base: fc.uint8Array({ minLength: 64, maxLength: 400 }),
  parts: fc.array(
    fc.record({
      before: fc.uint8Array({ maxLength: 20 }),
      kind: fc.constantFrom(...NUMBER_KINDS),
      count: fc.integer({ min: 1, max: 40 }),
      source: fc.constantFrom('none', 'base', 'result'),
      at: fc.nat(),
      channel: fc.nat({ max: 9 }),
      local: fc.boolean(),
      center: fc.nat({ max: 255 }),
      exponent: fc.nat({ max: 255 }),
      gain: fc.constantFrom(GAIN_ONE, 0x3f00_0000, 0x42fe_0000, 0x7f80_0001, 0x8000_0000, 1),
      modes: fc.array(fc.constantFrom<ChannelPlan>('same', 'zero', 0, 63, 31), { minLength: 40, maxLength: 40 }),
      near: fc.boolean(),
      numbers: fc.uint8Array({ minLength: 160, maxLength: 160 }),
    }),
    { minLength: 1, maxLength: 6 },
  ),
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
      fc.property(plans, ({ base, parts }) => {
        const pieces: Uint8Array[] = []
        let length = 0
        const runs: { at: number; run: NumberRun; channels: ChannelPlan[] }[] = []
        const stretches: { from: number; end: number }[] = []
        for (const part of parts) {
          const { kind, local } = part
          const floats = kind.includes('float')
          const width = bytesOfNumber(kind)
          const room = part.source === 'none' ? Number.POSITIVE_INFINITY : part.source === 'base' ? base.length : length
          const source = room >= width ? part.source : 'none'
          const count = source === 'none' ? part.count : Math.min(part.count, Math.floor(room / width))
          const bytes = count * width
          stretches.push({ from: length, end: length + part.before.length })
          pieces.push(part.before)
          const limit = source === 'base' ? base.length : length
          length += part.before.length
          const offset = source === 'none' ? 0 : part.at % (limit - bytes + 1)
          const int8 = kind === 'int8'
          const run: NumberRun = {
            kind,
            count,
            source,
            offset,
            center: int8 ? part.center : 0,
            channel: int8 ? part.channel : 0,
            local: int8 && local,
            exponent: floats ? part.exponent : 0,
            zeroBits: 0,
            gain: kind === 'float32' && source !== 'none' ? part.gain : 0,
          }
          const made = new Uint8Array(Buffer.concat([base, ...pieces]))
          const from = offset + (source === 'result' ? base.length : 0)
          const near = source !== 'none' && part.near
          const numbers = part.numbers.slice(0, bytes)
          if (near) for (let i = 0; i < bytes; i++) numbers[i] = made[from + i]! + (i % 5 === 0 ? numbers[i]! % 3 : 0)
          runs.push({ at: length, run, channels: part.modes })
          pieces.push(numbers)
          length += bytes
        }
        const result = new Uint8Array(Buffer.concat(pieces))
        const space = new Uint8Array(Buffer.concat([base, result]))
        const { bits, slots } = PATCH_MEMORY.numbers
        const coder = new RangeEncoder(bits)
        const writer = new PatchWriter(coder, space, base.length, slots)
        const none: Copy[] = []
        for (const [i, { from, end }] of stretches.entries()) {
          writer.stretch(from, end, none)
          writer.run(runs[i]!)
        }
        const image = (bytes: Uint8Array) => ({ bytes: bytes.length, sha256Half: sha256Half(sha256(bytes)) })
        const header = encodePatchHeader({ method: 'numbers', base: image(base), result: image(result) })
        const patch = new Uint8Array(Buffer.concat([header, coder.finish()]))
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
    const honest = [makePatch(old, next), makePatch(null, next)]
    const change = fc.record({
      at: fc.double({ min: 0, max: 0.999, noNaN: true }),
      byte: fc.nat({ max: 255 }),
      cut: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.nat({ max: 1 }), fc.array(change, { minLength: 1, maxLength: 4 }), (which, changes) => {
        let patch = honest[which]!.slice()
        for (const { at, byte, cut } of changes) {
          const index = Math.floor(at * patch.length)
          if (cut) patch = patch.slice(0, index + 1)
          else patch[index] = byte
        }
        const made = applyPatch(which === 0 ? old : null, patch, { maxResultBytes: next.length })
        if (!made.ok) return
        expect(made.value.length).toBeLessThanOrEqual(next.length)
        const isHonest = same(patch, honest[which]!)
        if (same(made.value, next) && !isHonest) expect(patch.length).toBeGreaterThan(honest[which]!.length - 5)
      }),
      { numRuns: 400 },
    )
  })
})
