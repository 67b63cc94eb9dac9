import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeBundle } from '../../contract/bundle.ts'
import { readTensorMap } from '../../model/tensor-map.ts'
import {
  type FlatNode,
  flatbuffer,
  float32s,
  int8,
  int32s,
  table,
  tables,
  text,
  uint32,
} from '../fixtures/flatbuffer-builder.ts'
import { node, OnnxBuilder, ProtobufWriter, tensor } from '../fixtures/onnx-builder.ts'
import { keywordNetwork } from '../fixtures/onnx-networks.ts'
import { unsoundness } from '../fixtures/tensor-map-check.ts'
import { smallTflite, TFLITE_OPS, TfliteBuilder } from '../fixtures/tflite-builder.ts'

const CODE = /^(not-a-model|onnx-|tflite-|bundle-|too-large|unknown-schema-version)/

function check(file: Uint8Array): 'mapped' | 'refused' {
  const map = readTensorMap(file)
  if (map.ok) expect(unsoundness(file.length, map.value)).toBeNull()
  else expect(map.error.code).toMatch(CODE)
  return map.ok ? 'mapped' : 'refused'
}

/** Words at which arithmetic on offsets goes wrong, and small ones that lead into the file. */
const words = fc.oneof(
  fc.nat(600),
  fc.constantFrom(0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_fff8, 0x4000_0000),
  fc.nat(0xffff_ffff),
)

describe('tensor maps of damaged files', () => {
  const files = {
    onnx: keywordNetwork().slice(),
    tflite: smallTflite(),
    bundle: encodeBundle([{ name: 'g', data: smallTflite() }]),
  }

  it.each(Object.entries(files))('%s: a map that is sound or a refusal, whatever the bytes', (_name, file) => {
    const answers = { mapped: 0, refused: 0 }
    // The head of the file is structure; uniformly chosen positions would mostly fall into weights.
    const position = fc.oneof(fc.nat(file.length - 1), fc.nat(Math.min(file.length - 1, 1_500)))
    fc.assert(
      fc.property(fc.array(fc.tuple(position, fc.nat(255)), { minLength: 1, maxLength: 8 }), (damage) => {
        const bytes = file.slice()
        for (const [at, value] of damage) bytes[at] = value
        answers[check(bytes)]++
      }),
      { numRuns: 250 },
    )
    fc.assert(
      fc.property(position, fc.nat(64), fc.boolean(), (at, length, doubled) => {
        const end = Math.min(file.length, at + length)
        const bytes = new Uint8Array([...file.subarray(0, doubled ? end : at), ...file.subarray(doubled ? at : end)])
        answers[check(bytes)]++
      }),
      { numRuns: 100 },
    )
    expect(answers.refused).toBeGreaterThan(50)
  })

  it('tflite: every word of the structure replaced', () => {
    const file = files.tflite
    const answers = { mapped: 0, refused: 0 }
    fc.assert(
      fc.property(fc.nat(file.length - 4), words, (at, word) => {
        const bytes = file.slice()
        new DataView(bytes.buffer).setUint32(at, word, true)
        answers[check(bytes)]++
      }),
      { numRuns: 2_000 },
    )
    expect(answers.mapped).toBeGreaterThan(50)
    expect(answers.refused).toBeGreaterThan(50)
  })

  it('random bytes, with and without the marks of the formats', () => {
    const marks = [[], [8, 8], [0x4b, 0x4e, 0x47, 0x4c], [16, 0, 0, 0, 0x54, 0x46, 0x4c, 0x33]]
    fc.assert(
      fc.property(fc.constantFrom(...marks), fc.uint8Array({ maxLength: 200 }), (mark, rest) => {
        check(Uint8Array.of(...mark, ...rest))
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('tensor maps of built files', () => {
  const dims = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 4 })
  const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)

  it('hold every tensor of an ONNX file that is written as raw bytes, with its contents', () => {
    fc.assert(
      fc.property(fc.array(dims, { maxLength: 6 }), (shapes) => {
        const builder = new OnnxBuilder()
        const names = shapes.map((shape, index) => builder.constant('int8', shape, new Array(count(shape)).fill(index)))
        const file = builder.model()
        const map = readTensorMap(file)
        if (!map.ok) throw new Error(map.error.detail)
        expect(
          map.value.tensors.map(({ name, shape, range }) => ({
            name,
            shape,
            data: file.slice(range.offset, range.offset + range.length),
          })),
        ).toEqual(
          shapes.map((shape, index) => ({ name: names[index], shape, data: new Uint8Array(count(shape)).fill(index) })),
        )
      }),
    )
  })

  it('hold every constant of a TFLite file, inside the FlatBuffer or outside', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(dims, fc.boolean()), { maxLength: 6 }), (constants) => {
        const builder = new TfliteBuilder()
        const main = builder.subgraph()
        for (const [index, [shape, outside]] of constants.entries()) {
          const data = builder.buffer(new Uint8Array(count(shape)).fill(index + 1), outside)
          main.tensor({ name: `t${index}`, type: 'int8', shape, data })
        }
        const file = builder.model()
        const map = readTensorMap(file)
        if (!map.ok) throw new Error(map.error.detail)
        const found = new Map(map.value.tensors.map((it) => [it.name, it]))
        expect(found.size).toBe(constants.length)
        for (const [index, [shape]] of constants.entries()) {
          const { range, shape: mappedShape } = found.get(`t${index}`)!
          expect(mappedShape).toEqual(shape)
          expect(file.slice(range.offset, range.offset + range.length)).toEqual(
            new Uint8Array(count(shape)).fill(index + 1),
          )
        }
      }),
    )
  })
})

/** Of core time. Chosen: each takes less than a second. */
const LIMIT_MS = 20_000

/** Files made to cost far more than their size. Quadratic time would be minutes. */
describe('tensor maps of files built to be slow', () => {
  const within = (file: Uint8Array) => {
    const from = process.cpuUsage()
    const answer = check(file)
    const { user, system } = process.cpuUsage(from)
    expect((user + system) / 1000).toBeLessThan(LIMIT_MS)
    return answer
  }

  it('one long list of scales that every tensor shares', () => {
    const scales = float32s(new Array<number>(20_000).fill(1))
    const quantization = table(null, null, scales, null)
    const one = table(int32s([20_000]), int8(9), uint32(0), text('t'), quantization)
    const tensors = new Array<FlatNode>(20_000).fill(one)
    const file = flatbuffer(
      table(uint32(3), tables([]), tables([table(tables(tensors))]), null, tables([table()])),
      'TFL3',
    )
    expect(file.length).toBeLessThan(200_000)
    expect(within(file)).toBe('refused')
  })

  it('many tensors of one name and one place', () => {
    const builder = new TfliteBuilder()
    const main = builder.subgraph()
    const data = builder.buffer(Uint8Array.of(1))
    for (let i = 0; i < 10_000; i++)
      main.tensor({ name: 't', type: 'int8', shape: [1], data, quantization: { scales: [1] } })
    for (let i = 0; i < 100; i++) main.op(TFLITE_OPS.LSTM, [...Array.from({ length: 18 }, (_, at) => at)], [])
    expect(within(builder.model())).toBe('mapped')
  })

  it('a long chain of views, read from its end by every node', () => {
    const graph = new ProtobufWriter().bytes(5, tensor('v0', 'float32', [1, 1], [1]))
    for (let i = 0; i < 10_000; i++) graph.bytes(1, node('Transpose', [`v${i}`], [`v${i + 1}`], { perm: [1, 0] }))
    for (let i = 0; i < 10_000; i++) graph.bytes(1, node('Gemm', ['v10000', 'v10000', 'v10000'], [`g${i}`]))
    expect(within(new ProtobufWriter().varint(1, 8).bytes(7, graph).finish())).toBe('mapped')
  })

  it('a Concat of itself, wide, and read by every node', () => {
    const graph = new ProtobufWriter()
    graph.bytes(1, node('Concat', new Array<string>(10_000).fill('c'), ['c'], { axis: 0 }))
    for (let i = 0; i < 20_000; i++) graph.bytes(1, node('MatMul', ['c', 'c'], [`m${i}`]))
    expect(within(new ProtobufWriter().varint(1, 8).bytes(7, graph).finish())).toBe('mapped')
  })

  it('an attribute of far too many numbers, each a field of its own', () => {
    const numbers = new Uint8Array(16_000_000)
    for (let at = 0; at < numbers.length; at += 2) numbers.set([8 << 3, 1], at)
    const name = new ProtobufWriter().bytes(1, 'l').varint(20, 7).finish()
    const attribute = new Uint8Array(name.length + numbers.length)
    attribute.set(name)
    attribute.set(numbers, name.length)
    const graph = new ProtobufWriter().bytes(1, new ProtobufWriter().bytes(4, 'Op').bytes(5, attribute))
    expect(within(new ProtobufWriter().varint(1, 8).bytes(7, graph).finish())).toBe('mapped')
  })

  it('one weight whose long list of scales is no number, dequantized by every node', () => {
    const length = 20_000
    const builder = new OnnxBuilder()
    const weights = builder.constant('int8', [length], new Array(length).fill(1))
    const scales = builder.constant('float32', [length], new Array(length).fill(Number.NaN))
    for (let i = 0; i < 20_000; i++) builder.append(node('DequantizeLinear', [weights, scales], [`d${i}`], { axis: 0 }))
    expect(within(builder.model())).toBe('mapped')
  })
})
