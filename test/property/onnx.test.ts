import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readOnnx } from '../../model/onnx/onnx-reader.ts'
import { planArena, planModel, RUNTIME_COSTS } from '../../model/plan/arena-planner.ts'
import { OnnxBuilder, rawData } from '../fixtures/onnx-builder.ts'
import { keywordNetwork } from '../fixtures/onnx-networks.ts'

const buffers = fc.array(
  fc
    .record({ bytes: fc.nat(5_000), firstUse: fc.nat(20), length: fc.nat(6) })
    .map(({ bytes, firstUse, length }) => ({ name: 'b', bytes, firstUse, lastUse: firstUse + length })),
  { maxLength: 40 },
)

describe('arena planner', () => {
  it('never lets two live buffers share a byte, aligns every offset, and stays between its bounds', () => {
    fc.assert(
      fc.property(buffers, (given) => {
        const plan = planArena(given)
        expect(plan.placements).toHaveLength(given.length)
        for (const [index, a] of plan.placements.entries()) {
          expect(a).toMatchObject(given[index]!)
          expect(a.offset % RUNTIME_COSTS.alignmentBytes).toBe(0)
          for (const b of plan.placements.slice(0, index)) {
            const together = a.firstUse <= b.lastUse && b.firstUse <= a.lastUse
            const apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset
            if (together && a.bytes > 0 && b.bytes > 0) expect(apart).toBe(true)
          }
        }
        // By definition rather than by the sweep of the implementation.
        const live = (step: number) =>
          given.reduce((sum, it) => (it.firstUse <= step && step <= it.lastUse ? sum + it.bytes : sum), 0)
        expect(plan.lowerBoundBytes).toBe(Math.max(0, ...Array.from({ length: 27 }, (_, step) => live(step))))
        expect(plan.arenaBytes).toBeGreaterThanOrEqual(plan.lowerBoundBytes)
        const separate = given.reduce((sum, it) => sum + Math.ceil(it.bytes / 16) * 16, 0)
        expect(plan.arenaBytes).toBeLessThanOrEqual(separate)
        expect(planArena(given)).toEqual(plan)
      }),
    )
  })
})

describe('reader on hostile bytes', () => {
  const file = keywordNetwork()
  // The head of the file is structure; uniformly chosen positions would mostly fall into weights.
  const position = fc.oneof(fc.nat(file.length - 1), fc.nat(1_500))

  it('refuses or reads a damaged file, and never throws', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(position, fc.nat(255)), { minLength: 1, maxLength: 8 }), (damage) => {
        const bytes = file.slice()
        for (const [at, value] of damage) bytes[at] = value
        const plan = planModel(bytes)
        if (plan.ok) {
          expect(Number.isSafeInteger(plan.value.arenaBytes)).toBe(true)
          expect(plan.value.arenaBytes).toBeGreaterThanOrEqual(plan.value.lowerBoundBytes)
        } else expect(plan.error.code).toMatch(/^onnx-/)
      }),
      { numRuns: 400 },
    )
  })

  it('refuses or reads a file with a piece cut out or doubled, and random bytes', () => {
    fc.assert(
      fc.property(position, fc.nat(64), fc.boolean(), (at, length, doubled) => {
        const end = Math.min(file.length, at + length)
        const bytes = new Uint8Array([...file.subarray(0, doubled ? end : at), ...file.subarray(doubled ? at : end)])
        const plan = planModel(bytes)
        if (!plan.ok) expect(plan.error.code).toMatch(/^onnx-/)
      }),
      { numRuns: 60 },
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(readOnnx(bytes)).toHaveProperty('ok')
      }),
    )
  })

  it('gives back every initializer that was written, where the range says', () => {
    const values = fc.array(fc.integer({ min: -128, max: 127 }), { maxLength: 40 })
    fc.assert(
      fc.property(fc.array(values, { maxLength: 8 }), (tensors) => {
        const builder = new OnnxBuilder()
        for (const tensor of tensors) builder.constant('int8', [tensor.length], tensor)
        const bytes = builder.model()
        const model = readOnnx(bytes)
        if (!model.ok) throw new Error(model.error.detail)
        expect(model.value.graph.initializers).toHaveLength(tensors.length)
        for (const [index, { range, data }] of model.value.graph.initializers.entries()) {
          const expected = rawData('int8', tensors[index]!)
          expect(data).toEqual(expected)
          expect(bytes.slice(range!.offset, range!.offset + range!.length)).toEqual(expected)
        }
      }),
    )
  })
})
