// Writes what a teacher says about the windows of feature files: <set>.<teacher>.f32, its probabilities in the zoo's order of classes. The
// teacher is a TFLite network on the zoo's features (mfccDefinitionV1, which are those of MLPerf Tiny) with the zoo's classes in an order
// of its own, such as MLPerf Tiny's reference network of keyword spotting.
// Usage: tell.js --work DIR --network FILE.tflite --labels A,B,... --teacher NAME --set NAME [--set NAME ...]
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { EngineTiny } from '../model/engine-tiny/engine-tiny.ts'
import { mfccDefinitionV1 } from '../model/features/mfcc-definition.ts'
import { quantizeFeatures } from '../model/features/quantize.ts'
import { LABELS } from './labels.ts'

const WIDTH = mfccDefinitionV1.frames * mfccDefinitionV1.coefficients

const main = async () => {
  const { values } = parseArgs({
    options: {
      work: { type: 'string' },
      network: { type: 'string' },
      labels: { type: 'string' },
      teacher: { type: 'string' },
      set: { type: 'string', multiple: true, default: [] },
    },
  })
  const { work, network, labels, teacher } = values
  if (work === undefined || network === undefined || labels === undefined || teacher === undefined)
    throw new Error('--work, --network, --labels and --teacher are needed')
  const order = labels.split(',')
  const places = LABELS.map((label) => order.indexOf(label))
  if (order.length !== LABELS.length || places.includes(-1)) throw new Error(`--labels are not ${LABELS.join(',')}`)
  const loaded = await new EngineTiny().load(readFileSync(network))
  if (!loaded.ok) throw new Error(`${network}: ${loaded.error.detail}`)
  const { input, output } = loaded.value
  if (input.quantization == null || input.elements !== WIDTH || output.elements !== LABELS.length)
    throw new Error(`${network}: no int8 classifier of ${LABELS.length} classes over ${WIDTH} features`)
  const quantized = new Int8Array(WIDTH)
  for (const set of values.set) {
    const path = join(work, 'features', set)
    const file = readFileSync(`${path}.f32`)
    const features = new Float32Array(file.buffer, file.byteOffset, file.byteLength / 4)
    const told = new Float32Array((features.length / WIDTH) * LABELS.length)
    for (let n = 0; n * WIDTH < features.length; n += 1) {
      quantizeFeatures(features.subarray(n * WIDTH, (n + 1) * WIDTH), input.quantization, quantized)
      const result = await loaded.value.run(quantized)
      if (!result.ok) throw new Error(`${network}: ${result.error.detail}`)
      const probabilities = result.value
      told.set(
        places.map((place) => probabilities[place]!),
        n * LABELS.length,
      )
    }
    writeFileSync(`${path}.${teacher}.f32`, new Uint8Array(told.buffer))
    console.log(set, told.length / LABELS.length)
  }
}

await main()
