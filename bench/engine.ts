/** The engine `tiny` against `session.run` of onnxruntime-node on the same network in the same run:
 *  `npm run build && node dist/bench/engine.js [--rounds 41] [--runs 40]`. Networks that are not in the repository come from ../shared/data or what
 *  KINGLET_DATA names. Both sides run one after the other in every round, in turning order, so that a slow moment of the machine meets both.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { loadTinyFile } from '../model/engine-tiny/load.ts'
import { TINY_BASE64 } from '../model/engine-tiny/tiny-bytes.ts'

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '41' }, runs: { type: 'string', default: '40' } },
})
const [rounds, runs] = [Number(values.rounds), Number(values.runs)]
// From dist/bench and from bench alike.
const root = fileURLToPath(new URL(import.meta.url.includes('/dist/') ? '../..' : '..', import.meta.url))
const data = process.env.KINGLET_DATA ?? join(root, '../shared/data')

/** The same network for both: one file, or one in each format of the same layers, sizes and quantization, whose weights differ, on which time does not
 *  depend. */
const NETWORKS = [
  {
    name: 'kws-1 (DS-CNN, 2.7 M MACs), the same ONNX file',
    tiny: join(root, 'zoo/models/kws-1.onnx'),
    onnx: join(root, 'zoo/models/kws-1.onnx'),
    goal: 2.5,
  },
  {
    name: 'MLPerf Tiny keyword spotting as TFLite against kws-1',
    tiny: join(data, 'models/mlperf-tiny-kws-int8.tflite'),
    onnx: join(root, 'zoo/models/kws-1.onnx'),
    goal: 2.5,
  },
]

const median = (sample: readonly number[]): number => [...sample].sort((a, b) => a - b)[Math.floor(sample.length / 2)]!
const spread = (sample: readonly number[]): string => {
  const sorted = [...sample].sort((a, b) => a - b)
  const at = (share: number): string => (1_000 * sorted[Math.floor(share * (sorted.length - 1))]!).toFixed(1)
  return `${at(0.1)} – ${at(0.9)}`
}
const timed = (body: () => void): number => {
  const from = performance.now()
  body()
  return performance.now() - from
}

async function compare({ name, tiny: path, onnx, goal }: (typeof NETWORKS)[number]): Promise<void> {
  if (!existsSync(path)) {
    console.log(`${name}: not measured, there is no ${path}`)
    return
  }
  const file = readFileSync(path)
  const graph = readFileSync(onnx)
  const tiny = loadTinyFile(file)
  if (!tiny.ok) throw new Error(`${tiny.error.code}: ${tiny.error.detail}`)
  const session = await InferenceSession.create(graph, {
    ...{ executionProviders: ['cpu'], intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 4 },
  })
  const feeds: Record<string, Tensor> = {}
  for (const input of session.inputMetadata) {
    if (!input.isTensor) throw new Error(`${onnx}: "${input.name}" is no tensor`)
    const dims = input.shape.map((dim) => (typeof dim === 'number' && dim > 0 ? dim : 1))
    const elements = dims.reduce((product, dim) => product * dim, 1)
    const array = input.type === 'float32' ? new Float32Array(elements) : new Int8Array(elements)
    feeds[input.name] = new Tensor(input.type as 'int8', array as Int8Array, dims)
  }
  const window = Uint8Array.from({ length: tiny.value.inputBytes(0).length }, (_, i) => (i * 37) & 0xff)
  const runTiny = (): void => {
    tiny.value.inputBytes(0).set(window)
    tiny.value.run()
  }
  const sides = {
    tiny: async () => timed(() => Array.from({ length: runs }, runTiny)) / runs,
    ort: async () => {
      const from = performance.now()
      for (let i = 0; i < runs; i++) await session.run(feeds)
      return (performance.now() - from) / runs
    },
  }
  const sample: Record<keyof typeof sides, number[]> = { tiny: [], ort: [] }
  const ratios: number[] = []
  // The first rounds are of code that is not compiled yet.
  for (let round = -10; round < rounds; round++) {
    const order = round % 2 === 0 ? (['tiny', 'ort'] as const) : (['ort', 'tiny'] as const)
    const took = { tiny: 0, ort: 0 }
    for (const side of order) took[side] = await sides[side]()
    if (round < 0) continue
    sample.tiny.push(took.tiny)
    sample.ort.push(took.ort)
    ratios.push(took.tiny / took.ort)
  }
  const loads = { tiny: [] as number[], ort: [] as number[] }
  for (let i = 0; i < 15; i++) {
    loads.tiny.push(timed(() => void loadTinyFile(file)))
    const from = performance.now()
    const other = await InferenceSession.create(graph, { logSeverityLevel: 4 })
    loads.ort.push(performance.now() - from)
    await other.release()
  }
  const us = (ms: number): string => (1_000 * ms).toFixed(1)
  console.log(`${name}, µs a run, ${rounds} rounds of ${runs}:`)
  console.log(`  tiny               ${us(median(sample.tiny))} (${spread(sample.tiny)})`)
  console.log(`  onnxruntime-node   ${us(median(sample.ort))} (${spread(sample.ort)})`)
  console.log(`  ratio              ${median(ratios).toFixed(2)} (goal: at most ${goal})`)
  const [tinyLoad, ortLoad] = [median(loads.tiny), median(loads.ort)]
  console.log(
    `  load, ms           ${tinyLoad.toFixed(2)} against ${ortLoad.toFixed(2)}: ${(tinyLoad / ortLoad).toFixed(3)}`,
  )
}

const bytes = readFileSync(NETWORKS[0]!.tiny)
console.log(`first load of the process, WebAssembly compiled: ${timed(() => void loadTinyFile(bytes)).toFixed(1)} ms`)
console.log(`WebAssembly: ${Buffer.from(TINY_BASE64, 'base64').length} bytes`)
for (const network of NETWORKS) await compare(network)
