import { describe, expect, it } from 'vitest'
import { type ModelPlan, planArena, planModel } from '../../../../model/plan/arena-planner.ts'
import { OnnxBuilder } from '../../../fixtures/onnx-builder.ts'
import { keywordNetwork, type NetworkOptions, visualWakeNetwork } from '../../../fixtures/onnx-networks.ts'

function planned(bytes: Uint8Array): ModelPlan {
  const plan = planModel(bytes)
  if (!plan.ok) throw new Error(`${plan.error.code}: ${plan.error.detail}`)
  return plan.value
}

const figures = (plan: ModelPlan) => [plan.constantBytes, plan.macs, plan.lowerBoundBytes, plan.arenaBytes]

const VARIANTS: readonly [string, NetworkOptions][] = [
  ['float input, QuantizeLinear first', { io: 'float32' }],
  ['int8 input and output', { io: 'int8' }],
  ['symbolic batch', { batch: 'N' }],
  ['auto_pad SAME_UPPER', { autoPad: true }],
  ['without Relu', { relu: false }],
  ['NHWC with Transpose nodes, float', { layout: 'nhwc' }],
  ['NHWC with Transpose nodes, int8', { layout: 'nhwc', io: 'int8', autoPad: true }],
]

describe('known values of the MLPerf Tiny networks', () => {
  it.each(VARIANTS)('keyword spotting, %s', (_, options) => {
    expect(figures(planned(keywordNetwork(options)))).toEqual([24_376, 2_656_768, 16_000, 16_000])
  })

  it.each(VARIANTS)('visual wake words, %s', (_, options) => {
    expect(figures(planned(visualWakeNetwork(options)))).toEqual([219_072, 7_489_664, 55_296, 64_512])
  })

  it('names one kernel for every operator of the TFLite file', () => {
    // 9 convolutions, pool, fully connected, softmax; the reshape is a view.
    const plan = planned(keywordNetwork())
    expect(plan.steps.map((step) => step.opType)).toEqual([
      ...new Array<string>(9).fill('Conv'),
      'AveragePool',
      'Gemm',
      'Softmax',
    ])
    // im2col of a depthwise 3x3 over 64 channels
    expect(plan.scratchBytes).toBe(2 * 64 * 9 * 2)
    expect(plan.persistentBytes).toBeGreaterThan(9 * 64 * 8)
    expect(plan.persistentBytes).toBeLessThan(8_192)
  })
})

describe('what counts as a buffer', () => {
  const quantized = (builder: OnnxBuilder, value: string, scale = 0.05): string =>
    builder.op('QuantizeLinear', [value, builder.constant('float32', [], [scale]), builder.constant('int8', [], [0])])
  const dequantized = (builder: OnnxBuilder, value: string, scale = 0.05): string =>
    builder.op('DequantizeLinear', [value, builder.constant('float32', [], [scale]), builder.constant('int8', [], [0])])

  it('counts a float graph at four bytes an element', () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [1, 100])
    const plan = planned(builder.output(builder.op('Sigmoid', [x]), 'float32', [1, 100]).model())
    expect(plan.lowerBoundBytes).toBe(800)
  })

  it('keeps a value float that is read both quantized and as float', () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [1, 100])
    const q = dequantized(builder, quantized(builder, x))
    const plan = planned(builder.output(builder.op('Add', [q, x]), 'float32', [1, 100]).model())
    expect(plan.steps.map((step) => step.opType)).toEqual(['QuantizeLinear', 'Add'])
    // x float, its quantized copy, and the float sum
    expect(plan.lowerBoundBytes).toBe(400 + 100 + 400)
  })

  it('runs a QuantizeLinear that changes the parameters', () => {
    const requantize = (scale: number) => {
      const builder = new OnnxBuilder()
      const x = builder.input('x', 'int8', [1, 64])
      const y = quantized(builder, dequantized(builder, x, 0.05), scale)
      return planned(builder.output(y, 'int8', [1, 64]).model()).steps.map((step) => step.opType)
    }
    expect(requantize(0.05)).toEqual([])
    expect(requantize(0.1)).toEqual(['QuantizeLinear'])
  })

  it('fuses an activation and a bias, unless somebody else reads the sum before them', () => {
    const build = (second: boolean) => {
      const builder = new OnnxBuilder()
      const x = builder.input('x', 'float32', [1, 8])
      const product = builder.op('MatMul', [x, builder.constant('float32', [8, 4], new Array<number>(32).fill(1))])
      const sum = builder.op('Add', [product, builder.constant('float32', [4], [1, 2, 3, 4])])
      builder.output(builder.op('Relu', [sum]), 'float32', [1, 4])
      if (second) builder.output(sum, 'float32', [1, 4])
      return planned(builder.model())
    }
    expect(build(false).steps.map((step) => step.opType)).toEqual(['MatMul'])
    expect(build(false).constantBytes).toBe(32 * 4 + 4 * 4)
    expect(build(true).steps.map((step) => step.opType)).toEqual(['MatMul', 'Relu'])
  })

  it('counts a Transpose of attention as work, a layout change at a convolution as none', () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [1, 4, 6])
    const turned = builder.op('Transpose', [x], { perm: [0, 2, 1] })
    const plan = planned(builder.output(builder.op('MatMul', [x, turned]), 'float32', [1, 4, 4]).model())
    expect(plan.steps.map((step) => step.opType)).toEqual(['Transpose', 'MatMul'])
  })

  it('runs a Transpose that a kernel other than convolution reads in the other layout', () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [1, 4, 4, 3])
    const turned = builder.op('Transpose', [x], { perm: [0, 3, 1, 2] })
    const plan = planned(builder.output(builder.op('Sigmoid', [turned]), 'float32', [1, 3, 4, 4]).model())
    expect(plan.steps.map((step) => step.opType)).toEqual(['Transpose', 'Sigmoid'])
  })

  it('counts weights quantized inside the graph as int8', () => {
    const builder = new OnnxBuilder()
    const x = dequantized(builder, builder.input('x', 'int8', [1, 8]))
    const weights = builder.constant('float32', [8, 4], new Array<number>(32).fill(0.5))
    const product = builder.op('MatMul', [x, dequantized(builder, quantized(builder, weights))])
    const plan = planned(builder.output(quantized(builder, product), 'int8', [1, 4]).model())
    expect(plan.constantBytes).toBe(32)
  })

  it('counts a weight used twice once', () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [1, 4])
    const weights = builder.constant('float32', [4, 4], new Array<number>(16).fill(0.5))
    const y = builder.op('MatMul', [builder.op('MatMul', [x, weights]), weights])
    expect(planned(builder.output(y, 'float32', [1, 4]).model()).constantBytes).toBe(64)
  })

  it('keeps a graph output alive to the end', () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [1, 4])
    const first = builder.op('Sigmoid', [x])
    const last = builder.op('Tanh', [builder.op('Sigmoid', [builder.op('Tanh', [first])])])
    const plan = planned(builder.output(first, 'float32', [1, 4]).output(last, 'float32', [1, 4]).model())
    expect(plan.placements.find((placement) => placement.name === first)?.lastUse).toBe(3)
  })
})

describe('planArena', () => {
  const buffer = (name: string, bytes: number, firstUse: number, lastUse: number) => ({
    name,
    bytes,
    firstUse,
    lastUse,
  })

  it('takes the first gap that fits, aligned', () => {
    const plan = planArena([
      buffer('a', 100, 0, 2),
      buffer('b', 50, 1, 3),
      buffer('c', 40, 3, 4),
      buffer('d', 10, 0, 4),
    ])
    expect(plan.placements.map((placement) => placement.offset)).toEqual([0, 112, 0, 176])
    expect(plan.arenaBytes).toBe(186)
    expect(plan.lowerBoundBytes).toBe(160)
  })

  it('plans nothing as nothing', () => {
    expect(planArena([])).toEqual({ lowerBoundBytes: 0, arenaBytes: 0, placements: [] })
  })
})
