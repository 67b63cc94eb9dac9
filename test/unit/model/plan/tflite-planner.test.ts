import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { ScratchOf } from '../../../../model/plan/tflite-lowering.ts'
import { planTflite, type TflitePlan } from '../../../../model/plan/tflite-planner.ts'
import { readTflite } from '../../../../model/tflite/tflite-reader.ts'
import { int8, table, text } from '../../../fixtures/flatbuffer-builder.ts'
import { hasReferenceData, REFERENCE_DATA } from '../../../fixtures/reference-data.ts'
import { TFLITE_OPS, TfliteBuilder, type TfliteSubgraphBuilder } from '../../../fixtures/tflite-builder.ts'

function planned(file: Uint8Array, scratchOf?: ScratchOf): TflitePlan {
  const model = readTflite(file)
  if (!model.ok) throw new Error(`${model.error.code}: ${model.error.detail}`)
  const plan = planTflite(model.value, scratchOf)
  if (!plan.ok) throw new Error(`${plan.error.code}: ${plan.error.detail}`)
  return plan.value
}

describe.skipIf(!hasReferenceData)('public models (skipped without ../shared/data)', () => {
  const read = (path: string): Buffer => readFileSync(join(REFERENCE_DATA, path))
  /** Bytes that TensorFlow Lite Micro's own allocator took for activations and scratch. */
  const reserved = (path: string): number =>
    (JSON.parse(read(path).toString().split('\n', 1)[0]!) as { nonPersistent: number }).nonPersistent

  it.each([
    ['models/mlperf-tiny-kws-int8.tflite', [24_376, 2_656_768, 16_000, 16_000]],
    ['models/mlperf-tiny-vww-int8.tflite', [219_072, 7_489_664, 55_296, 64_512]],
  ])('%s has the known figures', (path, figures) => {
    const { constantBytes, macs, lowerBoundBytes, arenaBytes } = planned(read(path))
    expect([constantBytes, macs, lowerBoundBytes, arenaBytes]).toEqual(figures)
  })

  const operators = hasReferenceData ? readdirSync(join(REFERENCE_DATA, 'int8-reference/operators')) : []
  it.each(operators.filter((name) => name.endsWith('.tflite')))('%s needs no more than the reference takes', (name) => {
    const path = `int8-reference/operators/${name}`
    expect(planned(read(path)).arenaBytes).toBeLessThanOrEqual(reserved(path.replace('.tflite', '.jsonl')))
  })

  const models = hasReferenceData ? readdirSync(join(REFERENCE_DATA, 'int8-reference/models')) : []
  it.each(models)('%s needs no more than the reference takes', (name) => {
    const stem = name.split('.')[0]!
    const pair = /^(.*)-(new|old)$/.exec(stem)
    const path = pair ? `model-pairs/${pair[1]}/${pair[2]}.tflite` : `models/${stem}.tflite`
    expect(existsSync(join(REFERENCE_DATA, path))).toBe(true)
    const plan = planned(read(path))
    expect(plan.arenaBytes).toBeLessThanOrEqual(reserved(`int8-reference/models/${name}`))
  })
})

type Graph = (main: TfliteSubgraphBuilder, builder: TfliteBuilder) => void

function built(graph: Graph): Uint8Array {
  const builder = new TfliteBuilder()
  graph(builder.subgraph(), builder)
  return builder.model()
}

function refusal(graph: Graph): string {
  const model = readTflite(built(graph))
  if (!model.ok) return model.error.code
  const plan = planTflite(model.value)
  return plan.ok ? 'planned' : `${plan.error.code}: ${plan.error.detail}`
}

/** One tensor of int8 for each name, of so many bytes. */
const activations = (main: TfliteSubgraphBuilder, bytes: Readonly<Record<string, number>>): number[] =>
  Object.entries(bytes).map(([name, count]) => main.tensor({ name, type: 'int8', shape: [1, count] }))
const ints = (...values: number[]): Uint8Array => new Uint8Array(Int32Array.from(values).buffer)
const lives = (plan: TflitePlan): unknown[] =>
  plan.placements.map(({ name, bytes, firstUse, lastUse }) => [name, bytes, firstUse, lastUse])
const { ADD, TANH, RESHAPE, VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE } = TFLITE_OPS

describe('what is in the arena of a TFLite graph, and when', () => {
  it('holds an activation from the kernel that makes it to the last that reads it, a graph output to the end', () => {
    const plan = planned(
      built((main) => {
        activations(main, { x: 100, a: 50, b: 40, unused: 5_000, c: 30, y: 20 })
        main.op(TANH, [0], [1]).op(TANH, [1], [2]).op(ADD, [1, 2], [4]).op(TANH, [4], [5]).ends([0], [2, 5])
      }),
    )
    expect(lives(plan)).toEqual([
      ['x', 100, 0, 0],
      ['a', 50, 0, 2],
      ['b', 40, 1, 3],
      ['c', 30, 2, 3],
      ['y', 20, 3, 3],
    ])
    expect(plan.places[3]).toEqual({ kind: 'unused' })
    expect(plan.lowerBoundBytes).toBe(150)
    expect(plan.steps.map(({ opType, name, operator }) => [opType, name, operator])).toEqual([
      ['TANH', 'a', 0],
      ['TANH', 'b', 1],
      ['ADD', 'c', 2],
      ['TANH', 'y', 3],
    ])
  })

  it('reads a reshaped activation where it is, and copies a reshaped constant or variable', () => {
    const reshaped = (kind: 'activation' | 'constant' | 'variable') =>
      planned(
        built((main) => {
          const from = { type: 'int8', shape: [1, 6] } as const
          main.tensor({ name: 'x', type: 'int8', shape: [1, 6] })
          if (kind === 'activation') main.tensor({ name: 'from', ...from })
          if (kind === 'constant') main.tensor({ name: 'from', ...from, data: Uint8Array.of(1, 2, 3, 4, 5, 6) })
          if (kind === 'variable') main.tensor({ name: 'from', ...from, variable: true })
          main.tensor({ name: 'shape', type: 'int32', shape: [2], data: ints(2, 3) })
          main.tensor({ name: 'view', type: 'int8', shape: [2, 3] })
          main.tensor({ name: 'y', type: 'int8', shape: [2, 3] })
          if (kind === 'activation') main.op(TANH, [0], [1])
          main.op(RESHAPE, [1, 2], [3]).op(TANH, [3], [4]).ends([0], [4])
        }),
      )
    const view = reshaped('activation')
    expect(view.steps.map((step) => step.operator)).toEqual([0, 2])
    expect(view.places[3]).toEqual(view.places[1])
    expect(lives(view)).toContainEqual(['from', 6, 0, 1])
    expect(view.constantBytes).toBe(8)
    const constant = reshaped('constant')
    expect(constant.steps.map((step) => step.opType)).toEqual(['RESHAPE', 'TANH'])
    expect(constant.constantBytes).toBe(6 + 8)
    expect(constant.stateBytes).toBe(0)
    const variable = reshaped('variable')
    expect(variable.steps.map((step) => step.opType)).toEqual(['RESHAPE', 'TANH'])
    expect(variable.states).toEqual([{ name: 'from', bytes: 6, resource: null }])
    expect([variable.stateBytes, variable.constantBytes]).toEqual([6, 8])
  })

  it('lists a resource variable once, whatever handles there are, with the size of what it keeps', () => {
    const handle = table(text('ring'), text('frames'))
    const plan = planned(
      built((main) => {
        activations(main, { x: 24, old: 24, y: 24 })
        for (const name of ['one', 'two']) main.tensor({ name, type: 'resource', shape: [1] })
        main.op(CALL_ONCE, [], []).op(VAR_HANDLE, [], [3], handle).op(VAR_HANDLE, [], [4], handle)
        main.op(READ_VARIABLE, [3], [1]).op(ADD, [0, 1], [2]).op(ASSIGN_VARIABLE, [4, 2], []).ends([0], [2])
      }),
    )
    expect(plan.states).toEqual([{ name: 'frames', bytes: 24, resource: { container: 'ring', sharedName: 'frames' } }])
    expect(plan.places.slice(3)).toEqual([
      { kind: 'state', state: 0 },
      { kind: 'state', state: 0 },
    ])
    expect(plan.steps.map((step) => step.operator)).toEqual([3, 4, 5])
  })

  it('gives the scratch of a kernel a place while that kernel runs', () => {
    const graph = built((main) => {
      activations(main, { x: 16, a: 16, y: 16 })
      main.op(TANH, [0], [1]).op(TANH, [1], [2]).ends([0], [2])
    })
    const plan = planned(graph, (_, index) => (index === 1 ? [1_000, 10] : []))
    expect(plan.scratch).toEqual([
      { operator: 1, buffer: 3 },
      { operator: 1, buffer: 4 },
    ])
    expect(lives(plan).slice(3)).toEqual([
      ['scratch of operator 1', 1_000, 1, 1],
      ['scratch of operator 1', 10, 1, 1],
    ])
    expect([planned(graph).arenaBytes, plan.arenaBytes]).toEqual([32, 1_008 + 16 + 16 + 10])
  })

  it('counts constants that share their bytes once, and those that nobody reads never', () => {
    const plan = planned(
      built((main, builder) => {
        const shared = builder.buffer(new Uint8Array(8))
        activations(main, { x: 8, a: 8, y: 8 })
        main.tensor({ name: 'w', type: 'int8', shape: [1, 8], data: shared })
        main.tensor({ name: 'again', type: 'int8', shape: [8], data: shared })
        main.tensor({ name: 'unread', type: 'int8', shape: [8], data: new Uint8Array(8) })
        main.op(ADD, [0, 3], [1]).op(ADD, [1, 4], [2]).ends([0], [2])
      }),
    )
    expect(plan.constantBytes).toBe(8)
  })

  it('takes the smaller of two orders of buffers of one size, by producer and by number', () => {
    // As MobileNet's first layers: whichever of b and c is placed first decides whether the other fits beside it.
    const chain = (run: readonly string[], numbers: readonly string[]) =>
      built((main) => {
        const bytes: Readonly<Record<string, number>> = { x: 288, b: 192, c: 192, d: 384, y: 16 }
        const at = new Map(numbers.map((name) => [name, activations(main, { [name]: bytes[name]! })[0]!]))
        const ordered = run.map((name) => at.get(name)!)
        for (const [step, tensor] of ordered.slice(1).entries()) main.op(TANH, [ordered[step]!], [tensor])
        main.ends([ordered[0]!], [ordered.at(-1)!])
      })
    const smaller = 288 + 192 + 192
    expect(planned(chain(['x', 'b', 'c', 'd', 'y'], ['x', 'b', 'c', 'd', 'y'])).arenaBytes).toBe(smaller)
    expect(planned(chain(['x', 'b', 'c', 'd', 'y'], ['x', 'c', 'b', 'd', 'y'])).arenaBytes).toBe(smaller)
    expect(planned(chain(['y', 'd', 'c', 'b', 'x'], ['x', 'b', 'c', 'd', 'y'])).arenaBytes).toBe(smaller)
    expect(planned(chain(['y', 'd', 'c', 'b', 'x'], ['y', 'd', 'c', 'b', 'x'])).arenaBytes).toBe(smaller + 96)
  })

  const constant = (main: TfliteSubgraphBuilder, elements: number, bytes = elements) =>
    main.tensor({ name: 'c', type: 'int8', shape: [elements], data: new Uint8Array(bytes) })
  /** Activations of one byte, unless said otherwise, and what is done with them. */
  const over =
    (bytes: Readonly<Record<string, number>>, graph: (main: TfliteSubgraphBuilder) => unknown): Graph =>
    (main) => {
      activations(main, bytes)
      graph(main)
    }
  const { IF } = TFLITE_OPS
  const typed = (type: 'int8' | 'string', shape: readonly number[]): Graph =>
    over({}, (it) => it.ends([it.tensor({ name: 'x', type, shape })], []))

  it.each<[string, Graph, string]>([
    [
      'a tensor read before it is made',
      over({ x: 1, y: 1 }, (it) => it.op(TANH, [1], [0]).ends([], [0])),
      'tflite-bad-graph: tensor 1 "y" is read by TANH (operator 0) before',
    ],
    [
      'a circle',
      over({ x: 1, a: 1, b: 1 }, (it) => it.op(ADD, [0, 2], [1]).op(TANH, [1], [2]).ends([0], [2])),
      'tflite-bad-graph: tensor 2 "b" is read by ADD (operator 0) before',
    ],
    [
      'a tensor made twice',
      over({ x: 1, a: 1 }, (it) => it.op(TANH, [0], [1]).op(TANH, [0], [1]).ends([0], [1])),
      'tflite-bad-graph: tensor 1 "a" is made by TANH (operator 1)',
    ],
    [
      'an input that is made',
      over({ x: 1 }, (it) => it.op(TANH, [0], [0]).ends([0], [0])),
      'tflite-bad-graph: tensor 0 "x" is made by TANH (operator 0)',
    ],
    [
      'an output that nobody makes',
      over({ x: 1, y: 1 }, (it) => it.ends([0], [1])),
      'tflite-bad-graph: tensor 1 "y" is read by an output of the graph',
    ],
    [
      'a constant that is written',
      over({ x: 1 }, (it) => it.op(TANH, [0], [constant(it, 1)]).ends([0], [])),
      'tflite-bad-graph: tensor 1 "c" is made by',
    ],
    [
      'a constant as input',
      over({}, (it) => it.ends([constant(it, 1)], [])),
      'tflite-bad-graph: tensor 0 "c" is an input of the graph and',
    ],
    [
      'a dimension that only the run fixes',
      typed('int8', [-1, 4]),
      'tflite-dynamic-shape: tensor 0 "x" has shape [-1,4]',
    ],
    ['a size beyond any memory', typed('int8', [65_536, 65_536, 65_536]), 'tflite-too-large: tensor 0 "x"'],
    ['strings', typed('string', [1]), 'tflite-unsupported-type: tensor 0 "x"'],
    [
      'data of another size than the shape says',
      over({ x: 4, y: 4 }, (it) => it.op(ADD, [0, constant(it, 4, 1)], [1]).ends([0], [1])),
      'tflite-shape-mismatch: tensor 2 "c" has 1 bytes of data',
    ],
    [
      'a reshape into another size',
      over({ x: 4, y: 5 }, (it) => it.op(RESHAPE, [0], [1]).ends([0], [1])),
      'tflite-shape-mismatch: tensor 1 "y" has 5 bytes',
    ],
    [
      'control flow',
      over({ x: 1, y: 1 }, (it) => it.op(IF, [0], [1]).ends([0], [1])),
      'tflite-unsupported-op: IF (operator 0)',
    ],
    [
      'a variable without a handle',
      over({ x: 1, y: 1 }, (it) => it.op(READ_VARIABLE, [0], [1]).ends([0], [1])),
      'tflite-bad-graph: READ_VARIABLE (operator 0) is not given a variable',
    ],
    [
      'work beyond exact arithmetic',
      over({}, (it) => {
        const [a, b, y] = [1, 2, 3].map((at) => it.tensor({ name: `${at}`, type: 'int8', shape: [1, 2 ** 31 - at] }))
        it.op(TFLITE_OPS.BATCH_MATMUL, [a!, b!], [y!]).ends([a!, b!], [y!])
      }),
      'tflite-too-large: BATCH_MATMUL (operator 0)',
    ],
  ])('refuses %s', (_, graph, expected) => {
    expect(refusal(graph)).toContain(expected)
  })

  it('takes an empty constant, whose buffer has no data, for what it is', () => {
    const scalar = built((main) => {
      main.tensor({ name: 'x', type: 'int8', shape: [1, 1] })
      main.tensor({ name: 'shape', type: 'int32', shape: [0] })
      main.tensor({ name: 'y', type: 'int8', shape: [] })
      main.op(RESHAPE, [0, 1], [2]).ends([0], [2])
    })
    expect(planned(scalar).steps).toEqual([])
  })
})

describe('multiply-accumulates of TFLite operators', () => {
  it.each<[string, number, readonly (readonly number[])[], readonly number[], number]>([
    [
      'CONV_2D',
      3,
      [
        [1, 8, 8, 3],
        [16, 3, 3, 3],
      ],
      [1, 4, 4, 16],
      16 * 16 * 27,
    ],
    [
      'DEPTHWISE_CONV_2D',
      4,
      [
        [1, 8, 8, 3],
        [1, 3, 3, 6],
      ],
      [1, 8, 8, 6],
      64 * 6 * 9,
    ],
    [
      'FULLY_CONNECTED over rows of another shape',
      9,
      [
        [1, 2, 2, 8],
        [5, 16],
      ],
      [2, 5],
      2 * 16 * 5,
    ],
    [
      'SVDF',
      27,
      [
        [1, 5],
        [6, 5],
        [6, 10],
      ],
      [1, 3],
      30 + 60,
    ],
    [
      'UNIDIRECTIONAL_SEQUENCE_LSTM',
      44,
      [[1, 7, 4], ...new Array<number[]>(4).fill([3, 4]), ...new Array<number[]>(4).fill([3, 3])],
      [1, 7, 3],
      7 * 4 * (12 + 9),
    ],
    ['TRANSPOSE_CONV', 67, [[4], [3, 2, 2, 6], [1, 9, 5, 6]], [1, 18, 10, 3], 45 * 4 * 6 * 3],
    [
      'BATCH_MATMUL',
      126,
      [
        [2, 3, 4],
        [2, 4, 5],
      ],
      [2, 3, 5],
      2 * 3 * 4 * 5,
    ],
    [
      'ADD',
      0,
      [
        [1, 8],
        [1, 8],
      ],
      [1, 8],
      0,
    ],
  ])('%s', (_, code, inputs, output, macs) => {
    const plan = planned(
      built((main) => {
        const tensors = inputs.map((shape, index) => main.tensor({ name: `x${index}`, type: 'int8', shape }))
        main
          .op(code, tensors, [main.tensor({ name: 'y', type: 'int8', shape: output })])
          .ends(tensors, [tensors.length])
      }),
    )
    expect(plan.macs).toBe(macs)
  })

  it('follows the transposition of a matrix product', () => {
    const plan = planned(
      built((main) => {
        const [a, b, y] = [
          [4, 3],
          [4, 5],
          [3, 5],
        ].map((shape, at) => main.tensor({ name: `${at}`, type: 'int8', shape }))
        main.op(TFLITE_OPS.BATCH_MATMUL, [a!, b!], [y!], table(int8(1))).ends([a!, b!], [y!])
      }),
    )
    expect(plan.macs).toBe(3 * 4 * 5)
  })
})
