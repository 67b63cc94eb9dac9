import { describe, expect, it } from 'vitest'
import { ONNX_LIMITS } from '../../../../model/onnx/onnx-limits.ts'
import { readOnnx } from '../../../../model/onnx/onnx-reader.ts'
import type { OnnxModel } from '../../../../model/onnx/onnx-types.ts'
import {
  node,
  OnnxBuilder,
  ProtobufWriter,
  rawData,
  TYPE_CODES,
  tensor,
  valueInfo,
} from '../../../fixtures/onnx-builder.ts'

function read(bytes: Uint8Array): OnnxModel {
  const model = readOnnx(bytes)
  if (!model.ok) throw new Error(`${model.error.code}: ${model.error.detail}`)
  return model.value
}

const refusal = (bytes: Uint8Array): string => {
  const model = readOnnx(bytes)
  return model.ok ? 'read' : model.error.code
}
const detail = (bytes: Uint8Array): string => {
  const model = readOnnx(bytes)
  return model.ok ? 'read' : model.error.detail
}

const modelOf = (graph: ProtobufWriter) => new ProtobufWriter().varint(1, 8).bytes(7, graph).finish()
const withInitializer = (message: ProtobufWriter) => modelOf(new ProtobufWriter().bytes(5, message))
const withNode = (message: ProtobufWriter) => modelOf(new ProtobufWriter().bytes(1, message))

describe('what it reads', () => {
  it('reads versions, borders, nodes and attributes', () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', ['N', 1, 49, 10])
    const y = builder.op('Conv', [x, '', 'w'], {
      pads: [0, 1, -2, 3],
      group: 1,
      auto_pad: 'NOTSET',
      alpha: { float: 0.5 },
    })
    const model = read(builder.output(y, 'int8', [1, 12]).model(17))
    expect([model.irVersion, model.opsets.get(''), model.producer]).toEqual([8, 17, 'kinglet-test'])
    expect(model.graph.inputs).toEqual([{ name: 'x', elementType: 'float32', dims: [null, 1, 49, 10] }])
    expect(model.graph.outputs).toEqual([{ name: y, elementType: 'int8', dims: [1, 12] }])
    const [conv] = model.graph.nodes
    expect([conv?.opType, conv?.domain, conv?.inputs, conv?.outputs]).toEqual(['Conv', '', ['x', '', 'w'], [y]])
    expect(conv?.attributes.get('pads')).toEqual({ kind: 'ints', value: [0, 1, -2, 3] })
    expect(conv?.attributes.get('alpha')).toEqual({ kind: 'float', value: 0.5 })
    expect(conv?.attributes.get('auto_pad')).toEqual({ kind: 'string', value: new TextEncoder().encode('NOTSET') })
  })

  it('an operator set that is imported twice counts with its highest version, whichever comes first', () => {
    const imported = (domain: string, version: number) => new ProtobufWriter().bytes(1, domain).varint(2, version)
    const withImports = (...imports: ProtobufWriter[]) => {
      const model = new ProtobufWriter().varint(1, 8).bytes(7, new OnnxBuilder().output('y', 'float32', []).graph())
      for (const each of imports) model.bytes(8, each)
      return model.finish()
    }
    for (const versions of [
      [11, 14],
      [14, 11],
    ]) {
      const [first, second] = versions as [number, number]
      const model = read(withImports(imported('', first), imported('ai.onnx', second), imported('x', 1)))
      expect([...model.opsets]).toEqual([
        ['', 14],
        ['x', 1],
      ])
    }
    // Each import counts towards the bound, the same one too.
    expect(refusal(withImports(...Array.from({ length: 65 }, () => imported('', 11))))).toBe('onnx-too-large')
  })

  it('gives every raw initializer as a view with its byte range in the file', () => {
    const builder = new OnnxBuilder()
    builder.constant('int8', [2, 2], [1, -2, 3, -4])
    builder.constant('float32', [2], [0.25, -8])
    const bytes = builder.output('y', 'float32', []).model()
    const { initializers } = read(bytes).graph
    expect(initializers.map((it) => [it.elementType, it.dims, it.elements])).toEqual([
      ['int8', [2, 2], 4],
      ['float32', [2], 2],
    ])
    for (const initializer of initializers) {
      const { offset, length } = initializer.range!
      expect(initializer.data).toEqual(bytes.subarray(offset, offset + length))
      expect(initializer.data.buffer).toBe(bytes.buffer)
    }
    expect([...initializers[0]!.data]).toEqual([1, 254, 3, 252])
  })

  it('gives ranges relative to the file when the file is a view itself', () => {
    const builder = new OnnxBuilder()
    builder.constant('int8', [3], [7, 8, 9])
    const bytes = builder.model()
    const shifted = new Uint8Array(bytes.length + 11)
    shifted.set(bytes, 11)
    const file = shifted.subarray(11)
    const { offset, length } = read(file).graph.initializers[0]!.range!
    expect([...file.subarray(offset, offset + length)]).toEqual([7, 8, 9])
  })

  it.each(['packed', 'unpacked'] as const)('decodes typed data, %s', (storage) => {
    const cases = [
      ['int8', [5, -6, 127, -128]],
      ['uint8', [0, 255]],
      ['int32', [-(2 ** 31), 2 ** 31 - 1]],
      ['int64', [-1, 2 ** 40, 0]],
      // float_data has been packed since ONNX began; a lone float field is refused below.
      ['float32', storage === 'packed' ? [1.5, -2] : []],
    ] as const
    for (const [type, values] of cases) {
      const [initializer] = read(withInitializer(tensor('t', type, [values.length], values, { storage }))).graph
        .initializers
      expect(initializer?.data).toEqual(rawData(type, values))
      expect(initializer?.range === null).toBe(storage === 'unpacked' || type !== 'float32')
    }
  })

  it('reads subgraphs and tensor attributes', () => {
    const branch = new ProtobufWriter().bytes(1, node('Identity', ['x'], ['z']))
    const value = tensor('', 'int64', [1], [3])
    const message = node('If', ['c'], ['y'], { then_branch: { graph: branch }, value: { tensor: value } })
    const { attributes } = read(withNode(message)).graph.nodes[0]!
    const read_ = attributes.get('then_branch')
    expect(read_?.kind === 'graph' && read_.value.nodes[0]?.opType).toBe('Identity')
    const read2 = attributes.get('value')
    expect(read2?.kind === 'tensor' && read2.value.elements).toBe(1)
  })

  it('skips unknown fields of every wire type', () => {
    const graph = new ProtobufWriter()
      .varint(99, 7)
      .bytes(98, 'new')
      .float(97, 1)
      .raw(0xb9, 0x06, 1, 2, 3, 4, 5, 6, 7, 8)
    expect(refusal(modelOf(graph))).toBe('read')
  })

  it('reads an unset, -1 or 0 dimension as open', () => {
    const shape = new ProtobufWriter()
    for (const dim of [-1, 0, 4]) shape.bytes(1, new ProtobufWriter().varint(1, dim))
    shape.bytes(1, new ProtobufWriter())
    const type = new ProtobufWriter().bytes(1, new ProtobufWriter().varint(1, 1).bytes(2, shape))
    const graph = new ProtobufWriter().bytes(11, new ProtobufWriter().bytes(1, 'x').bytes(2, type))
    expect(read(modelOf(graph)).graph.inputs[0]?.dims).toEqual([null, null, 4, null])
  })
})

describe('what it refuses', () => {
  const sample = (): Uint8Array => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [1, 4])
    const weights = builder.constant('int64', [2], [2, 2], { storage: 'packed' })
    const y = builder.op('Reshape', [x, weights], { allowzero: 0 })
    return builder.output(y, 'float32', [2, 2]).model()
  }

  it('every truncation', () => {
    const bytes = sample()
    for (let length = 0; length < bytes.length; length++) {
      expect(refusal(bytes.subarray(0, length)), `first ${length} bytes`).toBe('onnx-malformed')
    }
    expect(refusal(bytes)).toBe('read')
  })

  // The detail is checked too: without a graph these files would be malformed in any case.
  it.each([
    ['a varint of eleven bytes', [0x08, ...new Array<number>(10).fill(0x80), 0x01], 'varint longer than ten bytes'],
    ['a varint above 64 bits', [0x08, ...new Array<number>(9).fill(0xff), 0x02], 'varint larger than 64 bits'],
    ['a varint that is not minimal', [0x08, 0x88, 0x00], 'overlong varint'],
    ['a varint cut off', [0x08, 0x88], 'truncated varint'],
    ['field number 0', [0x00, 0x01], 'field number 0'],
    ['a group', [0x0b, 0x0c], 'wire type 3'],
    ['a wire type that does not exist', [0xfe, 0x01], 'wire type 6'],
    ['a length past the end', [0x3a, 0x05, 0x00], '5 bytes wanted, 1 left'],
    ['a length of 2^35', [0x3a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], 'length is larger than 32 bits'],
    ['a graph given as a number', [0x38, 0x01], 'wire type 0, expected 2'],
    ['an IR version above 2^53', [0x08, ...new Array<number>(8).fill(0xff), 0x7f], 'out of range'],
  ])('%s', (_, bytes, expected) => {
    expect(refusal(Uint8Array.from(bytes))).toBe('onnx-malformed')
    expect(detail(Uint8Array.from(bytes))).toContain(expected)
  })

  it('says which field at which byte', () => {
    expect(detail(Uint8Array.from([0x08, 0x08, 0x3a, 0x05, 0x00]))).toBe(
      '5 bytes wanted, 1 left in ModelProto field 7 at byte 2',
    )
  })

  it('singular fields repeated, which another runtime would read otherwise', () => {
    const empty = new ProtobufWriter()
    expect(refusal(new ProtobufWriter().varint(1, 8).bytes(7, empty).bytes(7, empty).finish())).toBe('onnx-malformed')
    const twice = tensor('t', 'int8', [1], [1]).bytes(9, rawData('int8', [2]))
    expect(refusal(withInitializer(twice))).toBe('onnx-malformed')
    const mixed = tensor('t', 'int8', [1], [1]).varint(5, 2)
    expect(refusal(withInitializer(mixed))).toBe('onnx-malformed')
  })

  it('a tensor whose data contradicts its dims or type', () => {
    expect(refusal(withInitializer(tensor('t', 'int8', [3], [1, 2])))).toBe('onnx-malformed')
    expect(refusal(withInitializer(tensor('t', 'int8', [-1], [])))).toBe('onnx-malformed')
    expect(refusal(withInitializer(tensor('t', 'int8', [1], [300], { storage: 'packed' })))).toBe('onnx-malformed')
    expect(refusal(withInitializer(tensor('t', 'int32', [2], [1], { storage: 'packed' })))).toBe('onnx-malformed')
    const floatsAsInts = new ProtobufWriter()
      .varint(1, 1)
      .varint(2, TYPE_CODES.int8)
      .bytes(4, rawData('float32', [1]))
    expect(refusal(withInitializer(floatsAsInts))).toBe('onnx-malformed')
    expect(refusal(withInitializer(new ProtobufWriter().varint(2, 0)))).toBe('onnx-malformed')
    expect(refusal(withInitializer(tensor('t', 'float32', [1], [1], { storage: 'unpacked' })))).toBe('onnx-malformed')
    const huge = new ProtobufWriter()
      .varint(1, 2 ** 31 - 1)
      .varint(1, 2 ** 31 - 1)
      .varint(1, 4)
      .varint(2, 3)
    expect(refusal(withInitializer(huge))).toBe('onnx-too-large')
  })

  it('data in another file', () => {
    const entry = new ProtobufWriter().bytes(1, 'location').bytes(2, '../../etc/passwd')
    expect(refusal(withInitializer(new ProtobufWriter().varint(1, 1).varint(2, 1).bytes(13, entry)))).toBe(
      'onnx-external-data',
    )
    expect(refusal(withInitializer(new ProtobufWriter().varint(1, 1).varint(2, 1).varint(14, 1)))).toBe(
      'onnx-external-data',
    )
  })

  it('strings and sparse tensors', () => {
    expect(refusal(withInitializer(new ProtobufWriter().varint(1, 1).varint(2, 8).bytes(6, 'a')))).toBe(
      'onnx-unsupported-type',
    )
    expect(refusal(modelOf(new ProtobufWriter().bytes(15, new ProtobufWriter())))).toBe('onnx-unsupported-type')
  })

  it('names that are no UTF-8, attributes twice, nodes without operator, a model without a graph', () => {
    expect(refusal(withNode(new ProtobufWriter().bytes(4, Uint8Array.of(0xc3, 0x28))))).toBe('onnx-malformed')
    const attribute = new ProtobufWriter().bytes(1, 'axis').varint(3, 1).varint(20, 2)
    expect(refusal(withNode(node('Softmax', ['x'], ['y']).bytes(5, attribute).bytes(5, attribute)))).toBe(
      'onnx-malformed',
    )
    expect(refusal(withNode(new ProtobufWriter()))).toBe('onnx-malformed')
    expect(refusal(new ProtobufWriter().varint(1, 8).finish())).toBe('onnx-malformed')
    expect(refusal(new ProtobufWriter().bytes(7, new ProtobufWriter()).finish())).toBe('onnx-malformed')
  })

  it('what is larger than its bounds', () => {
    expect(refusal(new Uint8Array(ONNX_LIMITS.modelBytes + 1))).toBe('onnx-too-large')
    expect(refusal(withNode(new ProtobufWriter().bytes(4, 'x'.repeat(ONNX_LIMITS.nameBytes + 1))))).toBe(
      'onnx-too-large',
    )
    const deep = tensor('t', 'int8', new Array<number>(ONNX_LIMITS.dims + 1).fill(1), [1])
    expect(refusal(withInitializer(deep))).toBe('onnx-too-large')
    const many = new ProtobufWriter()
    for (let i = 0; i <= ONNX_LIMITS.nodes; i++) many.raw(0x0a, 0x03, 0x22, 0x01, 0x41)
    expect(refusal(modelOf(many))).toBe('onnx-too-large')
    const ports = new ProtobufWriter()
    for (let i = 0; i <= ONNX_LIMITS.graphPorts; i++) ports.bytes(11, valueInfo('x', 'int8', [1]))
    expect(refusal(modelOf(ports))).toBe('onnx-too-large')
  })

  it('graphs nested deeper than the bound', () => {
    const nested = (depth: number): ProtobufWriter => {
      const graph = new ProtobufWriter()
      return depth === 1
        ? graph
        : graph.bytes(1, node('If', ['c'], ['y'], { then_branch: { graph: nested(depth - 1) } }))
    }
    expect(refusal(modelOf(nested(ONNX_LIMITS.graphDepth)))).toBe('read')
    expect(refusal(modelOf(nested(ONNX_LIMITS.graphDepth + 1)))).toBe('onnx-too-large')
  })
})
