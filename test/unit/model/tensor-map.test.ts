import { describe, expect, it } from 'vitest'
import { encodeBundle } from '../../../contract/bundle.ts'
import type { MappedTensor } from '../../../model/mapped-tensor.ts'
import { ONNX_LIMITS } from '../../../model/onnx/onnx-limits.ts'
import { readOnnx } from '../../../model/onnx/onnx-reader.ts'
import { readTensorMap, type TensorMap } from '../../../model/tensor-map.ts'
import { node, OnnxBuilder, ProtobufWriter, rawData, tensor } from '../../fixtures/onnx-builder.ts'
import { keywordNetwork } from '../../fixtures/onnx-networks.ts'
import { unsoundness } from '../../fixtures/tensor-map-check.ts'
import { smallTflite, TFLITE_OPS, TfliteBuilder } from '../../fixtures/tflite-builder.ts'

function mapped(file: Uint8Array): TensorMap {
  const map = readTensorMap(file)
  if (!map.ok) throw new Error(`${map.error.code}: ${map.error.detail}`)
  expect(unsoundness(file.length, map.value)).toBeNull()
  return map.value
}
const refusal = (file: Uint8Array): string => {
  const map = readTensorMap(file)
  return map.ok ? 'mapped' : map.error.code
}
const byName = (file: Uint8Array): ReadonlyMap<string, MappedTensor> =>
  new Map(mapped(file).tensors.map((it) => [it.name, it]))
const roles = (file: Uint8Array): Readonly<Record<string, readonly [role: string, axis: number | null]>> =>
  Object.fromEntries(mapped(file).tensors.map(({ name, role, outputAxis }) => [name, [role, outputAxis]]))
const contents = (file: Uint8Array, { range }: MappedTensor): Uint8Array =>
  file.slice(range.offset, range.offset + range.length)
const modelOf = (graph: ProtobufWriter) => new ProtobufWriter().varint(1, 8).bytes(7, graph).finish()
const zeros = (count: number): number[] => new Array<number>(count).fill(0)

describe('tensor map of ONNX', () => {
  it('names role, axis and quantization of a network in QDQ form, in the order of the file', () => {
    const { format, tensors } = mapped(keywordNetwork())
    expect(format).toBe('onnx')
    const weights = tensors.filter(({ role }) => role === 'weight')
    expect(weights.map(({ shape, outputAxis }) => [shape.length, outputAxis])).toEqual([
      ...new Array(9).fill([4, 0]),
      [2, 0],
    ])
    expect(weights[0]).toMatchObject({ elementType: 'int8', shape: [64, 1, 10, 4], range: { length: 2_560 } })
    for (const { quantization, shape } of weights) {
      expect(quantization).toEqual({
        scales: new Array(shape[0]).fill(Math.fround(0.01)),
        zeroPoints: zeros(shape[0]!),
        axis: 0,
      })
    }
    expect(tensors.filter(({ role }) => role === 'bias').map(({ elementType }) => elementType)).toEqual(
      new Array(10).fill('int32'),
    )
    // What is left is the shape of the Reshape.
    expect(tensors.filter(({ role }) => role === 'other').map(({ elementType }) => elementType)).toEqual(['int64'])
  })

  it('follows weights through the Transpose of tf2onnx', () => {
    const weights = mapped(keywordNetwork({ layout: 'nhwc' })).tensors.filter(({ role }) => role === 'weight')
    expect(weights[0]).toMatchObject({ shape: [64, 10, 4, 1], outputAxis: 0 })
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [1, 2, 8, 8])
    const kernel = builder.constant('float32', [3, 3, 2, 4], zeros(72))
    builder.op('Conv', [x, builder.op('Transpose', [kernel], { perm: [3, 2, 0, 1] })])
    expect(roles(builder.model())[kernel]).toEqual(['weight', 3])
  })

  it('knows the output axis of every operator with weights', () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [4, 4])
    const made: Record<string, unknown> = {}
    const expectRole = (name: string, role: string, axis: number | null) => {
      made[name] = [role, axis]
      return name
    }
    const float = (dims: readonly number[], role: string, axis: number | null) =>
      expectRole(builder.constant('float32', dims, zeros(dims.reduce((a, b) => a * b, 1))), role, axis)
    builder.op('Conv', [x, float([2, 2, 1, 1], 'weight', 0), float([2], 'bias', null)])
    builder.op('ConvTranspose', [x, float([2, 3, 1, 1], 'weight', 1), float([3], 'bias', null)])
    builder.op('Gemm', [x, float([4, 5], 'weight', 1), float([5], 'bias', null)])
    builder.op('Gemm', [x, float([5, 4], 'weight', 0)], { transB: 1 })
    const sum = builder.op('MatMul', [x, float([4, 6], 'weight', 1)])
    builder.op('Add', [float([6], 'bias', null), sum])
    builder.op('Add', [x, float([6], 'other', null)])
    builder.op('MatMul', [float([7, 4], 'weight', 0), x])
    builder.op('MatMul', [x, float([4], 'weight', null)])
    builder.op('MatMul', [x, builder.op('Transpose', [float([6, 4], 'weight', 0)])])
    builder.op('LSTM', [
      ...[x, float([1, 8, 4], 'weight', 1), float([1, 8, 2], 'weight', 1)],
      float([1, 16], 'bias', null),
    ])
    // A layer of another domain may mean anything by the same name.
    builder.op('Conv', [x, float([2, 2], 'other', null)], {}, 'elsewhere')
    expect(roles(builder.model())).toEqual(made)
  })

  it('finds the weights of a recurrent layer whose gates are reordered in the graph', () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [1, 1, 4])
    const weights = builder.constant('float32', [8, 4], zeros(32))
    const slice = (from: number) =>
      builder.op('Slice', [weights, builder.constant('int64', [1], [from]), builder.constant('int64', [1], [from + 2])])
    const gates = builder.op('Concat', [slice(0), slice(6), slice(2), slice(4)], { axis: 0 })
    const axes = builder.constant('int64', [1], [0])
    builder.op('LSTM', [x, builder.op('Unsqueeze', [gates, axes]), builder.op('Unsqueeze', [gates], { axes: [0] })])
    expect(roles(builder.model())[weights]).toEqual(['weight', 0])
    const squeezed = new OnnxBuilder()
    const y = squeezed.input('x', 'float32', [1, 4])
    const kernel = squeezed.constant('float32', [1, 4, 5], zeros(20))
    squeezed.op('Gemm', [y, squeezed.op('Squeeze', [kernel], { axes: [0] })], { transB: 0 })
    // The last axis of an unknown rank cannot be followed through a Squeeze.
    expect(roles(squeezed.model())[kernel]).toEqual(['weight', null])
  })

  it('reads the quantization of integer operators where the scale is a constant', () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'uint8', [2, 2])
    const scale = () => builder.constant('float32', [], [0.5])
    const zero = () => builder.constant('uint8', [], [7])
    const integer = builder.constant('int8', [2, 3], zeros(6))
    builder.op('MatMulInteger', [x, integer, zero()])
    const conv = builder.constant('uint8', [2, 2, 1, 1], zeros(4))
    const scales = builder.constant('float32', [2], [0.25, 0.75])
    const bias = builder.constant('int32', [2], [1, 2])
    builder.op('QLinearConv', [x, scale(), zero(), conv, scales, zero(), scale(), zero(), bias])
    const product = builder.constant('uint8', [2, 2], zeros(4))
    builder.op('QLinearMatMul', [x, scale(), zero(), product, scales, zero(), scale(), zero()])
    const dynamic = builder.constant('int8', [2, 2], zeros(4))
    builder.op('DynamicQuantizeMatMul', [x, dynamic, scale()], {}, 'com.microsoft')
    const unknown = builder.constant('int8', [2, 2], zeros(4))
    builder.op('DynamicQuantizeMatMul', [x, unknown, builder.op('Relu', [x])], {}, 'com.microsoft')
    const tensors = byName(builder.model())
    const perChannel = { scales: [0.25, 0.75], zeroPoints: [7, 7] }
    expect(tensors.get(integer)).toMatchObject({ role: 'weight', outputAxis: 1, quantization: null })
    expect(tensors.get(conv)).toMatchObject({ role: 'weight', outputAxis: 0, quantization: { ...perChannel, axis: 0 } })
    expect(tensors.get(product)).toMatchObject({ outputAxis: 1, quantization: { ...perChannel, axis: 1 } })
    const perTensor = { scales: [0.5], zeroPoints: [0], axis: 0 }
    expect(tensors.get(dynamic)).toMatchObject({ outputAxis: 1, quantization: perTensor })
    expect(tensors.get(unknown)).toMatchObject({ role: 'weight', quantization: null })
    expect(tensors.get(bias)?.role).toBe('bias')
    expect(tensors.get(scales)?.role).toBe('scale')
    expect([...tensors.values()].filter(({ role }) => role === 'zero-point')).toHaveLength(7)
  })

  it('claims no quantization that it cannot know or that does not fit', () => {
    const quantizationOf = (
      scale: readonly [dims: readonly number[], values: readonly number[]],
      zero: 'none' | 'computed' | readonly number[],
      axis?: number,
    ) => {
      const builder = new OnnxBuilder()
      const weights = builder.constant('int8', [2, 3], zeros(6))
      const scales = builder.constant('float32', ...scale)
      const inputs = [weights, scales]
      if (zero === 'computed') inputs.push(builder.input('z', 'int8', []))
      else if (zero !== 'none') inputs.push(builder.constant('int8', [zero.length], zero, { storage: 'packed' }))
      builder.op('DequantizeLinear', inputs, axis === undefined ? {} : { axis })
      return byName(builder.model()).get(weights)?.quantization
    }
    const three: [number[], number[]] = [[3], [1, 2, 4]]
    expect(quantizationOf(three, 'none')).toEqual({ scales: [1, 2, 4], zeroPoints: [0, 0, 0], axis: 1 })
    expect(quantizationOf(three, [-1, -2, -3], -1)).toEqual({ scales: [1, 2, 4], zeroPoints: [-1, -2, -3], axis: 1 })
    expect(quantizationOf([[], [0.5]], [9], 1)).toEqual({ scales: [0.5], zeroPoints: [9], axis: 0 })
    expect(quantizationOf(three, 'computed')).toBeNull()
    expect(quantizationOf(three, 'none', 0)).toBeNull()
    expect(quantizationOf(three, 'none', 2)).toBeNull()
    expect(quantizationOf(three, [1, 2])).toBeNull()
    expect(quantizationOf([[3], [1, Number.NaN, 4]], 'none')).toBeNull()
    // Blocked quantization: more than one scale for a channel.
    expect(
      quantizationOf(
        [
          [2, 3],
          [1, 2, 3, 4, 5, 6],
        ],
        'none',
      ),
    ).toBeNull()
  })

  it('maps Constant nodes and what subgraphs hold, and knows constants of outer graphs there', () => {
    const branch = new ProtobufWriter()
      .bytes(5, tensor('inner', 'int8', [4], [1, 2, 3, 4]))
      .bytes(1, node('Constant', [], ['k'], { value: { tensor: tensor('', 'float32', [1, 1, 1, 1], [5]) } }))
      .bytes(1, node('Conv', ['x', 'k'], ['a']))
      .bytes(1, node('Conv', ['x', 'outer'], ['b']))
    const nested = new ProtobufWriter().bytes(1, node('If', ['c'], ['y'], { then_branch: { graph: branch } }))
    const builder = new OnnxBuilder()
    builder.graph().bytes(5, tensor('outer', 'int8', [2, 1, 1], [8, 9]))
    builder.append(node('If', ['c'], ['y'], { then_branch: { graph: branch }, else_branch: { graph: nested } }))
    builder.append(node('ConstantOfShape', ['s'], ['f'], { value: { tensor: tensor('', 'float32', [1], [1]) } }))
    const file = builder.model()
    expect(roles(file)).toEqual({
      outer: ['weight', 0],
      'If_y.then_branch/inner': ['other', null],
      'If_y.then_branch/k': ['weight', 0],
      'If_y.else_branch/If_y.then_branch/inner': ['other', null],
      'If_y.else_branch/If_y.then_branch/k': ['weight', 0],
      'ConstantOfShape_f.value': ['other', null],
    })
    expect(contents(file, byName(file).get('If_y.then_branch/inner')!)).toEqual(Uint8Array.of(1, 2, 3, 4))
  })

  it('maps packed floats, and leaves out varints and empty tensors', () => {
    const builder = new OnnxBuilder()
    const floats = builder.constant('float32', [3], [1, 2, 3], { storage: 'packed' })
    builder.constant('int8', [2], [1, 2], { storage: 'packed' })
    builder.constant('int8', [0], [])
    const file = builder.model()
    const { tensors } = mapped(file)
    expect(tensors.map(({ name }) => name)).toEqual([floats])
    expect(contents(file, tensors[0]!)).toEqual(rawData('float32', [1, 2, 3]))
  })

  it('leaves out what is not held as numbers in the file, where a device refuses the file', () => {
    const outside = new ProtobufWriter().varint(1, 4).varint(2, 1).bytes(8, 'outside').varint(14, 1)
    const strings = new ProtobufWriter().varint(1, 1).varint(2, 8).bytes(6, 'a')
    const later = new ProtobufWriter().varint(1, 1).varint(2, 23).bytes(9, Uint8Array.of(1))
    const inside = tensor('inside', 'int8', [2], [1, 2])
    for (const foreign of [outside, strings, later]) {
      const attribute = node('Constant', [], ['k'], { value: { tensor: foreign } })
      const file = modelOf(new ProtobufWriter().bytes(5, foreign).bytes(5, inside).bytes(1, attribute))
      expect(roles(file)).toEqual({ inside: ['other', null] })
      expect(readOnnx(file).ok).toBe(false)
    }
    const sparse = modelOf(new ProtobufWriter().bytes(15, new ProtobufWriter()).bytes(5, inside))
    expect(roles(sparse)).toEqual({ inside: ['other', null] })
    expect(readOnnx(sparse).ok).toBe(false)
    // A tensor that contradicts itself is a broken file in either case.
    expect(refusal(modelOf(new ProtobufWriter().bytes(5, tensor('t', 'int8', [3], [1, 2]))))).toBe('onnx-malformed')
  })

  it('maps files beyond the bounds of a device, which stay as they are for it', () => {
    const graph = new ProtobufWriter().bytes(5, tensor('t', 'int8', [1], [1]))
    for (let i = 0; i <= ONNX_LIMITS.nodes; i++) graph.raw(0x0a, 0x03, 0x22, 0x01, 0x41)
    const large = modelOf(graph)
    expect(mapped(large).tensors).toHaveLength(1)
    expect(readOnnx(large)).toMatchObject({ ok: false, error: { code: 'onnx-too-large' } })
    const bytes = ONNX_LIMITS.modelBytes + 1
    const weights = new ProtobufWriter().varint(1, bytes).varint(2, 3).bytes(8, 'w').bytes(9, new Uint8Array(bytes))
    const heavy = modelOf(new ProtobufWriter().bytes(5, weights))
    expect(mapped(heavy).tensors[0]?.range.length).toBe(bytes)
    expect(readOnnx(heavy)).toMatchObject({ ok: false, error: { code: 'onnx-too-large' } })
  })

  it('leaves out tensors and lists with too many numbers to decode, where a device refuses the file', () => {
    const inside = tensor('inside', 'int8', [2], [1, 2])
    const varints = (count: number) =>
      new ProtobufWriter().varint(1, count).varint(2, 7).bytes(8, 'varints').bytes(7, new Uint8Array(count))
    const list = (field: number, bytes: number) =>
      new ProtobufWriter().bytes(4, 'Op').bytes(
        5,
        new ProtobufWriter()
          .bytes(1, 'l')
          .varint(20, field - 1)
          .bytes(field, new Uint8Array(bytes)),
      )
    const unpacked = new ProtobufWriter().bytes(1, 'l').varint(20, 7)
    for (let i = 0; i <= ONNX_LIMITS.attributeList; i++) unpacked.varint(8, 1)
    const initializer = (it: ProtobufWriter) => new ProtobufWriter().bytes(5, it)
    for (const large of [
      initializer(varints(ONNX_LIMITS.varintElements + 1)),
      new ProtobufWriter().bytes(1, list(8, ONNX_LIMITS.attributeList + 1)),
      new ProtobufWriter().bytes(1, list(7, 4 * (ONNX_LIMITS.attributeList + 1))),
      new ProtobufWriter().bytes(1, new ProtobufWriter().bytes(4, 'Op').bytes(5, unpacked)),
    ]) {
      const file = modelOf(large.bytes(5, inside))
      expect(Object.keys(roles(file))).toEqual(['inside'])
      expect(readOnnx(file)).toMatchObject({ ok: false, error: { code: 'onnx-too-large' } })
    }
  })

  it('decodes no more numbers of one file than the bound, in whatever pieces', () => {
    const pieces = Math.ceil(ONNX_LIMITS.decodedNumbers / ONNX_LIMITS.attributeList)
    const attribute = new ProtobufWriter()
      .bytes(1, 'l')
      .varint(20, 7)
      .bytes(8, new Uint8Array(ONNX_LIMITS.attributeList))
    const lists = (count: number) => {
      const graph = new ProtobufWriter().bytes(5, tensor('inside', 'int8', [2], [1, 2]))
      for (let i = 0; i < count; i++) graph.bytes(1, new ProtobufWriter().bytes(4, 'Op').bytes(5, attribute))
      return modelOf(graph)
    }
    expect(readOnnx(lists(pieces)).ok).toBe(true)
    expect(readOnnx(lists(pieces + 1))).toMatchObject({ ok: false, error: { code: 'onnx-too-large' } })
    expect(Object.keys(roles(lists(pieces + 1)))).toEqual(['inside'])
  })

  it('numbers names that come twice, and shortens paths that would multiply the file', () => {
    const twice = new ProtobufWriter()
    for (const name of ['a', 'a~2', 'a', '', '']) twice.bytes(5, tensor(name, 'int8', [1], [1]))
    expect(Object.keys(roles(modelOf(twice)))).toEqual(['a', 'a~2', 'a~3', '', '~2'])
    const long = 'n'.repeat(200)
    const inside = (depth: number): ProtobufWriter => {
      const graph = new ProtobufWriter().bytes(5, tensor('t', 'int8', [1], [1]))
      return depth === 0 ? graph : graph.bytes(1, node('If', [], [long], { then_branch: { graph: inside(depth - 1) } }))
    }
    const names = Object.keys(roles(modelOf(inside(30))))
    expect(names).toHaveLength(31)
    expect(names[1]).toBe('#0.then_branch/t')
    expect(Math.max(...names.map(({ length }) => length))).toBeLessThan(300)
  })
})

describe('tensor map of TFLite', () => {
  it('names role, axis and quantization of weights and biases, and holds the lists of scales', () => {
    const file = smallTflite()
    expect(mapped(file).format).toBe('tflite')
    expect(roles(file)).toMatchObject({
      conv: ['weight', 0],
      bias: ['bias', null],
      dense: ['weight', 0],
      'conv:scale': ['scale', null],
      'conv:zero-point': ['zero-point', null],
      'x:scale': ['scale', null],
    })
    const tensors = byName(file)
    expect(tensors.get('conv')?.quantization).toEqual({
      scales: [0.1, 0.2, 0.3].map(Math.fround),
      zeroPoints: [0, 0, 0],
      axis: 0,
    })
    expect(contents(file, tensors.get('conv:scale')!)).toEqual(rawData('float32', [0.1, 0.2, 0.3]))
    expect(contents(file, tensors.get('bias')!)).toEqual(rawData('int32', [7, 8, 9]))
    expect(tensors.has('x')).toBe(false)
  })

  it('knows the operands of operators that differ from a convolution', () => {
    const builder = new TfliteBuilder()
    const main = builder.subgraph()
    const constant = (name: string, shape: readonly number[]) =>
      main.tensor({ name, type: 'int8', shape, data: new Uint8Array(shape.reduce((a, b) => a * b, 1)) })
    const x = main.tensor({ name: 'x', type: 'int8', shape: [1] })
    main.op(TFLITE_OPS.DEPTHWISE_CONV_2D, [x, constant('depthwise', [1, 2, 2, 3]), constant('db', [3])], [])
    main.op(
      TFLITE_OPS.TRANSPOSE_CONV,
      [constant('shape', [4]), constant('up', [2, 1, 1, 3]), x, constant('ub', [2])],
      [],
    )
    main.op(TFLITE_OPS.CONV_3D, [x, constant('volume', [1, 1, 1, 2, 5])], [])
    main.op(TFLITE_OPS.BATCH_MATMUL, [x, constant('product', [2, 2])], [])
    const gates = ['i', 'f', 'c', 'o']
    main.op(
      TFLITE_OPS.LSTM,
      [
        ...[x, ...gates.map((it) => constant(`w${it}`, [2, 3])), ...gates.map((it) => constant(`r${it}`, [2, 2]))],
        ...[-1, -1, -1, ...gates.map((it) => constant(`b${it}`, [2])), constant('projection', [2, 2])],
      ],
      [],
    )
    main.op(TFLITE_OPS.ADD, [x, constant('added', [1])], [])
    main.op(TFLITE_OPS.CUSTOM, [x, constant('custom', [1])], [])
    const gateRoles = gates.flatMap((it) => [
      [`w${it}`, ['weight', 0]],
      [`r${it}`, ['weight', 0]],
      [`b${it}`, ['bias', null]],
    ])
    expect(roles(builder.model())).toEqual({
      depthwise: ['weight', 3],
      db: ['bias', null],
      shape: ['other', null],
      up: ['weight', 0],
      ub: ['bias', null],
      volume: ['weight', 4],
      product: ['weight', null],
      ...Object.fromEntries(gateRoles),
      projection: ['weight', 0],
      added: ['other', null],
      custom: ['other', null],
    })
  })

  it('follows packed weights, and takes the channels of the quantization where an option hides the axis', () => {
    const builder = new TfliteBuilder()
    const main = builder.subgraph()
    const packed = main.tensor({ name: 'half', type: 'float16', shape: [2, 1], data: new Uint8Array(4) })
    const dense = main.tensor({ name: 'dense', type: 'float16', shape: [2, 1] })
    const single = main.tensor({ name: 'single', type: 'float32', shape: [2, 1] })
    main.op(TFLITE_OPS.FULLY_CONNECTED, [-1, single], [])
    // Control flow may list a reader before its source.
    main.op(TFLITE_OPS.DENSIFY, [packed], [dense]).op(TFLITE_OPS.DEQUANTIZE, [dense], [single])
    const quantization = { scales: [1, 2, 3], dimension: 1 }
    const product = main.tensor({ name: 'p', type: 'int8', shape: [2, 3], data: new Uint8Array(6), quantization })
    main.op(TFLITE_OPS.BATCH_MATMUL, [-1, product], [])
    expect(roles(builder.model())).toMatchObject({ half: ['weight', 0], p: ['weight', 1] })
    expect(byName(builder.model()).get('p')?.quantization?.zeroPoints).toEqual([0, 0, 0])
  })

  it('maps a shared buffer once, as the tensor whose role says most', () => {
    const builder = new TfliteBuilder()
    const main = builder.subgraph()
    const shared = builder.buffer(Uint8Array.of(1, 2, 3, 4))
    main.tensor({ name: 'first', type: 'int8', shape: [4], data: shared })
    const used = main.tensor({ name: 'used', type: 'int8', shape: [2, 2], data: shared })
    main.op(TFLITE_OPS.FULLY_CONNECTED, [-1, used], [])
    expect(roles(builder.model())).toEqual({ used: ['weight', 0] })
  })

  it('leaves out what is not stored as type and shape say', () => {
    const builder = new TfliteBuilder()
    const main = builder.subgraph()
    const data = new Uint8Array(4)
    main.tensor({ name: 'text', type: 'string', shape: [1], data })
    main.tensor({ name: 'later', type: 'later', shape: [4], data })
    main.tensor({ name: 'sparse', type: 'int8', shape: [4], data, sparse: true })
    main.tensor({ name: 'short', type: 'int8', shape: [5], data })
    main.tensor({ name: 'negative', type: 'int8', shape: [-2, -2], data })
    main.tensor({ name: 'nibbles', type: 'int4', shape: [7], data })
    main.tensor({ name: 'scalar', type: 'float32', shape: [], data })
    expect(Object.keys(roles(builder.model()))).toEqual(['nibbles', 'scalar'])
  })

  it('maps all subgraphs, and data outside the FlatBuffer', () => {
    const builder = new TfliteBuilder()
    builder.subgraph().tensor({ name: 't', type: 'int8', shape: [1], data: Uint8Array.of(1) })
    builder.subgraph('body').tensor({ name: 't', type: 'int8', shape: [1], data: Uint8Array.of(2) })
    builder.subgraph('').tensor({ name: 't', type: 'int8', shape: [1], data: builder.buffer(Uint8Array.of(3), true) })
    const file = builder.model()
    const tensors = byName(file)
    expect([...tensors.keys()]).toEqual(['t', 'body/t', 'graph#2/t'])
    expect([...tensors.values()].map((it) => [...contents(file, it)])).toEqual([[1], [2], [3]])
  })

  it('keeps of buffers that overlap the first', () => {
    const builder = new TfliteBuilder()
    const main = builder.subgraph()
    main.tensor({ name: 'a', type: 'int8', shape: [4], data: builder.buffer(new Uint8Array(4), true) })
    main.tensor({ name: 'b', type: 'int8', shape: [4], data: builder.buffer(new Uint8Array(4), true) })
    const file = builder.model()
    expect(Object.keys(roles(file))).toEqual(['a', 'b'])
    // The second buffer's offset, moved two bytes into the first.
    const view = new DataView(file.buffer)
    const from = file.length - 4
    for (let at = 8; at < from; at += 4) {
      if (view.getUint32(at, true) === from && view.getUint32(at + 4, true) === 0) view.setUint32(at, from - 2, true)
    }
    expect(Object.keys(roles(file))).toEqual(['a'])
  })
})

describe('tensor map of a bundle', () => {
  it('maps the sections that are graphs, where they lie in the bundle', () => {
    const onnx = keywordNetwork()
    const tflite = smallTflite()
    const text = new TextEncoder().encode('{"not":"a graph"}')
    const sections = [
      { name: 'manifest.json', data: text },
      { name: 'graph/full', data: onnx },
      { name: 'graph/lite', data: tflite },
      // A graph that is cut off is bytes like any other.
      { name: 'graph/broken', data: onnx.slice(0, 1_000) },
    ]
    const file = encodeBundle(sections)
    const { format, tensors } = mapped(file)
    expect(format).toBe('bundle')
    const alone = [
      ...mapped(onnx).tensors.map((it) => ({ it, file: onnx, section: 'graph/full' })),
      ...mapped(tflite).tensors.map((it) => ({ it, file: tflite, section: 'graph/lite' })),
    ]
    expect(tensors).toHaveLength(alone.length)
    for (const [index, { it, file: part, section }] of alone.entries()) {
      const { range, name, ...rest } = tensors[index]!
      expect({ name, ...rest }).toEqual({ ...it, range: undefined, name: `${section}/${it.name}` })
      expect(contents(file, tensors[index]!)).toEqual(contents(part, it))
    }
  })

  it('maps from the middle of a larger memory', () => {
    const file = encodeBundle([{ name: 'graph/full', data: smallTflite() }])
    const memory = new Uint8Array(file.length + 32)
    memory.set(file, 7)
    expect(readTensorMap(memory.subarray(7, 7 + file.length))).toEqual(readTensorMap(file))
  })
})

describe('tensor map', () => {
  it('is empty for a model without tensors', () => {
    expect(mapped(new TfliteBuilder().model())).toEqual({ format: 'tflite', tensors: [] })
    expect(mapped(new OnnxBuilder().model())).toEqual({ format: 'onnx', tensors: [] })
    const bundle = encodeBundle([{ name: 'card.json', data: new Uint8Array(3) }])
    expect(mapped(bundle)).toEqual({ format: 'bundle', tensors: [] })
  })

  it('tells what is no model from a model that is broken', () => {
    const text = new TextEncoder().encode('no model of any kind')
    for (const file of [new Uint8Array(0), new Uint8Array(64), text]) expect(refusal(file)).toBe('not-a-model')
    expect(refusal(new Uint8Array(64 * 1024 * 1024 + 1))).toBe('not-a-model')
    expect(refusal(keywordNetwork().slice(0, 5_000))).toBe('onnx-malformed')
    expect(refusal(smallTflite().slice(0, 200))).toBe('tflite-malformed')
    const bundle = encodeBundle([{ name: 'graph/full', data: smallTflite() }])
    expect(refusal(bundle.slice(0, -1))).toBe('bundle-truncated')
    bundle[bundle.length - 1]! ^= 1
    expect(refusal(bundle)).toBe('bundle-section-hash')
  })

  it('reads an ONNX file whose producer stands where TFLite has its identifier', () => {
    const graph = new ProtobufWriter().bytes(5, tensor('t', 'int8', [1], [1]))
    const file = new ProtobufWriter().varint(1, 8).bytes(2, 'TFL3').bytes(7, graph).finish()
    expect(new TextDecoder().decode(file.slice(4, 8))).toBe('TFL3')
    expect(mapped(file).format).toBe('onnx')
  })
})
