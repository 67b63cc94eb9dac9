import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { planArena } from '../../model/plan/arena-planner.ts'
import type { ActivationBuffer } from '../../model/plan/graph-lowering.ts'
import { planTflite } from '../../model/plan/tflite-planner.ts'
import { readTflite } from '../../model/tflite/tflite-reader.ts'
import { smallTflite, TFLITE_OPS, TfliteBuilder } from '../fixtures/tflite-builder.ts'

interface Node {
  /** of the tensors there are, counted from the newest */
  readonly reads: readonly number[]
  /** bytes of each tensor that it makes */
  readonly makes: readonly number[]
  readonly reshapes: boolean
  readonly scratch: readonly number[]
}

const bytes = fc.integer({ min: 1, max: 3_000 })
const graphs = fc.record({
  inputs: fc.array(bytes, { minLength: 1, maxLength: 3 }),
  nodes: fc.array(
    fc.record<Node>({
      reads: fc.array(fc.nat(12), { minLength: 1, maxLength: 3 }),
      makes: fc.array(bytes, { minLength: 1, maxLength: 2 }),
      reshapes: fc.boolean(),
      scratch: fc.array(bytes, { maxLength: 1 }),
    }),
    { minLength: 1, maxLength: 24 },
  ),
  outputs: fc.array(fc.nat(12), { minLength: 1, maxLength: 2 }),
})
type Graph = typeof graphs extends fc.Arbitrary<infer G> ? G : never

/** The graph as a file, and by definition which tensors share bytes and between which kernels they live. */
function written({ inputs, nodes, outputs }: Graph) {
  const builder = new TfliteBuilder()
  const main = builder.subgraph()
  const lives: { bytes: number; firstUse: number; lastUse: number; tensors: number[] }[] = []
  const homes: number[] = []
  const make = (count: number, step: number): number => {
    const tensor = main.tensor({ name: `t${homes.length}`, type: 'int8', shape: [count] })
    homes.push(lives.push({ bytes: count, firstUse: step, lastUse: step, tensors: [tensor] }) - 1)
    return tensor
  }
  const newest = (back: number): number => homes.length - 1 - (back % homes.length)
  const entries = inputs.map((count) => make(count, 0))
  let step = 0
  const scratches: { bytes: number; step: number }[] = []
  const scratchOf = new Map<number, readonly number[]>()
  for (const [index, { reads, makes, reshapes, scratch }] of nodes.entries()) {
    const from = reads.map(newest)
    if (reshapes) {
      const home = lives[homes[from[0]!]!]!
      const view = main.tensor({ name: `t${homes.length}`, type: 'int8', shape: [1, home.bytes] })
      home.tensors.push(view)
      homes.push(homes[from[0]!]!)
      main.op(TFLITE_OPS.RESHAPE, [from[0]!], [view])
      continue
    }
    for (const tensor of from) lives[homes[tensor]!]!.lastUse = step
    main.op(
      TFLITE_OPS.ADD,
      from,
      makes.map((count) => make(count, step)),
    )
    scratchOf.set(index, scratch)
    for (const count of scratch) scratches.push({ bytes: count, step })
    step++
  }
  const exits = outputs.map(newest)
  for (const tensor of exits) lives[homes[tensor]!]!.lastUse = Math.max(0, step - 1)
  main.ends(entries, exits)
  const expected = [
    ...lives.map(({ bytes: count, firstUse, lastUse }) => ({ bytes: count, firstUse, lastUse })),
    ...scratches.map(({ bytes: count, step: at }) => ({ bytes: count, firstUse: at, lastUse: at })),
  ]
  return { file: builder.model(), expected, scratchOf, lives }
}

const together = (a: ActivationBuffer, b: ActivationBuffer) => a.firstUse <= b.lastUse && b.firstUse <= a.lastUse

/** The greedy rule word by word: largest first, each at the lowest multiple of 16 where it meets nothing that lives with it. */
function slowOffsets(buffers: readonly ActivationBuffer[]): number[] {
  const offsets = new Array<number>(buffers.length).fill(-1)
  const order = buffers.map((_, index) => index)
  // Insertion keeps equal sizes in their order.
  for (let i = 1; i < order.length; i++) {
    for (let j = i; j > 0 && buffers[order[j]!]!.bytes > buffers[order[j - 1]!]!.bytes; j--) {
      ;[order[j - 1], order[j]] = [order[j]!, order[j - 1]!]
    }
  }
  for (const index of order) {
    const meets = (offset: number) =>
      buffers.some(
        (other, at) =>
          offsets[at]! >= 0 &&
          together(other, buffers[index]!) &&
          offset < offsets[at]! + other.bytes &&
          offsets[at]! < offset + buffers[index]!.bytes,
      )
    let offset = 0
    while (meets(offset)) offset += 16
    offsets[index] = offset
  }
  return offsets
}

describe('plans of random TFLite graphs', () => {
  it('know who lives when, never overlap, and are what the greedy rule says of one of two orders', () => {
    fc.assert(
      fc.property(graphs, (graph) => {
        const { file, expected, scratchOf, lives } = written(graph)
        const model = readTflite(file)
        if (!model.ok) throw new Error(model.error.detail)
        const planned = planTflite(model.value, (_, index) => scratchOf.get(index) ?? [])
        if (!planned.ok) throw new Error(planned.error.detail)
        const { placements, places, lowerBoundBytes, arenaBytes } = planned.value
        expect(placements.map((it) => ({ bytes: it.bytes, firstUse: it.firstUse, lastUse: it.lastUse }))).toEqual(
          expected,
        )
        for (const [buffer, { tensors }] of lives.entries()) {
          for (const tensor of tensors) expect(places[tensor]).toEqual({ kind: 'arena', buffer })
        }
        for (const [index, a] of placements.entries()) {
          expect(a.offset % 16).toBe(0)
          for (const b of placements.slice(0, index)) {
            if (together(a, b)) expect(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset).toBe(true)
          }
        }
        const live = (step: number) =>
          expected.reduce((sum, it) => (it.firstUse <= step && step <= it.lastUse ? sum + it.bytes : sum), 0)
        expect(lowerBoundBytes).toBe(Math.max(...expected.map((_, at) => live(expected[at]!.firstUse))))
        expect(arenaBytes).toBeGreaterThanOrEqual(lowerBoundBytes)
        const end = (offsets: readonly number[]) =>
          Math.max(...offsets.map((offset, at) => offset + expected[at]!.bytes))
        expect(arenaBytes).toBe(end(placements.map((it) => it.offset)))
        const producers = slowOffsets(placements)
        expect(planArena(placements).placements.map((it) => it.offset)).toEqual(producers)
        // As TensorFlow Lite Micro sorts: here tensors are numbered as they are made, so only the rounded sizes differ.
        const rounded = slowOffsets(placements.map((it) => ({ ...it, bytes: Math.ceil(it.bytes / 16) * 16 })))
        expect(arenaBytes).toBe(Math.min(end(producers), end(rounded)))
      }),
      { numRuns: 400 },
    )
  })

  it('refuse or plan a damaged file, and never throw', () => {
    const file = smallTflite()
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(file.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        (damage) => {
          const damaged = file.slice()
          for (const [at, value] of damage) damaged[at] = value
          const model = readTflite(damaged)
          if (!model.ok) return
          const plan = planTflite(model.value)
          if (plan.ok) expect(plan.value.arenaBytes).toBeGreaterThanOrEqual(plan.value.lowerBoundBytes)
          else expect(plan.error.code).toMatch(/^tflite-/)
        },
      ),
      { numRuns: 400 },
    )
  })
})
