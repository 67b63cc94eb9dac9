// Chooses the thresholds of the bearing models on validation machines and writes the pack files of their bundles.
// Usage: bearing-choose.js --zoo DIR [--hours N]
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { EngineTiny } from '../model/engine-tiny/engine-tiny.ts'
import {
  BEARING_FEATURES,
  BEARING_QUANTIZATION,
  BEARING_SMOOTHING,
  type Condition,
  highestMean,
  stretchOf,
} from './bearing-material.ts'

const STRETCH_SECONDS = 20
/** Chosen: so much above what any sound bearing of the validation machines came to. */
const MARGIN = 1.05
const BOARDS = ['NUCLEO-L4R5ZI', 'NUCLEO-U575ZI', 'NUCLEO-U385RG', 'NUCLEO-H7A3ZI', 'xG24', 'ESP32-S3']

/** Highest mean scores of sound bearings, a stretch each. */
async function highestScores(model: string, conditions: readonly Condition[], hours: number): Promise<number[]> {
  const loaded = await new EngineTiny().load(readFileSync(model))
  if (!loaded.ok) throw new Error(`${model}: ${loaded.error.detail}`)
  const scores: number[] = []
  const stretches = Math.ceil((hours * 3_600) / STRETCH_SECONDS / conditions.length)
  for (const condition of conditions) {
    for (let i = 0; i < stretches; i++) {
      const { samples } = stretchOf('validation', condition, 0, i, STRETCH_SECONDS)
      scores.push(await highestMean(loaded.value, samples))
    }
  }
  return scores
}

/** A pack file: what `kinglet model pack` makes the bundle of. */
function packFile(name: string, version: number, parent: string | null, threshold: number): string {
  const features = Object.entries(BEARING_FEATURES).map(([key, value]) => `${key}: ${value}`)
  const { scale, zeroPoint } = BEARING_QUANTIZATION
  return `# Written by zoo/bearing-choose.ts.
name: ${name}
version: ${version}
${parent === null ? '' : `parent: ${parent}.kinglet\n`}securityCounter: 1
input: { vectors: { channels: ${BEARING_FEATURES.channels}, rate: ${BEARING_FEATURES.sampleRateHz} } }
pipelines:
  - id: bearing
    features: { ${features.join(', ')} }
    featureQuantization: { scale: ${scale}, zeroPoint: ${zeroPoint} }
    graphs: [../models/${name}.tflite]
    anomaly: { threshold: ${threshold}, smoothingWindows: ${BEARING_SMOOTHING}, refractoryMs: 60000, holdMs: 1000 }
ladder:
  - { level: full }
  - { level: lite, pipelines: { bearing: { hopFrames: 5 } } }
  - { level: sparse, pipelines: { bearing: { hopFrames: 250 } } }
boards: [${BOARDS.join(', ')}]
card: ${name}.card.json
`
}

const { values } = parseArgs({ options: { zoo: { type: 'string' }, hours: { type: 'string', default: '2' } } })
if (values.zoo === undefined) throw new Error('--zoo is needed')
const { zoo } = values
const hours = Number(values.hours)
const models: readonly (readonly [string, number, string | null, readonly Condition[]])[] = [
  ['bearing-1', 1, null, ['calm']],
  ['bearing-2', 2, 'bearing-1', ['calm', 'raised']],
  ['bearing-regressed', 3, 'bearing-2', ['calm']],
]
for (const [name, version, parent, conditions] of models) {
  const model = join(zoo, 'models', `${name}.tflite`)
  const scores = await highestScores(model, conditions, hours)
  const threshold = Number((MARGIN * Math.max(...scores)).toPrecision(3))
  const elsewhere = await highestScores(model, ['raised'], hours / 4)
  const over = elsewhere.filter((score) => score >= threshold).length
  writeFileSync(join(zoo, 'bundles', `${name}.pack.yaml`), packFile(name, version, parent, threshold))
  console.log(JSON.stringify({ name, hours, threshold, raised: { stretches: elsewhere.length, over } }))
}
