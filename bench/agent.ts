/** Agent step (audio window, features, inference, decision, counters) against a bare run of the same model on the same engine, in the
 *  same run: `npm run build && node dist/bench/agent.js [--engine ort|tiny] [--bundle FILE] [--rounds 21] [--hops 250]`.
 *  Both sides run one after the other in every round, in turning order, so that a slow moment of the machine meets both.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { graphSection } from '../contract/manifest.ts'
import { agentConfig } from '../device/core/agent/agent-config.ts'
import { Ears } from '../device/core/ears.ts'
import { provision } from '../device/core/flash/provision.ts'
import { AgentHost } from '../device/core/host.ts'
import { RADIOS } from '../device/core/power/energy.ts'
import { MAINS } from '../device/ports/battery.ts'
import { VirtualClock } from '../firmware-sim/clock-virtual.ts'
import { FlashNor } from '../firmware-sim/flash-nor.ts'
import { parseWav } from '../model/audio/wav.ts'
import { BOARDS } from '../model/boards.ts'
import { EngineOrtNode } from '../model/engine/engine-ort-node.ts'
import { readGraphIo } from '../model/engine/tensor-io.ts'
import { EngineTiny } from '../model/engine-tiny/engine-tiny.ts'
import { loadTinyFile } from '../model/engine-tiny/load.ts'
import { createFeatureStream, featureShape } from '../model/features/feature-definition.ts'
import { quantizeFeatures } from '../model/features/quantize.ts'

const GOAL = 1.25

const { values } = parseArgs({
  options: {
    engine: { type: 'string', default: 'ort' },
    bundle: { type: 'string' },
    rounds: { type: 'string', default: '21' },
    hops: { type: 'string', default: '250' },
  },
})
const isTiny = values.engine === 'tiny'
if (!isTiny && values.engine !== 'ort') throw new Error(`--engine is ort or tiny, not ${values.engine}`)
const [rounds, hops] = [Number(values.rounds), Number(values.hops)]
// From dist/bench and from bench alike.
const root = fileURLToPath(new URL(import.meta.url.includes('/dist/') ? '../..' : '..', import.meta.url))
const image = new Uint8Array(readFileSync(values.bundle ?? join(root, 'zoo/bundles/kws-1.kinglet')))

/** The bank's keywords one after the other: speech, so that every branch of the agent is taken. */
function speech(): Float32Array {
  const folder = join(root, 'zoo/bank/keyword')
  const pieces = readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.wav'))
    .map((entry) => parseWav(readFileSync(join(entry.parentPath, entry.name))))
    .flatMap((wav) => (wav.ok ? [wav.value.samples] : []))
  const out = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    out.set(piece, at)
    at += piece.length
  }
  return out
}

const quantile = (sample: readonly number[], q: number): number => {
  const sorted = [...sample].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!
}
const microseconds = (ms: number): string => (1000 * ms).toFixed(1).padStart(8)

/** A run of the graph alone, its window in place. */
function bareTiny(graph: Uint8Array): () => void {
  const loaded = loadTinyFile(graph)
  if (!loaded.ok) throw new Error(loaded.error.detail)
  const window = Uint8Array.from(loaded.value.inputBytes(0))
  return () => {
    // An input lies in the arena, where the run before has written.
    loaded.value.inputBytes(0).set(window)
    loaded.value.run()
  }
}

async function bareOrt(graph: Uint8Array): Promise<() => Promise<unknown>> {
  const ends = readGraphIo(graph)
  if (!ends.ok) throw new Error(ends.error.detail)
  const [input, output] = [ends.value.inputs[0]!, ends.value.outputs[0]!]
  const session = await InferenceSession.create(graph, {
    executionProviders: ['cpu'],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
  })
  const tensor = ({ elementType, dims, elements }: typeof input) => {
    const arrays = { float32: Float32Array, int8: Int8Array, uint8: Uint8Array }
    return new Tensor(elementType, new arrays[elementType](elements), dims)
  }
  const [feeds, fetches] = [{ [input.name]: tensor(input) }, { [output.name]: tensor(output) }]
  return () => session.run(feeds, fetches)
}

async function main(): Promise<void> {
  const flash = new FlashNor({ sizeBytes: 2 * 1024 * 1024 })
  const provisioned = provision(flash, image, 0)
  if (!provisioned.ok) throw new Error(provisioned.error.detail)
  const clock = new VirtualClock(0)
  const started = await AgentHost.start({
    config: agentConfig({ device: 'bench', site: 'bench', board: BOARDS[0]!, radio: RADIOS[0]!, level: 'full' }),
    flash,
    engine: isTiny ? new EngineTiny() : new EngineOrtNode(),
    transport: { open: () => undefined, publish: () => undefined, close: async () => undefined },
    battery: MAINS,
    clock,
  })
  if (!started.ok) throw new Error(`${started.error.code}: ${started.error.detail}`)
  const host = started.value
  const { manifest, definition, sessions, sections } = host.bundle!
  const step = manifest.ladder.find(({ level }) => level === 'full')!
  const run = step.runs[0]!
  const session = sessions.get(run.graphs[0]!)!
  const ears = new Ears(host)
  const hop = run.hopFrames * featureShape(definition).strideSamples
  const audio = speech()
  const chunks = Array.from({ length: Math.floor(audio.length / hop) }, (_, i) =>
    audio.subarray(i * hop, (i + 1) * hop),
  )

  const graph = sections.get(graphSection(run.graphs[0]!))!
  const bare = isTiny ? bareTiny(graph) : await bareOrt(graph)
  const stream = createFeatureStream(definition, run.hopFrames)
  const features = new Float32Array(featureShape(definition).elements)
  const quantized = new Int8Array(features.length)

  const typical = {
    listeningMs: 200,
    elapsedMs: 200,
    windows: 1,
    openWindows: 0,
    inferences: 1,
    inferenceRuns: [{ fromMs: 200, count: 1, hopMs: 200, macs: 2_700_000 }],
    gateOpenings: 0,
    overruns: 0,
    wakes: [],
    posteriorBins: [1, 0, 0, 0, 0, 0, 0, 0],
    noiseBins: [0, 0, 1, 0, 0, 0, 0, 0],
  }
  let next = 0
  const chunk = () => chunks[next++ % chunks.length]!
  const sides: Record<string, () => unknown> = {
    'bare run': bare,
    'agent step': async () => {
      const heard = await ears.hear(chunk(), ({ elapsedMs }) => clock.advanceTo(clock.wallMs() + elapsedMs))
      if (!heard.ok) throw new Error(heard.error.detail)
    },
    '  of it: features': () => {
      const samples = chunk()
      for (let at = 0; at < samples.length; ) {
        at += stream.push(samples, at)
        if (stream.windowReady()) stream.takeWindow(features)
      }
      quantizeFeatures(features, manifest.pipelines[0]!.featureQuantization, quantized)
    },
    '  of it: engine port': () => session.run(features),
    '  of it: agent core': () => {
      clock.advanceTo(clock.wallMs() + typical.elapsedMs)
      host.hear(typical)
    },
  }
  const names = Object.keys(sides)
  const perHop = new Map<string, number[]>(names.map((name) => [name, []]))
  for (let round = -2; round < rounds; round++) {
    // Turned by one every round, so that no side always follows the same other.
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round + 2) % names.length]!
      const run = sides[name]!
      const from = performance.now()
      for (let n = 0; n < hops; n++) await run()
      if (round >= 0) perHop.get(name)!.push((performance.now() - from) / hops)
    }
  }
  const { counters } = host.state!.measures
  if (counters.inferences < rounds * hops)
    throw new Error(`only ${counters.inferences} inferences: nothing was measured`)

  const base = perHop.get('bare run')!
  console.log(
    `${manifest.name}, ${hops} hops a round, ${rounds} rounds; microseconds a hop (a hop is ${(1000 * hop) / definition.sampleRateHz} ms of audio)`,
  )
  console.log(`${''.padEnd(22)}  median       p10      p90   ratio to bare, median (p10 to p90)`)
  for (const name of names) {
    const times = perHop.get(name)!
    const ratios = times.map((ms, i) => ms / base[i]!)
    const spread = `${quantile(ratios, 0.5).toFixed(3)}  (${quantile(ratios, 0.1).toFixed(3)} to ${quantile(ratios, 0.9).toFixed(3)})`
    console.log(
      `${name.padEnd(20)}${microseconds(quantile(times, 0.5))}  ${microseconds(quantile(times, 0.1))} ${microseconds(quantile(times, 0.9))}   ${spread}`,
    )
  }
  const ratio = quantile(
    perHop.get('agent step')!.map((ms, i) => ms / base[i]!),
    0.5,
  )
  console.log(
    `${values.engine}: agent step / bare run = ${ratio.toFixed(3)}, goal at most ${GOAL}; ${counters.wakes} wakes`,
  )
  if (ratio > GOAL) process.exitCode = 1
  await host.close()
}

await main()
