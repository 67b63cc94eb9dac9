import { describe, expect, it } from 'vitest'
import { inferShapes } from '../../../../model/onnx/onnx-graph.ts'
import { readOnnx } from '../../../../model/onnx/onnx-reader.ts'
import { lowerGraph } from '../../../../model/plan/graph-lowering.ts'
import { type BuiltType, node, OnnxBuilder } from '../../../fixtures/onnx-builder.ts'

function lower(bytes: Uint8Array) {
  const model = readOnnx(bytes)
  if (!model.ok) throw new Error(model.error.detail)
  const graph = inferShapes(model.value)
  if (!graph.ok) throw new Error(graph.error.detail)
  return lowerGraph(model.value, graph.value)
}

const constant = (builder: OnnxBuilder, type: BuiltType, dims: readonly number[]) =>
  builder.constant(type, dims, new Array<number>(dims.reduce((a, b) => a * b, 1)).fill(1))
const parameters = (builder: OnnxBuilder) => [constant(builder, 'float32', []), constant(builder, 'int8', [])]

describe('graphs of quantized operators', () => {
  it('counts weights and biases, never scales and zero points', () => {
    const builder = new OnnxBuilder()
    const p = () => parameters(builder)
    const x = builder.input('x', 'int8', [1, 4, 6, 6])
    const weights = [constant(builder, 'int8', [4, 4, 3, 3]), ...p(), ...p(), constant(builder, 'int32', [4])]
    const conv = builder.op('QLinearConv', [x, ...p(), ...weights], { pads: [1, 1, 1, 1] })
    const sum = builder.op('QLinearAdd', [conv, ...p(), x, ...p(), ...p()], {}, 'com.microsoft')
    const pooled = builder.op('QLinearGlobalAveragePool', [sum, ...p(), ...p()], {}, 'com.microsoft')
    const flat = builder.op('Flatten', [pooled])
    const head = [constant(builder, 'int8', [4, 2]), ...p(), constant(builder, 'int32', [2]), ...p()]
    const y = builder.op('QGemm', [flat, ...p(), ...head], {}, 'com.microsoft')
    const lowered = lower(builder.output(y, 'int8', [1, 2]).model())

    expect(lowered.constants.map((it) => it.bytes)).toEqual([4 * 4 * 9, 4 * 4, 4 * 2, 4 * 2])
    expect(lowered.steps.map((it) => [it.opType, it.macs])).toEqual([
      ['QLinearConv', 4 * 36 * 36],
      ['QLinearAdd', 0],
      ['QLinearGlobalAveragePool', 0],
      ['QGemm', 8],
    ])
    expect(lowered.steps.map((it) => it.requantizedChannels)).toEqual([4, 0, 0, 2])
    // x is read again by the addition; the flattened value is the pooled one.
    expect(lowered.buffers.map((it) => [it.bytes, it.firstUse, it.lastUse])).toEqual([
      [144, 0, 1],
      [144, 0, 1],
      [144, 1, 2],
      [4, 2, 3],
      [2, 3, 3],
    ])
  })
})

describe('graphs in QDQ form', () => {
  it('shares one buffer between the two readers of a residual connection', () => {
    const builder = new OnnxBuilder()
    const dequantized = (value: string) => builder.op('DequantizeLinear', [value, ...parameters(builder)])
    const quantized = (value: string) => builder.op('QuantizeLinear', [value, ...parameters(builder)])
    const x = dequantized(builder.input('x', 'int8', [1, 100]))
    const branch = dequantized(quantized(builder.op('Sigmoid', [x])))
    const sum = builder.op('Relu', [builder.op('Add', [branch, x])])
    const lowered = lower(builder.output(quantized(sum), 'int8', [1, 100]).model())
    expect(lowered.steps.map((it) => it.opType)).toEqual(['Sigmoid', 'Add'])
    expect(lowered.buffers.map((it) => [it.bytes, it.firstUse, it.lastUse])).toEqual([
      [100, 0, 1],
      [100, 0, 1],
      [100, 1, 1],
    ])
  })

  it('stores a value float when its readers quantize it to different types', () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [1, 100])
    const signed = builder.op('QuantizeLinear', [x, ...parameters(builder)])
    const unsigned = builder.op('QuantizeLinear', [x, constant(builder, 'float32', []), constant(builder, 'uint8', [])])
    const lowered = lower(builder.output(signed, 'int8', [1, 100]).output(unsigned, 'uint8', [1, 100]).model())
    expect(lowered.buffers.map((it) => it.bytes)).toEqual([400, 100, 100])
  })

  it('takes dynamic quantization for the work it is', () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [1, 8])
    const weights = constant(builder, 'int8', [8, 2])
    const scale = constant(builder, 'float32', [])
    const [q, s, z] = [builder.unique('q'), builder.unique('s'), builder.unique('z')]
    builder.append(node('DynamicQuantizeLinear', [x], [q, s, z]))
    const product = builder.op('Cast', [builder.op('MatMulInteger', [q, weights, z])], { to: 1 })
    const y = builder.op('Mul', [product, builder.op('Mul', [s, scale])])
    const lowered = lower(builder.output(y, 'float32', [1, 2]).model())
    expect(lowered.steps.map((it) => it.opType)).toEqual([
      'DynamicQuantizeLinear',
      'MatMulInteger',
      'Cast',
      'Mul',
      'Mul',
    ])
    expect(lowered.steps[1]?.macs).toBe(16)
  })
})
