import { describe, expect, it } from 'vitest'
import { inferShapes } from '../../../../model/onnx/onnx-graph.ts'
import { readOnnx } from '../../../../model/onnx/onnx-reader.ts'
import { type AttributeValue, type BuiltType, node, OnnxBuilder, tensor } from '../../../fixtures/onnx-builder.ts'

type Operand =
  | readonly number[]
  | { readonly ints: readonly number[] }
  | { readonly type: BuiltType; readonly dims: readonly number[] }
  | null
type Attributes = Readonly<Record<string, AttributeValue>>

const isDims = (operand: Operand): operand is readonly number[] => Array.isArray(operand)

/** Infers one node: an array is a float activation of these dims, `ints` an int64 constant, `type` a constant. */
function infer(opType: string, operands: readonly Operand[], attributes: Attributes = {}, opset = 13, domain = '') {
  const builder = new OnnxBuilder()
  const inputs = operands.map((operand, index) => {
    if (operand === null) return ''
    if (isDims(operand)) return builder.input(`x${index}`, 'float32', operand)
    if ('ints' in operand) return builder.constant('int64', [operand.ints.length], operand.ints)
    return builder.constant(
      operand.type,
      operand.dims,
      new Array<number>(operand.dims.reduce((a, b) => a * b, 1)).fill(0),
    )
  })
  builder.append(node(opType, inputs, ['y'], attributes, domain))
  const bytes = builder.output('y', 'float32', []).model(opset)
  const model = readOnnx(bytes)
  if (!model.ok) throw new Error(model.error.detail)
  // The declared output [] is no claim about the shape here; the check of declarations has a test of its own.
  const outputs = model.value.graph.outputs.map((output) => ({ ...output, dims: null }))
  return inferShapes({ ...model.value, graph: { ...model.value.graph, outputs } })
}

function shape(...args: Parameters<typeof infer>): string {
  const graph = infer(...args)
  if (!graph.ok) return graph.error.code
  const [output] = graph.value.outputs
  const macs = graph.value.nodes.reduce((sum, it) => sum + it.macs, 0)
  return `${output!.elementType} ${output!.dims.join('x')}${macs === 0 ? '' : ` ${macs}`}`
}

describe('convolution and pooling', () => {
  const conv = (x: readonly number[], w: readonly number[], attributes: Attributes = {}) =>
    shape('Conv', [x, { type: 'float32', dims: w }], attributes)

  it.each<[string, readonly number[], readonly number[], Attributes, string]>([
    ['valid', [1, 3, 8, 9], [4, 3, 3, 2], {}, 'float32 1x4x6x8 3456'],
    ['pads begin and end', [1, 1, 5, 5], [1, 1, 3, 3], { pads: [1, 0, 0, 2] }, 'float32 1x1x4x5 180'],
    ['strides', [1, 1, 7, 7], [1, 1, 3, 3], { strides: [2, 3] }, 'float32 1x1x3x2 54'],
    ['dilations', [1, 1, 7, 7], [1, 1, 3, 3], { dilations: [3, 1] }, 'float32 1x1x1x5 45'],
    ['groups', [1, 4, 3, 3], [6, 2, 1, 1], { group: 2 }, 'float32 1x6x3x3 108'],
    ['depthwise', [1, 4, 3, 3], [4, 1, 3, 3], { group: 4, auto_pad: 'SAME_UPPER' }, 'float32 1x4x3x3 324'],
    [
      'SAME_LOWER with stride',
      [1, 1, 49, 10],
      [64, 1, 10, 4],
      { strides: [2, 2], auto_pad: 'SAME_LOWER' },
      'float32 1x64x25x5 320000',
    ],
    ['VALID ignores pads', [1, 1, 5, 5], [1, 1, 3, 3], { auto_pad: 'VALID', pads: [9, 9, 9, 9] }, 'float32 1x1x3x3 81'],
    ['one dimension', [1, 2, 10], [3, 2, 5], {}, 'float32 1x3x6 180'],
    ['window larger than input', [1, 1, 2, 2], [1, 1, 3, 3], {}, 'onnx-shape-mismatch'],
    ['channels that do not fit', [1, 3, 4, 4], [1, 2, 1, 1], {}, 'onnx-shape-mismatch'],
    ['kernel_shape that contradicts', [1, 1, 4, 4], [1, 1, 2, 2], { kernel_shape: [3, 3] }, 'onnx-shape-mismatch'],
    ['stride 0', [1, 1, 4, 4], [1, 1, 2, 2], { strides: [0, 1] }, 'onnx-shape-mismatch'],
    ['unknown auto_pad', [1, 1, 4, 4], [1, 1, 2, 2], { auto_pad: 'SAME' }, 'onnx-unsupported-op'],
  ])('Conv: %s', (_, x, w, attributes, expected) => {
    expect(conv(x, w, attributes)).toBe(expected)
  })

  it('ConvTranspose', () => {
    const weights = { type: 'float32', dims: [4, 2, 3, 3] } as const
    expect(
      shape('ConvTranspose', [[1, 4, 5, 5], weights], { strides: [2, 2], pads: [1, 1, 1, 1], output_padding: [1, 1] }),
    ).toBe('float32 1x2x10x10 1800')
  })

  it('pools, with ceil_mode dropping a window that would start in the padding', () => {
    expect(shape('MaxPool', [[1, 4, 7, 7]], { kernel_shape: [2, 2], strides: [2, 2] })).toBe('float32 1x4x3x3')
    expect(shape('MaxPool', [[1, 4, 7, 7]], { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 })).toBe(
      'float32 1x4x4x4',
    )
    expect(shape('AveragePool', [[1, 1, 4]], { kernel_shape: [1], strides: [4], pads: [0, 1], ceil_mode: 1 })).toBe(
      'float32 1x1x1',
    )
    expect(shape('GlobalAveragePool', [[2, 4, 7, 7]])).toBe('float32 2x4x1x1')
  })

  it('quantized operators take their type from the zero point of the result', () => {
    const parameter = { type: 'float32', dims: [] } as const
    const zero = { type: 'int8', dims: [] } as const
    const weights = { type: 'int8', dims: [2, 1, 3, 3] } as const
    expect(shape('QLinearConv', [[1, 1, 5, 5], parameter, zero, weights, parameter, zero, parameter, zero])).toBe(
      'int8 1x2x3x3 162',
    )
    expect(shape('ConvInteger', [[1, 1, 5, 5], weights])).toBe('int32 1x2x3x3 162')
    const matrix = { type: 'int8', dims: [8, 3] } as const
    expect(shape('QLinearMatMul', [[1, 8], parameter, zero, matrix, parameter, zero, parameter, zero])).toBe(
      'int8 1x3 24',
    )
    expect(shape('MatMulInteger', [[1, 8], matrix])).toBe('int32 1x3 24')
    expect(shape('QLinearAdd', [[1, 8], parameter, zero, [4, 1], parameter, zero], {}, 13, 'com.microsoft')).toBe(
      'float32 4x8',
    )
    expect(shape('QuantizeLinear', [[3], parameter])).toBe('uint8 3')
    expect(shape('QuantizeLinear', [[3], parameter, zero])).toBe('int8 3')
  })
})

describe('matrices, element-wise, reductions', () => {
  it.each<[string, readonly Operand[], Attributes, string]>([
    [
      'MatMul',
      [
        [2, 3, 4],
        [4, 5],
      ],
      {},
      'float32 2x3x5 120',
    ],
    ['MatMul', [[4], [4, 5]], {}, 'float32 5 20'],
    [
      'MatMul',
      [
        [2, 1, 3, 4],
        [5, 4, 6],
      ],
      {},
      'float32 2x5x3x6 720',
    ],
    [
      'MatMul',
      [
        [2, 3],
        [4, 5],
      ],
      {},
      'onnx-shape-mismatch',
    ],
    ['Gemm', [[3, 2], [5, 3], [5]], { transA: 1, transB: 1 }, 'float32 2x5 30'],
    ['Gemm', [[2, 3], [3, 5], [4]], {}, 'onnx-shape-mismatch'],
    [
      'Add',
      [
        [1, 4, 1],
        [3, 1, 5],
      ],
      {},
      'float32 3x4x5',
    ],
    ['Add', [[2], [3]], {}, 'onnx-shape-mismatch'],
    ['Less', [[2], [2]], {}, 'bool 2'],
    ['ReduceMean', [[1, 2, 3]], { axes: [-1, 1], keepdims: 0 }, 'float32 1'],
    ['ReduceMean', [[1, 2, 3]], {}, 'float32 1x1x1'],
    ['ReduceMean', [[1, 2, 3]], { axes: [3] }, 'onnx-shape-mismatch'],
    ['ArgMax', [[1, 12]], { axis: 1, keepdims: 0 }, 'int64 1'],
    ['Softmax', [[1, 12]], {}, 'float32 1x12'],
    ['LSTM', [[1, 1, 12]], {}, 'onnx-unsupported-op'],
  ])('%s of %j %j', (opType, operands, attributes, expected) => {
    expect(shape(opType, operands, attributes)).toBe(expected)
  })

  it('reads axes from an input too, as later operator sets write them', () => {
    expect(shape('ReduceMean', [[1, 2, 3], { ints: [2] }], {}, 18)).toBe('float32 1x2x1')
    expect(shape('Squeeze', [[1, 2, 1], { ints: [0, -1] }])).toBe('float32 2')
    expect(shape('Squeeze', [[1, 2, 1]], { axes: [0] }, 11)).toBe('float32 2x1')
  })
})

describe('layout', () => {
  it.each<[string, readonly Operand[], Attributes, number, string]>([
    ['Reshape', [[1, 64, 1, 1], { ints: [0, -1] }], {}, 13, 'float32 1x64'],
    ['Reshape', [[1, 64], { ints: [-1, 60] }], {}, 13, 'onnx-shape-mismatch'],
    ['Reshape', [[1, 64], { ints: [-1, -1] }], {}, 13, 'onnx-shape-mismatch'],
    ['Reshape', [[1, 64], [2]], {}, 13, 'onnx-dynamic-shape'],
    ['Flatten', [[2, 3, 4]], { axis: 2 }, 13, 'float32 6x4'],
    ['Flatten', [[2, 3, 4]], { axis: 0 }, 13, 'float32 1x24'],
    ['Unsqueeze', [[2, 3], { ints: [0, -1] }], {}, 13, 'float32 1x2x3x1'],
    ['Transpose', [[2, 3, 4]], { perm: [2, 0, 1] }, 13, 'float32 4x2x3'],
    ['Transpose', [[2, 3, 4]], {}, 13, 'float32 4x3x2'],
    ['Transpose', [[2, 3, 4]], { perm: [0, 0, 1] }, 13, 'onnx-shape-mismatch'],
    [
      'Concat',
      [
        [1, 2, 3],
        [1, 5, 3],
      ],
      { axis: 1 },
      13,
      'float32 1x7x3',
    ],
    [
      'Concat',
      [
        [1, 2, 3],
        [1, 5, 4],
      ],
      { axis: 1 },
      13,
      'onnx-shape-mismatch',
    ],
    ['Pad', [[1, 1, 4, 4], { ints: [0, 0, 1, 0, 0, 0, 2, -1] }], {}, 13, 'float32 1x1x7x3'],
    ['Pad', [[4]], { pads: [1, 1] }, 10, 'float32 6'],
    ['Slice', [[1, 10], { ints: [-4] }, { ints: [2 ** 53] }, { ints: [1] }, { ints: [2] }], {}, 13, 'float32 1x2'],
    ['Slice', [[1, 10], { ints: [9] }, { ints: [0] }, { ints: [1] }, { ints: [-1] }], {}, 13, 'onnx-unsupported-op'],
    ['Gather', [[5, 6], { ints: [1, 2, 3] }], { axis: 1 }, 13, 'float32 5x3'],
    ['Split', [[1, 7]], { axis: 1 }, 13, 'float32 1x7'],
    ['Cast', [[3]], { to: 3 }, 13, 'int8 3'],
  ])('%s of %j %j', (opType, operands, attributes, opset, expected) => {
    expect(shape(opType, operands, attributes, opset)).toBe(expected)
  })

  it('follows the shape arithmetic that PyTorch leaves in front of a Reshape', () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', ['N', 4, 3, 2])
    const first = builder.op('Gather', [builder.op('Shape', [x]), builder.constant('int64', [], [0])])
    const row = builder.op('Unsqueeze', [first, builder.constant('int64', [1], [0])])
    const product = builder.op('Mul', [builder.constant('int64', [1], [4]), builder.constant('int64', [1], [6])])
    const target = builder.op('Concat', [row, builder.op('Cast', [product], { to: 7 })], { axis: 0 })
    const bytes = builder.output(builder.op('Reshape', [x, target]), 'float32', ['N', 24]).model()
    const model = readOnnx(bytes)
    const graph = model.ok ? inferShapes(model.value) : model
    expect(graph.ok && graph.value.outputs[0]?.dims).toEqual([1, 24])
  })
})

describe('graphs that contradict themselves', () => {
  const refusal = (build: (builder: OnnxBuilder) => void): string => {
    const builder = new OnnxBuilder()
    build(builder)
    const model = readOnnx(builder.model())
    if (!model.ok) return model.error.code
    const graph = inferShapes(model.value)
    return graph.ok ? 'inferred' : graph.error.code
  }
  const relu = (from: string, to: string) => node('Relu', [from], [to])

  it('refuses undefined, repeated and missing names, and wrong declarations', () => {
    expect(refusal((it) => it.append(relu('x', 'y')).output('y', 'float32', [1]))).toBe('onnx-bad-graph')
    const twice = (it: OnnxBuilder) => {
      it.input('x', 'float32', [1])
      it.append(relu('x', 'y')).append(relu('x', 'y')).output('y', 'float32', [1])
    }
    expect(refusal(twice)).toBe('onnx-bad-graph')
    expect(refusal((it) => it.output('y', 'float32', [1]))).toBe('onnx-bad-graph')
    const wrong = (it: OnnxBuilder) => {
      it.input('x', 'float32', [1, 4])
      it.append(relu('x', 'y')).output('y', 'float32', [1, 5])
    }
    expect(refusal(wrong)).toBe('onnx-shape-mismatch')
  })

  it('refuses an open dimension that is no batch, and names operator and node', () => {
    expect(refusal((it) => it.append(relu(it.input('x', 'float32', [1, 'T']), 'y')).output('y', 'float32', []))).toBe(
      'onnx-dynamic-shape',
    )
    const graph = infer('NoSuchOp', [[1]])
    expect(!graph.ok && graph.error).toEqual({
      code: 'onnx-unsupported-op',
      detail: 'NoSuchOp "NoSuchOp_y": operator of domain "" is not known',
    })
  })

  it('refuses more values than the planner has time for', () => {
    const many = (it: OnnxBuilder) => {
      it.input('x', 'float32', [1, 1000])
      for (let i = 0; i < 17; i++) {
        const parts = Array.from({ length: 1000 }, (_, part) => `p${i}_${part}`)
        it.append(node('Split', ['x'], parts, { axis: 1 }))
      }
      it.output('p0_0', 'float32', [1, 1])
    }
    expect(refusal(many)).toBe('onnx-too-large')
  })

  it('takes an initializer that is listed as an input, as old files do, for the constant it is', () => {
    const builder = new OnnxBuilder()
    builder.graph().bytes(5, tensor('w', 'float32', [4, 2], new Array<number>(8).fill(1)))
    builder.input('w', 'float32', [4, 2])
    const y = builder.op('MatMul', [builder.input('x', 'float32', [1, 4]), 'w'])
    const model = readOnnx(builder.output(y, 'float32', [1, 2]).model())
    const graph = model.ok ? inferShapes(model.value) : model
    expect(graph.ok && graph.value.inputs.map((input) => input.name)).toEqual(['x'])
  })
})
