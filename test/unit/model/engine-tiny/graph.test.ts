import { describe, expect, it } from 'vitest'
import { loadTiny, type TinyGraph, type TinyOptions } from '../../../../model/engine-tiny/graph.ts'
import { GuardedRun } from '../../../../model/engine-tiny/guarded-run.ts'
import { int8, int32, table, text } from '../../../fixtures/flatbuffer-builder.ts'
import { operatorVectors } from '../../../fixtures/int8-operators.ts'
import { type BuiltTensor, TFLITE_OPS, TfliteBuilder } from '../../../fixtures/tflite-builder.ts'

const load = (file: Uint8Array, options?: TinyOptions): TinyGraph => {
  const loaded = loadTiny(file, options)
  if (!loaded.ok) throw new Error(`${loaded.error.code}: ${loaded.error.detail}`)
  return loaded.value
}
const refusal = (file: Uint8Array, options?: TinyOptions): string => {
  const loaded = loadTiny(file, options)
  return loaded.ok ? 'loaded' : `${loaded.error.code}: ${loaded.error.detail}`
}
const run = (graph: TinyGraph, ...inputs: readonly (readonly number[])[]): number[] => {
  for (const [at, input] of inputs.entries()) graph.inputBytes(at).set(new Uint8Array(Int8Array.from(input).buffer))
  graph.run()
  return [...new Int8Array(Uint8Array.from(graph.outputBytes(0)).buffer)]
}

const bytes = (...values: number[]): Uint8Array => new Uint8Array(Int8Array.from(values).buffer)
const words = (...values: number[]): Uint8Array => new Uint8Array(Int32Array.from(values).buffer)
const unit = (zeroPoint = 0) => ({ scales: [1], zeroPoints: [zeroPoint] })
const OPS = {
  ...TFLITE_OPS,
  PAD: 34,
  SQUEEZE: 43,
  STRIDED_SLICE: 45,
  PADV2: 60,
  EXPAND_DIMS: 70,
  CONCATENATION: 2,
  MAX_POOL_2D: 17,
}

/** A graph of one operator: the first tensor is the input, the last the output. */
const single = (code: number, tensors: readonly Partial<BuiltTensor>[], options = table()): Uint8Array => {
  const builder = new TfliteBuilder()
  const main = builder.subgraph()
  const made = tensors.map((tensor, at) =>
    main.tensor({
      name: `t${at}`,
      type: 'int8',
      shape: [1],
      ...(tensor.type === 'int32' ? {} : { quantization: unit() }),
      ...tensor,
    }),
  )
  const output = made.at(-1)!
  main.op(code, made.slice(0, -1), [output], options).ends([made[0]!], [output])
  return builder.model()
}

/** What went in last comes out, or at first what was assigned, or else the zero point. */
const delay = (initial: Uint8Array | null): Uint8Array => {
  const builder = new TfliteBuilder()
  const main = builder.subgraph()
  const variable = table(text(''), text('memory'))
  const handle = main.tensor({ name: 'handle', type: 'resource', shape: [] })
  const x = main.tensor({ name: 'x', type: 'int8', shape: [1, 3], quantization: unit(7) })
  const y = main.tensor({ name: 'y', type: 'int8', shape: [1, 3], quantization: unit(7) })
  if (initial !== null) main.op(OPS.CALL_ONCE, [], [], table(int32(1)))
  main.op(OPS.VAR_HANDLE, [], [handle], variable).op(OPS.READ_VARIABLE, [handle], [y])
  main.op(OPS.ASSIGN_VARIABLE, [handle, x], []).ends([x], [y])
  if (initial !== null) {
    const init = builder.subgraph('init')
    const own = init.tensor({ name: 'handle', type: 'resource', shape: [] })
    const value = init.tensor({ name: 'value', type: 'int8', shape: [1, initial.length], data: initial })
    init.op(OPS.VAR_HANDLE, [], [own], variable).op(OPS.ASSIGN_VARIABLE, [own, value], []).ends([], [])
  }
  return builder.model()
}

describe('variables', () => {
  it.each([
    ['what the subgraph of CALL_ONCE assigns', bytes(1, 2, 3), [1, 2, 3]],
    ['the zero point where nothing does', null, [7, 7, 7]],
  ])('start as %s, keep what is assigned, and are saved, restored and reset', (_, initial, first) => {
    const graph = load(delay(initial), { guard: 0xa5 })
    expect(graph.memory.stateBytes).toBe(16)
    expect(run(graph, [4, 5, 6])).toEqual(first)
    expect(run(graph, [-1, -2, -3])).toEqual([4, 5, 6])
    const saved = graph.saveState()
    expect(run(graph, [0, 0, 0])).toEqual([-1, -2, -3])
    graph.restoreState(saved)
    expect(run(graph, [9, 9, 9])).toEqual([-1, -2, -3])
    graph.resetState()
    expect(run(graph, [0, 0, 0])).toEqual(first)
  })

  it('refuses an initial value of another size, and a subgraph that computes', () => {
    expect(refusal(delay(bytes(1, 2)))).toBe('tiny-malformed: node 0, CALL_ONCE: "memory" is given 2 bytes, it has 3')
    const builder = new TfliteBuilder()
    const main = builder.subgraph()
    const x = main.tensor({ name: 'x', type: 'int8', shape: [1] })
    main.op(OPS.CALL_ONCE, [], [], table(int32(1))).ends([x], [x])
    const init = builder.subgraph('init')
    const [a, b] = [0, 1].map((at) => init.tensor({ name: `i${at}`, type: 'int8', shape: [1], data: bytes(at) }))
    const sum = init.tensor({ name: 'sum', type: 'int8', shape: [1] })
    init.op(OPS.ADD, [a!, b!], [sum], table())
    expect(refusal(builder.model())).toMatch(/^tiny-unsupported-operator: node 0, CALL_ONCE: its subgraph does more/)
  })
})

describe('moving data', () => {
  const x = (...shape: number[]) => ({ shape })
  const numbers = (shape: number[], ...values: number[]) => ({ type: 'int32', shape, data: words(...values) }) as const
  it.each([
    ['SQUEEZE', OPS.SQUEEZE, [x(1, 2, 1, 2), x(2, 2)], table(), [1, 2, 3, 4]],
    ['EXPAND_DIMS', OPS.EXPAND_DIMS, [x(2, 2), numbers([], 0), x(1, 2, 2)], table(), [1, 2, 3, 4]],
    [
      'PAD with the zero point',
      OPS.PAD,
      [x(2, 2), numbers([2, 2], 0, 1, 1, 0), { shape: [3, 3], quantization: unit(-5) }],
      table(),
      [-5, 1, 2, -5, 3, 4, -5, -5, -5],
    ],
    [
      'PADV2 with a value',
      OPS.PADV2,
      [x(2, 2), numbers([2, 2], 1, 0, 0, 0), { shape: [], data: bytes(9) }, x(3, 2)],
      table(),
      [9, 9, 1, 2, 3, 4],
    ],
    [
      'STRIDED_SLICE backwards',
      OPS.STRIDED_SLICE,
      [x(2, 2), numbers([2], 1, 0), numbers([2], 0, 0), numbers([2], -1, 1), x(2, 2)],
      table(int32(0), int32(3)),
      [3, 4, 1, 2],
    ],
    [
      'STRIDED_SLICE of one row',
      OPS.STRIDED_SLICE,
      [x(2, 2), numbers([2], -1, 0), numbers([2], 0, 2), numbers([2], 1, 1), x(2)],
      table(int32(0), int32(0), int32(0), int32(0), int32(1)),
      [3, 4],
    ],
  ] as const)('%s', (_, code, tensors, options, expected) => {
    expect(run(load(single(code, tensors, options), { guard: 0xa5 }), [1, 2, 3, 4])).toEqual(expected)
  })

  it('refuses what reaches outside', () => {
    const far = numbers([2], 5, 0)
    expect(refusal(single(OPS.STRIDED_SLICE, [x(2, 2), far, numbers([2], 6, 2), numbers([2], 1, 1), x(1, 2)]))).toMatch(
      /^tiny-malformed: node 0, STRIDED_SLICE: /,
    )
    expect(refusal(single(OPS.STRIDED_SLICE, [x(2, 2), far, far, numbers([2], 0, 1), x(2, 2)]))).toMatch(
      /a stride of 0/,
    )
    expect(refusal(single(OPS.PAD, [x(2, 2), numbers([2, 2], -1, 1, 0, 0), x(2, 2)]))).toMatch(/padding by -1, 1, 0, 0/)
    expect(refusal(single(OPS.CONCATENATION, [x(2, 2), { shape: [1, 2], data: bytes(1, 2) }, x(2, 2)]))).toMatch(
      /^tiny-malformed: node 0, CONCATENATION: it reaches elements 4 to 5 of "t2", which has 4/,
    )
    expect(refusal(single(OPS.CONCATENATION, [x(2, 2), { shape: [1, 2], data: bytes(1, 2) }, x(4, 2)]))).toMatch(
      /^tiny-malformed: node 0, CONCATENATION: parts of 3 along axis 0, "t2" has 4/,
    )
  })
})

describe('refusals', () => {
  it('name node, operator, type and a way out', () => {
    expect(refusal(single(OPS.CUSTOM, [{}, {}]))).toMatch(
      /^tiny-unsupported-operator: node 0, CUSTOM .*the engine "tiny" has no such operator; convert .*, or run it on onnxruntime/,
    )
    const wide = single(OPS.FULLY_CONNECTED, [{ type: 'uint8' }, { data: bytes(1) }, {}])
    expect(refusal(wide)).toMatch(
      /^tiny-unsupported-type: node 0, FULLY_CONNECTED: "t0" is uint8, this engine has it for int8.*; quantize the graph to int8/,
    )
  })

  it('say what has a shape, a scale or a zero point that cannot be', () => {
    const dense = (input: Partial<BuiltTensor>, weights: Partial<BuiltTensor> = {}) =>
      refusal(single(OPS.FULLY_CONNECTED, [input, { shape: [1, 1], data: bytes(1), ...weights }, { shape: [1, 1] }]))
    expect(dense({})).toBe('loaded')
    expect(dense({ quantization: { scales: [0], zeroPoints: [0] } })).toMatch(
      /tiny-malformed: .*scale that is not positive/,
    )
    expect(dense({ quantization: { scales: [Number.NaN], zeroPoints: [0] } })).toMatch(/scale that is not positive/)
    expect(dense({ quantization: unit(300) })).toMatch(
      /tiny-malformed: node 0, FULLY_CONNECTED: "t0" has the zero point 300/,
    )
    expect(dense({ quantization: unit(70_000) })).toMatch(/zero point outside its type/)
    expect(dense({ quantization: { scales: [1e30], zeroPoints: [0] } })).toMatch(
      /scales make a factor of 1\.0*\d*e\+30/,
    )
    expect(dense({}, { quantization: unit(3) })).toMatch(/"t1" has zero points other than 0/)
    expect(dense({}, { quantization: { scales: [1, 1], zeroPoints: [0, 0] } })).toMatch(
      /"t1" has 2 scales along dimension 0/,
    )
    expect(dense({ shape: [3] })).toMatch(/"t2" has 1 elements, its operands make 3/)
    expect(dense({ shape: [0] })).toMatch(/has the shape \[0\]/)
    expect(dense({ shape: [1, 1, 1, 1, 1, 1, 1] })).toMatch(/tiny-too-large: .*7 dimensions, at most 6/)
  })

  it.each([1, 3])('hold the output of a window to what its filter makes: %s of 2', (size) => {
    const options = table(int8(1), int32(2), int32(2), int32(2), int32(2))
    expect(refusal(single(OPS.MAX_POOL_2D, [{ shape: [1, 4, 2, 1] }, { shape: [1, size, 1, 1] }], options))).toBe(
      `tiny-malformed: node 0, MAX_POOL_2D: a window of 2 over 4 makes 2, the output has ${size}`,
    )
  })

  it('bound the work of a node, and the arena to what is given', () => {
    const [conv] = operatorVectors('conv_2d')
    expect(refusal(conv!.graph, { workMax: 10 })).toMatch(
      /^tiny-too-large: node 0, CONV_2D: \d+ operations, at most 10$/,
    )
    const { arenaBytes } = load(conv!.graph).memory
    expect(load(conv!.graph, { arenaBytesMax: arenaBytes }).memory.arenaBytes).toBe(arenaBytes)
    expect(refusal(conv!.graph, { arenaBytesMax: arenaBytes - 16 })).toBe(
      `tiny-too-large: the arena needs ${arenaBytes} bytes, 16 more than the ${arenaBytes - 16} there are`,
    )
  })
})

describe('guards', () => {
  const ranges = { guard: 0xa5, arena: { offset: 4, length: 8 }, inputs: [{ offset: 4, length: 2 }] }

  it('keep inputs, fill dead memory, and let a node write its outputs alone', () => {
    const memory = new Uint8Array(16).fill(1)
    const guards = new GuardedRun(memory, {
      ...ranges,
      nodes: [{ where: 'node 0, GOOD', writes: [{ offset: 8, length: 2 }] }],
    })
    guards.run(() => {
      expect([...memory.subarray(4, 12)]).toEqual([1, 1, ...Array.from({ length: 6 }, () => 0xa5)])
      memory.fill(3, 8, 10)
    })
    expect(() => guards.run(() => memory.fill(3, 8, 11))).toThrow(
      'node 0, GOOD wrote byte 10, which is not in its outputs',
    )
    expect(() => guards.run(() => memory.fill(9, 0, 1))).toThrow('node 0, GOOD wrote byte 0')
  })
})
