import { describe, expect, it } from 'vitest'
import { TFLITE_LIMITS } from '../../../../model/tflite/tflite-limits.ts'
import { readTflite } from '../../../../model/tflite/tflite-reader.ts'
import type { TfliteModel } from '../../../../model/tflite/tflite-types.ts'
import {
  bytes,
  type FlatNode,
  flatbuffer,
  int8,
  int32,
  int32s,
  table,
  tables,
  text,
  uint32,
  uint64,
} from '../../../fixtures/flatbuffer-builder.ts'
import { smallTflite, TFLITE_OPS, TfliteBuilder } from '../../../fixtures/tflite-builder.ts'

function read(file: Uint8Array): TfliteModel {
  const model = readTflite(file)
  if (!model.ok) throw new Error(`${model.error.code}: ${model.error.detail}`)
  return model.value
}
const refusal = (file: Uint8Array): string => {
  const model = readTflite(file)
  return model.ok ? 'read' : model.error.code
}

interface Parts {
  readonly codes?: readonly FlatNode[]
  readonly subgraphs?: readonly FlatNode[]
  readonly buffers?: readonly FlatNode[]
}
const modelOf = ({ codes = [], subgraphs = [], buffers = [table()] }: Parts): Uint8Array =>
  flatbuffer(table(uint32(3), tables(codes), tables(subgraphs), null, tables(buffers)), 'TFL3')
const subgraph = (tensors: readonly FlatNode[], operators: readonly FlatNode[] = []): FlatNode =>
  table(tables(tensors), null, null, tables(operators))
const subgraphWithEnds = (inputs: readonly number[], outputs: readonly number[]): FlatNode =>
  table(tables([tensor(0)]), int32s(inputs), int32s(outputs), tables([]))
const tensor = (buffer: number, name = 't'): FlatNode => table(int32s([1]), int8(9), uint32(buffer), text(name))

/** Writes one 32-bit word into a copy. */
const withWord = (file: Uint8Array, at: number, value: number): Uint8Array => {
  const copy = file.slice()
  new DataView(copy.buffer).setUint32(at, value, true)
  return copy
}

describe('TFLite reader', () => {
  it('reads subgraphs, tensors, quantization, buffers and operators', () => {
    const file = smallTflite()
    const { subgraphs, buffers } = read(file)
    expect(subgraphs).toHaveLength(1)
    const { name, tensors, operators } = subgraphs[0]!
    expect(name).toBe('main')
    expect(tensors.map((it) => [it.name, it.elementType, it.shape, it.buffer, it.sparse])).toEqual([
      ['x', 'int8', [1, 4, 4, 2], 0, false],
      ['conv', 'int8', [3, 1, 1, 2], 1, false],
      ['bias', 'int32', [3], 2, false],
      ['y', 'int8', [1, 4, 4, 3], 0, false],
      ['dense', 'int8', [2, 48], 3, false],
      ['z', 'int8', [1, 2], 0, false],
    ])
    expect(tensors[1]?.quantization).toMatchObject({
      scales: [0.1, 0.2, 0.3].map(Math.fround),
      zeroPoints: [0, 0, 0],
      dimension: 0,
    })
    expect(tensors[2]?.quantization).toBeNull()
    expect(operators).toMatchObject([
      { builtinCode: 3, customCode: '', inputs: [0, 1, 2], outputs: [3] },
      { builtinCode: 9, customCode: '', inputs: [3, 4, -1], outputs: [5] },
    ])
    expect(buffers[0]).toBeNull()
    expect(buffers.slice(1).map((range) => file.slice(range!.offset, range!.offset + range!.length))).toEqual([
      Uint8Array.of(1, 2, 3, 4, 5, 6),
      new Uint8Array(Int32Array.of(7, 8, 9).buffer),
      Uint8Array.from({ length: 96 }, (_, i) => i),
    ])
  })

  it('reads the ends of a subgraph and which tensors are variables, and refuses an end that is no tensor', () => {
    const variable = table(int32s([1]), int8(9), uint32(0), text('v'), null, int8(1))
    const ends = table(tables([tensor(0), variable]), int32s([0]), int32s([1, 0]), tables([]))
    const { inputs, outputs, tensors } = read(modelOf({ subgraphs: [ends] })).subgraphs[0]!
    expect([inputs, outputs]).toEqual([[0], [1, 0]])
    expect(tensors.map((it) => it.variable)).toEqual([false, true])
    for (const bad of [-1, 1]) {
      expect(refusal(modelOf({ subgraphs: [subgraphWithEnds([bad], [])] }))).toBe('tflite-malformed')
      expect(refusal(modelOf({ subgraphs: [subgraphWithEnds([], [bad])] }))).toBe('tflite-malformed')
    }
  })

  it('reads the options of an operator and the name of a custom one', () => {
    const options = table(int8(1), int32s([7]))
    const operator = table(null, int32s([0]), int32s([0]), int8(1), options)
    const custom = table(int8(32), text('Mine'))
    const file = modelOf({ codes: [custom], subgraphs: [subgraph([tensor(0)], [operator])] })
    const found = read(file).subgraphs[0]!.operators[0]!
    expect([found.builtinCode, found.customCode, found.optionsType]).toEqual([32, 'Mine', 1])
    expect(found.options?.int8(0)).toBe(1)
    expect(found.options?.int32s(1, 4)).toEqual([7])
  })

  it('locates the lists of the quantization', () => {
    const builder = new TfliteBuilder()
    const quantization = { min: [-1, -2], scales: [0.5, 0.25], zeroPoints: [3, -4], dimension: 1 }
    builder.subgraph().tensor({ name: 't', type: 'int8', shape: [1, 2], quantization })
    const file = builder.model()
    const { ranges } = read(file).subgraphs[0]!.tensors[0]!.quantization!
    const at = ({ offset, length }: { offset: number; length: number }) => file.slice(offset, offset + length).buffer
    expect([...new Float32Array(at(ranges.scales))]).toEqual(quantization.scales)
    expect([...new BigInt64Array(at(ranges.zeroPoints))]).toEqual([3n, -4n])
    expect([...new Float32Array(at(ranges.min))]).toEqual(quantization.min)
    expect(ranges.max.length).toBe(0)
  })

  it('reads operator codes of either field', () => {
    for (const [oldCodes, code] of [
      [true, TFLITE_OPS.FULLY_CONNECTED],
      [false, TFLITE_OPS.FULLY_CONNECTED],
      [false, TFLITE_OPS.CONV_3D],
    ] as const) {
      const builder = new TfliteBuilder()
      builder.oldCodes = oldCodes
      builder.subgraph().op(code, [], [])
      expect(read(builder.model()).subgraphs[0]?.operators[0]?.builtinCode).toBe(code)
    }
  })

  it('finds buffers outside the FlatBuffer, and takes an offset of 0 or 1 for none', () => {
    const builder = new TfliteBuilder()
    builder.buffer(Uint8Array.of(5, 6, 7), true)
    const file = builder.model()
    expect(read(file).buffers).toEqual([null, { offset: file.length - 3, length: 3 }])
    expect(read(modelOf({ buffers: [table(null, uint64(1), uint64(1))] })).buffers).toEqual([null])
  })

  it('leaves open what is no number of a fixed width, and quantization of another kind', () => {
    const builder = new TfliteBuilder()
    const main = builder.subgraph()
    main.tensor({ name: 'text', type: 'string', shape: [1] })
    main.tensor({ name: 'later', type: 'later', shape: [1] })
    main.tensor({ name: 'custom', type: 'int8', shape: [1], quantization: { scales: [1], details: 1 } })
    main.tensor({ name: 'ranges', type: 'int8', shape: [1], quantization: { min: [0] }, sparse: true })
    const { tensors } = read(builder.model()).subgraphs[0]!
    expect(tensors.map(({ elementType }) => elementType)).toEqual([null, null, 'int8', 'int8'])
    expect(tensors.map(({ quantization }) => quantization)).toEqual([null, null, null, null])
    expect(tensors.map(({ sparse }) => sparse)).toEqual([false, false, false, true])
  })

  it('reads an empty model, absent lists, and a name that is no UTF-8', () => {
    expect(read(flatbuffer(table(uint32(3)), 'TFL3'))).toEqual({ subgraphs: [], buffers: [], metadata: [] })
    const name = bytes(Uint8Array.of(0x61, 0xff, 0x62))
    const unnamed = table(int32s([]), null, null, name)
    expect(read(modelOf({ subgraphs: [subgraph([unnamed])] })).subgraphs[0]?.tensors[0]?.name).toBe('a\ufffdb')
  })

  it('reads a file at any alignment and from the middle of a larger memory', () => {
    const file = smallTflite()
    for (const shift of [1, 2, 3, 5]) {
      const memory = new Uint8Array(file.length + 16).fill(0xee)
      memory.set(file, shift)
      expect(read(memory.subarray(shift, shift + file.length))).toEqual(read(file))
    }
  })
})

describe('TFLite reader refuses', () => {
  it('files that are cut off anywhere before their last byte of structure', () => {
    const file = smallTflite()
    for (let length = 0; length < file.length; length++) {
      expect(refusal(file.subarray(0, length)), `first ${length} bytes`).toBe('tflite-malformed')
    }
  })

  it('other identifiers and schema versions', () => {
    expect(refusal(flatbuffer(table(uint32(3)), 'TFL2'))).toBe('tflite-malformed')
    expect(refusal(flatbuffer(table(uint32(4)), 'TFL3'))).toBe('tflite-unknown-version')
    expect(refusal(flatbuffer(table(), 'TFL3'))).toBe('tflite-unknown-version')
  })

  it('offsets and vtables that lead out of the file or of their table', () => {
    const file = flatbuffer(table(uint32(3)), 'TFL3')
    // Identifier, then the vtable at 8: its size, the table's size, the offset of field 0; the table follows at 16.
    expect([...new Uint16Array(file.slice(8, 14).buffer)]).toEqual([6, 8, 4])
    expect(refusal(file)).toBe('read')
    const broken = {
      'no root': withWord(file, 0, 0),
      'root beyond the end': withWord(file, 0, 0xffff_fff0),
      'root on the last bytes': withWord(file, 0, file.length - 2),
      'vtable before the file': withWord(file, 16, 64),
      'vtable after the file': withWord(file, 16, -64 >>> 0),
      'vtable of two bytes': withWord(file, 8, (8 << 16) | 2),
      'vtable of odd size': withWord(file, 8, (8 << 16) | 7),
      'vtable longer than the file': withWord(file, 8, (8 << 16) | 0x8000),
      'table of two bytes': withWord(file, 8, (2 << 16) | 6),
      'table longer than the file': withWord(file, 8, (0x8000 << 16) | 6),
      'field beyond its table': withWord(file, 12, 6),
      'field over the vtable offset': withWord(file, 12, 2),
    }
    for (const [what, bad] of Object.entries(broken)) expect(refusal(bad), what).toBe('tflite-malformed')
  })

  it('indices that lead nowhere', () => {
    const code = [table(int8(3))]
    const op = (index: number, inputs: readonly number[]) => [table(uint32(index), int32s(inputs), null)]
    const one = [tensor(0)]
    expect(refusal(modelOf({ codes: code, subgraphs: [subgraph(one, op(0, [0, -1]))] }))).toBe('read')
    expect(refusal(modelOf({ codes: code, subgraphs: [subgraph(one, op(1, [0]))] }))).toBe('tflite-malformed')
    expect(refusal(modelOf({ codes: code, subgraphs: [subgraph(one, op(0, [1]))] }))).toBe('tflite-malformed')
    expect(refusal(modelOf({ codes: code, subgraphs: [subgraph(one, op(0, [-2]))] }))).toBe('tflite-malformed')
    expect(refusal(modelOf({ subgraphs: [subgraph([tensor(1)])] }))).toBe('tflite-malformed')
  })

  it('buffers outside the file, or in two places; zero points that no double holds', () => {
    const outside = (offset: number | bigint, size: number | bigint) =>
      refusal(modelOf({ buffers: [table(null, uint64(offset), uint64(size))] }))
    expect(outside(8, 8)).toBe('read')
    expect(outside(8, 8_000)).toBe('tflite-malformed')
    expect(outside(2n ** 64n - 8n, 16)).toBe('tflite-malformed')
    expect(outside(2, 2n ** 64n - 1n)).toBe('tflite-malformed')
    const twice = table(bytes(Uint8Array.of(1)), uint64(8), uint64(1))
    expect(refusal(modelOf({ buffers: [twice] }))).toBe('tflite-malformed')
    const builder = new TfliteBuilder()
    const quantization = { scales: [1], zeroPoints: [2n ** 60n] }
    builder.subgraph().tensor({ name: 't', type: 'int8', shape: [1], quantization })
    expect(refusal(builder.model())).toBe('tflite-malformed')
  })

  it('what is larger than its bounds', () => {
    expect(refusal(new Uint8Array(TFLITE_LIMITS.modelBytes + 1))).toBe('tflite-too-large')
    const name = 'x'.repeat(TFLITE_LIMITS.nameBytes + 1)
    expect(refusal(modelOf({ subgraphs: [subgraph([tensor(0, name)])] }))).toBe('tflite-too-large')
    const shape = int32s(new Array<number>(TFLITE_LIMITS.dims + 1).fill(1))
    expect(refusal(modelOf({ subgraphs: [subgraph([table(shape)])] }))).toBe('tflite-too-large')
    const inputs = int32s(new Array<number>(TFLITE_LIMITS.operatorPorts + 1).fill(-1))
    const wide = subgraph([], [table(uint32(0), inputs, null)])
    expect(refusal(modelOf({ codes: [table(int8(3))], subgraphs: [wide] }))).toBe('tflite-too-large')
  })

  it('tensors of all subgraphs together beyond the bound, though each has few', () => {
    const half = subgraph(new Array<FlatNode>(TFLITE_LIMITS.tensors / 2 + 1).fill(table()))
    // Bytes that nobody reads buy the budget of a large file.
    const ballast = [table(bytes(new Uint8Array(4 * 1024 * 1024)))]
    expect(refusal(modelOf({ subgraphs: [half], buffers: ballast }))).toBe('read')
    expect(refusal(modelOf({ subgraphs: [half, half], buffers: ballast }))).toBe('tflite-too-large')
  })

  it('a small file that shares its parts to multiply work', () => {
    const list = int32s(new Array<number>(4_000).fill(-1))
    const operators = new Array<FlatNode>(4_000).fill(table(uint32(0), list, list))
    const file = modelOf({ codes: [table(int8(3), null, int32(1))], subgraphs: [subgraph([], operators)] })
    expect(file.length).toBeLessThan(40_000)
    expect(refusal(file)).toBe('tflite-too-large')
  })
})
