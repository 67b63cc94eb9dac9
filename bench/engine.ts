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
import { anomalyDetector, streamingWakeWord } from './engine-networks.ts'

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '41' }, runs: { type: 'string', default: '40' } },
})
const [rounds, runs] = [Number(values.rounds), Number(values.runs)]
// From dist/bench and from bench alike.
const root = fileURLToPath(new URL(import.meta.url.includes('/dist/') ? '../..' : '..', import.meta.url))
const data = process.env.KINGLET_DATA ?? join(root, '../shared/data')

interface Network {
  readonly name: string
  readonly tiny: () => Uint8Array
  readonly onnx: () => Uint8Array
  /** A file that may not be there. */
  readonly needs?: string
  readonly goal: number
}

const zooFile = (): Uint8Array => readFileSync(join(root, 'zoo/models/kws-1.onnx'))
const keywords = join(data, 'models/mlperf-tiny-kws-int8.tflite')

/** The same network for both: one file, or one in each format of the same layers, sizes and quantization, whose weights differ, on which time does not
 *  depend. */
const NETWORKS: readonly [Network, ...Network[]] = [
  { name: 'kws-1 (DS-CNN, 2.7 M MACs), the same ONNX file', tiny: zooFile, onnx: zooFile, goal: 2.5 },
  {
    name: 'MLPerf Tiny keyword spotting as TFLite against kws-1',
    ...{ tiny: () => readFileSync(keywords), onnx: zooFile, needs: keywords, goal: 2.5 },
  },
  {
    name: 'MLPerf Tiny anomaly detection by its layers, the same ONNX file',
    ...{ tiny: anomalyDetector, onnx: anomalyDetector, goal: 1 },
  },
  {
    name: 'MLPerf Tiny streaming wake word by its layers, the same ONNX file',
    ...{ tiny: streamingWakeWord, onnx: streamingWakeWord, goal: 1 },
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

/** What a busy machine does to one side of a round it does not do to the other: time of the cores is what it took itself, ms. */
const coreMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

async function compare({ name, tiny: fileOf, onnx, needs, goal }: Network): Promise<void> {
  if (needs !== undefined && !existsSync(needs)) {
    console.log(`${name}: not measured, there is no ${needs}`)
    return
  }
  const file = fileOf()
  const graph = onnx()
  const tiny = loadTinyFile(file)
  if (!tiny.ok) throw new Error(`${tiny.error.code}: ${tiny.error.detail}`)
  const session = await InferenceSession.create(graph, {
    ...{ executionProviders: ['cpu'], intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 4 },
  })
  const feeds: Record<string, Tensor> = {}
  for (const input of session.inputMetadata) {
    if (!input.isTensor) throw new Error(`${name}: "${input.name}" is no tensor`)
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
  const [ratios, coreRatios]: [number[], number[]] = [[], []]
  // The first rounds are of code that is not compiled yet.
  for (let round = -10; round < rounds; round++) {
    const order = round % 2 === 0 ? (['tiny', 'ort'] as const) : (['ort', 'tiny'] as const)
    const [took, core] = [
      { tiny: 0, ort: 0 },
      { tiny: 0, ort: 0 },
    ]
    for (const side of order) {
      const from = coreMs()
      took[side] = await sides[side]()
      core[side] = coreMs() - from
    }
    if (round < 0) continue
    coreRatios.push(core.tiny / core.ort)
    sample.tiny.push(took.tiny)
    sample.ort.push(took.ort)
    ratios.push(took.tiny / took.ort)
  }
  const loads = { tiny: [] as number[], ort: [] as number[], tinyCore: [] as number[], ortCore: [] as number[] }
  for (let i = 0; i < 15; i++) {
    const begun = coreMs()
    loads.tiny.push(timed(() => void loadTinyFile(file)))
    const [from, core] = [performance.now(), coreMs()]
    loads.tinyCore.push(core - begun)
    const other = await InferenceSession.create(graph, { logSeverityLevel: 4 })
    loads.ort.push(performance.now() - from)
    loads.ortCore.push(coreMs() - core)
    await other.release()
  }
  const us = (ms: number): string => (1_000 * ms).toFixed(1)
  console.log(`${name}, µs a run, ${rounds} rounds of ${runs}:`)
  console.log(`  tiny               ${us(median(sample.tiny))} (${spread(sample.tiny)})`)
  console.log(`  onnxruntime-node   ${us(median(sample.ort))} (${spread(sample.ort)})`)
  console.log(
    `  ratio              ${median(ratios).toFixed(2)} (goal: at most ${goal}); of core time ${median(coreRatios).toFixed(2)}`,
  )
  const fastest = (times: readonly number[]): number => Math.min(...times)
  console.log(`  fastest rounds     ${us(fastest(sample.tiny))} against ${us(fastest(sample.ort))}`)
  const [tinyLoad, ortLoad] = [median(loads.tiny), median(loads.ort)]
  console.log(
    `  load, ms           ${tinyLoad.toFixed(2)} against ${ortLoad.toFixed(2)}: ${(tinyLoad / ortLoad).toFixed(3)}; of core time ` +
      `${median(loads.tinyCore).toFixed(2)} against ${median(loads.ortCore).toFixed(2)}`,
  )
}

const bytes = NETWORKS[0].tiny()
console.log(`first load of the process, WebAssembly compiled: ${timed(() => void loadTinyFile(bytes)).toFixed(1)} ms`)
console.log(`WebAssembly: ${Buffer.from(TINY_BASE64, 'base64').length} bytes`)
for (const network of NETWORKS) await compare(network)
