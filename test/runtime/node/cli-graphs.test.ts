import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Inspection } from '../../../cli/model/model-inspect.ts'
import type { PlanReport } from '../../../cli/model/model-plan.ts'
import { OnnxBuilder } from '../../fixtures/onnx-builder.ts'
import { visualWakeNetwork } from '../../fixtures/onnx-networks.ts'
import { smallTflite, TFLITE_OPS, TfliteBuilder } from '../../fixtures/tflite-builder.ts'
import { expectRefusal, kinglet, ROOT, zooBundle } from './cli-process.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-graphs-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const path = (name: string) => join(dir, name)
const KWS = zooBundle('kws-2')

beforeAll(() => {
  writeFileSync(path('small.tflite'), smallTflite())
  writeFileSync(path('vww.onnx'), visualWakeNetwork({ io: 'int8' }))
  writeFileSync(path('cut.tflite'), smallTflite().slice(0, 300))
  writeFileSync(path('cut.onnx'), readFileSync(join(ROOT, 'zoo/models/kws-1.onnx')).subarray(0, 20_000))
  writeFileSync(path('picture.jpg'), Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 16, 0x4a, 0x46, 0x49, 0x46))
  writeFileSync(path('empty'), '')
  writeFileSync(path('huge'), '')
  truncateSync(path('huge'), 65 * 1024 * 1024)
  const builder = new TfliteBuilder()
  const main = builder.subgraph()
  for (const name of ['x', 'y']) main.tensor({ name, type: 'int8', shape: [1, 512, 512, 2] })
  main.op(TFLITE_OPS.TANH, [0], [1]).ends([0], [1])
  writeFileSync(path('wide.tflite'), builder.model())
  const control = new TfliteBuilder()
  const branches = control.subgraph()
  for (const name of ['x', 'y']) branches.tensor({ name, type: 'int8', shape: [1] })
  branches.op(TFLITE_OPS.IF, [0], [1]).ends([0], [1])
  writeFileSync(path('control.tflite'), control.model())
  const open = new OnnxBuilder()
  const names = [open.input('a\u001b[31m', 'int64', [1, 2]), open.input('b', 'float32', ['N', 'T'])]
  writeFileSync(path('open.onnx'), open.output(open.op('Tanh', [names[1]!]), 'float32', ['N', 'T']).model())
})

const planned = async (...args: string[]) => {
  const ended = await kinglet('model', 'plan', ...args, '--json')
  expect(ended.stderr).toBe('')
  return { code: ended.code, report: JSON.parse(ended.stdout) as PlanReport }
}

describe('model plan', () => {
  it('tells the known figures of an ONNX network, by step', async () => {
    const { code, report } = await planned(path('vww.onnx'))
    expect(code).toBe(0)
    expect(report.graphs[0]?.plan).toMatchObject({
      ...{ constantBytes: 219_072, macs: 7_489_664, lowerBoundBytes: 55_296, arenaBytes: 64_512, stateBytes: 0 },
    })
    const { stdout } = await kinglet('model', 'plan', path('vww.onnx'))
    expect(stdout).toMatch(/^ {6}input +27648 +0 +0-0/m)
    expect(stdout).toMatch(/^arena +64512 {2}greedy/m)
    expect(stdout).toMatch(/^scratch .*estimate/m)
    // Scaled from the keyword network: 7 489 664 / 2 656 768 of 48.3 ms.
    expect(stdout).toMatch(/^NUCLEO-U385RG +136 ms .*fits .*scaled by multiply-accumulates, an estimate/m)
  })

  it('takes a TFLite file, and says which board it fits', async () => {
    const { stdout, code } = await kinglet('model', 'plan', path('small.tflite'), '--board', 'xG24')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^ +0 {2}CONV_2D +96 +48 /m)
    expect(stdout).toMatch(/^ +1 {2}FULLY_CONNECTED +96 +2 /m)
    expect(stdout.trimEnd()).toMatch(/\nfits xG24$/)
    expect(stdout).not.toMatch(/^ESP32/m)
  })

  it('plans each graph of a bundle', async () => {
    const { report } = await planned(KWS, '--board', 'NUCLEO-U575ZI')
    expect(report.format).toBe('bundle')
    expect(report.graphs.map(({ id, plan }) => [id, plan.arenaBytes])).toEqual([
      ['full', 16_000],
      ['lite', 4_000],
    ])
    expect(report.verdict).toEqual({ board: 'NUCLEO-U575ZI', fits: true, over: [] })
  })

  it('ends with 1 when the board is too small, and says what is over by how much', async () => {
    const { code, report } = await planned(path('wide.tflite'), '--board', 'xG24')
    expect(code).toBe(1)
    const need = report.graphs[0]!.ramBytes
    expect(need).toBeGreaterThan(2 * 512 * 512 * 2)
    expect(report.verdict.over).toEqual([`RAM: ${need} bytes, ${need - 131_072} more than the 131072 of xG24`])
    const { stdout, code: said } = await kinglet('model', 'plan', path('wide.tflite'), '--board', 'xG24')
    expect([said, stdout.includes('does not fit xG24\n  RAM: ')]).toEqual([1, true])
    expect((await planned(path('wide.tflite'))).code).toBe(0)
  })

  it('draws the arena, and replaces no picture unless told to', async () => {
    const svg = path('arena.svg')
    expect((await kinglet('model', 'plan', path('vww.onnx'), '--svg', svg)).code).toBe(0)
    const drawn = readFileSync(svg, 'utf8')
    expect(drawn.match(/<rect /g)).toHaveLength(1 + 31)
    expect(drawn).toContain('>arena 64512</text>')
    expect(drawn).toContain('>lower bound 55296</text>')
    expectRefusal(await kinglet('model', 'plan', KWS, '--svg', svg), 1, /there is such a file already/)
    expect(readFileSync(svg, 'utf8')).toBe(drawn)
    expect((await kinglet('model', 'plan', KWS, '--svg', svg, '--force')).code).toBe(0)
    expect(readFileSync(svg, 'utf8')).toContain('kws-2.kinglet, graph lite')
  })
})

describe.each(['plan', 'inspect'])('model %s of what is no model', (command) => {
  it.each([
    ['a file that is not there', 'none.tflite', /none\.tflite: there is no such file/],
    ['a folder', '.', /it is a folder, a file is expected/],
    ['a picture', 'picture.jpg', /not-a-model: .*JPEG/],
    ['an empty file', 'empty', /not-a-model: .*empty/],
    ['a TFLite file cut short', 'cut.tflite', /cut\.tflite: tflite-malformed: /],
    ['an ONNX file cut short', 'cut.onnx', /cut\.onnx: onnx-malformed: /],
    ['a file beyond all limits', 'huge', /huge: too-large: /],
  ])('%s: exit code 1, cause and way out', async (_, file, cause) => {
    expectRefusal(await kinglet('model', command, path(file)), 1, cause)
  })
})

describe('model plan, called wrongly', () => {
  it('names the boards for one that it does not know', async () => {
    const ended = await kinglet('model', 'plan', KWS, '--board', 'Arduino')
    expect(ended.code).toBe(2)
    expect(ended.stderr).toMatch(/Allowed choices are NUCLEO-L4R5ZI, .*ESP32-S3/)
  })

  it('gives no number for a graph that it understands in part', async () => {
    const ended = await kinglet('model', 'plan', path('control.tflite'))
    expectRefusal(ended, 1, /graph "control": tflite-unsupported-op: IF \(operator 0\): control flow/)
    expect(ended.stderr).toMatch(/model inspect/)
  })
})

describe('model inspect', () => {
  const inspected = async (file: string) => {
    const ended = await kinglet('model', 'inspect', file, '--json')
    expect(ended.code, ended.stderr).toBe(0)
    return JSON.parse(ended.stdout) as Inspection
  }

  it('tells ends, operators, memory and engines of a TFLite file', async () => {
    const { format, graphs, manifest } = await inspected(path('small.tflite'))
    expect([format, manifest, graphs[0]?.operators]).toEqual(['tflite', null, { CONV_2D: 1, FULLY_CONNECTED: 1 }])
    expect(graphs[0]?.engines.onnxruntime).toMatch(/it reads ONNX/)
    const { stdout } = await kinglet('model', 'inspect', path('wide.tflite'))
    expect(stdout).toMatch(/^ {2}input +"x" +int8 +\[1, 512, 512, 2\]/m)
    expect(stdout).toMatch(/^ {2}operators +1: 1 TANH$/m)
  })

  it('tells the quantization of ends, and of a bundle the manifest too', async () => {
    const { format, manifest, graphs } = await inspected(KWS)
    expect(format).toBe('bundle')
    expect(manifest?.name).toBe('kws-2')
    expect(graphs.map(({ id }) => id)).toEqual(['full', 'lite'])
    expect(graphs[0]?.inputs).toEqual([
      { name: 'features', elementType: 'int8', dims: [1, 1, 49, 10], quantization: { scale: 0.5, zeroPoint: 78 } },
    ])
    expect(graphs.map(({ engines }) => engines)).toEqual([
      { tiny: null, onnxruntime: null },
      { tiny: null, onnxruntime: null },
    ])
  })

  it('tells what is open in a graph that nothing can plan, and lets no name steer the terminal', async () => {
    const [graph] = (await inspected(path('open.onnx'))).graphs
    expect(graph?.inputs.map(({ elementType, dims }) => [elementType, dims])).toEqual([
      ['int64', [1, 2]],
      ['float32', [null, null]],
    ])
    expect(graph?.memory).toMatchObject({ refused: expect.stringMatching(/^onnx-dynamic-shape/) as string })
    expect(graph?.engines.onnxruntime).not.toBeNull()
    expect(graph?.engines.tiny).toMatch(/^onnx-dynamic-shape/)
    const { stdout } = await kinglet('model', 'inspect', path('open.onnx'))
    expect(stdout).toMatch(/\[\?, \?\]/)
    expect(stdout).not.toContain('\u001b')
  })
})
