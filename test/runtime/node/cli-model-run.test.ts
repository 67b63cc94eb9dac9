import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { operatorVectors } from '../../fixtures/int8-operators.ts'
import { OnnxBuilder } from '../../fixtures/onnx-builder.ts'
import { expectRefusal, kinglet } from './cli-process.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-model-run-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const path = (name: string) => join(dir, name)
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

const [dense] = operatorVectors('fully_connected')
if (dense === undefined) throw new Error('no vectors')
writeFileSync(path('dense.tflite'), dense.graph)
const bytes = { in: dense.runs[0]!.in[0]!.length, out: dense.runs[0]!.out[0]!.length }
const HEAD = {
  inputs: [{ type: 'INT8', bytes: bytes.in }],
  outputs: [{ type: 'INT8', bytes: bytes.out }],
}
const RUNS = dense.runs.map((run) => ({ in: run.in.map(hex), out: run.out.map(hex) }))

const vectors = (name: string, ...lines: readonly (object | string)[]): string => {
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line)))
  writeFileSync(path(name), `${text.join('\n')}\n`)
  return path(name)
}

describe('kinglet model run', () => {
  it('counts runs, tensors and bytes, and exits with 0 where none differs', async () => {
    const file = vectors('good.jsonl', HEAD, ...RUNS)
    expect(await kinglet('model', 'run', path('dense.tflite'), '--vectors', file)).toMatchObject({
      code: 0,
      stdout: `${RUNS.length} runs, ${RUNS.length} tensors, 0 bytes differ\n`,
      stderr: '',
    })
  })

  it('counts what differs, says where the first is, and exits with 1', async () => {
    const changed = Buffer.from(RUNS[1]!.out[0]!, 'hex')
    changed[0]! ^= 0xff
    changed[2]! ^= 0x01
    const file = vectors('other.jsonl', HEAD, RUNS[0]!, { ...RUNS[1], out: [hex(changed)] })
    const ended = await kinglet('model', 'run', path('dense.tflite'), '--vectors', file, '--engine', 'tiny')
    expect(ended).toMatchObject({ code: 1, stdout: '2 runs, 2 tensors, 2 bytes differ\n' })
    expect(ended.stderr).toMatch(/^line 3, output 0, byte 0: 0x[0-9a-f]{2}, expected 0x[0-9a-f]{2}\n$/)
  })

  it('runs ONNX on onnxruntime', async () => {
    const builder = new OnnxBuilder()
    const x = builder.input('x', 'float32', [2])
    writeFileSync(path('twice.onnx'), builder.output(builder.op('Add', [x, x]), 'float32', [2]).model())
    const floats = (...values: number[]): string => hex(new Uint8Array(Float32Array.from(values).buffer))
    const ends = [{ type: 'FLOAT32', bytes: 8 }]
    const file = vectors('twice.jsonl', { inputs: ends, outputs: ends }, { in: [floats(1, -3)], out: [floats(2, -6)] })
    expect(await kinglet('model', 'run', path('twice.onnx'), '--vectors', file)).toMatchObject({
      code: 0,
      stdout: '1 runs, 1 tensors, 0 bytes differ\n',
    })
    expectRefusal(
      await kinglet('model', 'run', path('twice.onnx'), '--vectors', file, '--engine', 'tiny'),
      1,
      /twice\.onnx: tiny-unsupported-/,
    )
    expectRefusal(
      await kinglet('model', 'run', path('dense.tflite'), '--vectors', file, '--engine', 'ort'),
      1,
      /which onnxruntime does not read/,
    )
  })

  it.each([
    ['not JSON', [HEAD, '{"in": '], /line 2: not JSON/],
    ['no object', [HEAD, '[1]'], /line 2: no JSON object/],
    ['no outputs', [HEAD, { in: RUNS[0]!.in }], /line 2: no list "out"/],
    [
      'a tensor too many',
      [HEAD, { in: [...RUNS[0]!.in, '00'], out: RUNS[0]!.out }],
      /line 2: "in" has 2 tensors, the graph 1/,
    ],
    [
      'half a byte',
      [HEAD, { in: [`${RUNS[0]!.in[0]!}0`], out: RUNS[0]!.out }],
      /line 2: in\[0\] is no string of hex digits/,
    ],
    [
      'other letters',
      [HEAD, { in: [`zz${RUNS[0]!.in[0]!.slice(2)}`], out: RUNS[0]!.out }],
      /line 2: in\[0\] is no string/,
    ],
    [
      'a byte too many',
      [HEAD, RUNS[0]!, { in: [`${RUNS[0]!.in[0]!}00`], out: RUNS[0]!.out }],
      /line 3: in\[0\] has \d+ bytes/,
    ],
    ['an output too short', [HEAD, { in: RUNS[0]!.in, out: ['00'] }], /line 2: out\[0\] has 1 bytes/],
    ['no runs', [HEAD], /no runs in it/],
    ['nothing', [''], /no runs in it/],
    [
      'vectors of another graph',
      [{ ...HEAD, inputs: [{ type: 'INT8', bytes: 3 }] }, RUNS[0]!],
      /line 1: inputs\[0\] is INT8 of 3 bytes/,
    ],
    [
      'another type',
      [{ ...HEAD, outputs: [{ type: 'UINT8', bytes: bytes.out }] }, RUNS[0]!],
      /line 1: outputs\[0\] is UINT8/,
    ],
    ['no header', RUNS, /line 1: no list "inputs"/],
  ] as const)('says what is wrong with vectors: %s', async (name, lines, message) => {
    const file = vectors(`${name.replaceAll(' ', '-')}.jsonl`, ...lines)
    expectRefusal(await kinglet('model', 'run', path('dense.tflite'), '--vectors', file), 1, message)
  })

  it('says what is wrong with graphs and files', async () => {
    const file = vectors('any.jsonl', HEAD, ...RUNS)
    writeFileSync(path('cut.tflite'), dense.graph.subarray(0, 200))
    expectRefusal(
      await kinglet('model', 'run', path('cut.tflite'), '--vectors', file),
      1,
      /cut\.tflite: tflite-malformed: /,
    )
    expectRefusal(await kinglet('model', 'run', path('none.tflite'), '--vectors', file), 1, /no such file/)
    expectRefusal(await kinglet('model', 'run', dir, '--vectors', file), 1, /folder/)
    expectRefusal(
      await kinglet('model', 'run', path('dense.tflite'), '--vectors', path('none.jsonl')),
      1,
      /no such file/,
    )
    writeFileSync(path('photo.jpg'), Uint8Array.of(0xff, 0xd8, 0xff, 0xe0))
    expectRefusal(await kinglet('model', 'run', path('photo.jpg'), '--vectors', file), 1, /photo\.jpg: onnx-malformed/)
    const wrong = await kinglet('model', 'run', path('dense.tflite'), '--vectors', file, '--engine', 'large')
    expect(wrong.stderr).toMatch(/tiny, ort/)
    expect(wrong.code).toBe(2)
  })
})
