// Writes the bearing networks as TFLite from the weights of zoo/train_bearing.py: the autoencoders in int8, a fine-tune with every scale of
// bearing-1, and the verifier in float32. Usage: bearing-networks.js --work DIR --zoo DIR
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { byte, LoweredGraphBuilder, word } from '../model/engine-tiny/lowering/lowered-graph.ts'
import { float32Word } from '../model/engine-tiny/node-context.ts'
import { BEARING_FEATURES, BEARING_QUANTIZATION, BEARING_VALUES } from './bearing-material.ts'

/** BuiltinOperator of schema.fbs. */
const OPERATORS = { conv2d: 3, fullyConnected: 9, reshape: 22, softmax: 25, mean: 40 } as const
/** ActivationFunctionType and Padding of schema.fbs. */
const [RELU, VALID] = [1, 1]
/** Chosen: room for a fine-tune, whose weights have to fit the scales of the first. */
const HEADROOM = 1.15
/** Chosen: an output to 3.8 deviations; the network gives back what turns, and that has no peaks. */
const OUTPUT = { scale: 0.03, zeroPoint: 0 } as const

interface Weights {
  readonly of: (name: string) => { readonly shape: readonly number[]; readonly values: Float32Array }
  readonly about: { readonly hidden?: number }
}

interface Scales {
  readonly encode: number
  readonly decode: number
  readonly hidden: number
}

function readWeights(work: string, name: string): Weights {
  const path = join(work, 'bearing', name)
  const about = JSON.parse(readFileSync(`${path}.json`, 'utf8')) as {
    readonly hidden?: number
    readonly shapes: Record<string, number[]>
  }
  const bytes = readFileSync(`${path}.weights`)
  const all = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
  const tensors = new Map<string, { shape: number[]; values: Float32Array }>()
  let at = 0
  for (const [key, shape] of Object.entries(about.shapes)) {
    const count = shape.reduce((a, b) => a * b, 1)
    tensors.set(key, { shape, values: all.subarray(at, at + count) })
    at += count
  }
  return {
    about,
    of(key) {
      const tensor = tensors.get(key)
      if (tensor === undefined) throw new Error(`${path}: no ${key}`)
      return tensor
    },
  }
}

const highest = (values: Float32Array): number => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
const scaleOf = (values: Float32Array): number => Math.fround((HEADROOM * highest(values)) / 127)
const bytesOf = (values: Float32Array | Int32Array | Int8Array): Uint8Array =>
  new Uint8Array(values.buffer.slice(values.byteOffset, values.byteOffset + values.byteLength))

const scalesOf = (weights: Weights): Scales => ({
  encode: scaleOf(weights.of('encode.weight').values),
  decode: scaleOf(weights.of('decode.weight').values),
  hidden: Math.fround((weights.about.hidden ?? 0) / 255),
})

/** As many values out as in, and few between. */
function autoencoder(weights: Weights, scales: Scales): Uint8Array {
  const graph = new LoweredGraphBuilder()
  const layer = (
    name: 'encode' | 'decode',
    input: number,
    from: number,
    output: number,
    activation: number,
  ): number => {
    const scale = scales[name]
    const { shape, values } = weights.of(`${name}.weight`)
    const quantized = Int8Array.from(values, (value) => Math.max(-127, Math.min(127, Math.round(value / scale))))
    const quantization = { scales: [scale], zeroPoints: [0], dimension: 0 }
    const weight = graph.tensor({
      ...{ name: `${name}.weight`, elementType: 'int8', shape, data: bytesOf(quantized), quantization },
    })
    const step = Math.fround(from * scale)
    const bias = weights.of(`${name}.bias`).values
    const bias32 = Int32Array.from(bias, (value) => Math.round(value / step))
    const biasTensor = graph.tensor({
      ...{ name: `${name}.bias`, elementType: 'int32', shape: [bias.length], data: bytesOf(bias32) },
      quantization: { scales: [step], zeroPoints: [0], dimension: 0 },
    })
    graph.operator(OPERATORS.fullyConnected, [input, weight, biasTensor], output, [byte(activation)])
    return output
  }
  const window = graph.int8('window', [1, BEARING_VALUES], BEARING_QUANTIZATION)
  const hidden = graph.int8('hidden', [1, weights.of('encode.bias').values.length], {
    scale: scales.hidden,
    zeroPoint: -128,
  })
  const again = graph.int8('again', [1, BEARING_VALUES], OUTPUT)
  layer('encode', window, BEARING_QUANTIZATION.scale, hidden, RELU)
  layer('decode', hidden, scales.hidden, again, 0)
  return graph.write([window], [again])
}

/** Three convolutions along time, their mean, and two posteriors. */
function verifier(weights: Weights): Uint8Array {
  const graph = new LoweredGraphBuilder()
  const { windowVectors, channels } = BEARING_FEATURES
  const constant = (name: string, values: Float32Array, shape: readonly number[]): number =>
    graph.tensor({ name, elementType: 'float32', shape, data: bytesOf(values) })
  const plain = (name: string, shape: readonly number[]): number =>
    graph.tensor({ name, elementType: 'float32', shape })
  const window = plain('window', [1, BEARING_VALUES])
  let at = plain('vectors', [1, windowVectors, 1, channels])
  graph.operator(OPERATORS.reshape, [window, graph.int32s('shape', [1, windowVectors, 1, channels])], at)
  let length = windowVectors
  for (const name of ['first', 'second', 'third']) {
    const { shape, values } = weights.of(`${name}.weight`)
    const [outputs = 0, depth = 0, taps = 0] = shape
    // PyTorch has the taps last, TFLite the channels.
    const turned = Float32Array.from(values, (_, i) => {
      const [output, tap, channel] = [Math.floor(i / (taps * depth)), Math.floor(i / depth) % taps, i % depth]
      return values[output * depth * taps + channel * taps + tap]!
    })
    length = Math.floor((length - taps) / 2) + 1
    const next = plain(name, [1, length, 1, outputs])
    const inputs = [at, constant(`${name}.weight`, turned, [outputs, taps, 1, depth])]
    inputs.push(constant(`${name}.bias`, weights.of(`${name}.bias`).values, [outputs]))
    graph.operator(OPERATORS.conv2d, inputs, next, [byte(VALID), word(1), word(2), byte(RELU)])
    at = next
  }
  const { shape, values } = weights.of('last.weight')
  const mean = plain('mean', [1, shape[1] ?? 0])
  graph.operator(OPERATORS.mean, [at, graph.int32s('axes', [1, 2])], mean)
  const logits = plain('logits', [1, 2])
  const inputs = [
    mean,
    constant('last.weight', values, shape),
    constant('last.bias', weights.of('last.bias').values, [2]),
  ]
  graph.operator(OPERATORS.fullyConnected, inputs, logits)
  const posteriors = plain('posteriors', [1, 2])
  graph.operator(OPERATORS.softmax, [logits], posteriors, [word(float32Word(1))])
  return graph.write([window], [posteriors])
}

const { values } = parseArgs({ options: { work: { type: 'string' }, zoo: { type: 'string' } } })
const { work, zoo } = values
if (work === undefined || zoo === undefined) throw new Error('--work and --zoo are needed')
const scales = scalesOf(readWeights(work, 'bearing-1'))
const write = (name: string, bytes: Uint8Array): void => {
  writeFileSync(join(zoo, 'models', `${name}.tflite`), bytes)
  console.log(`${name}: ${bytes.length} bytes`)
}
for (const name of ['bearing-1', 'bearing-2', 'bearing-regressed'])
  write(name, autoencoder(readWeights(work, name), scales))
write('bearing-verifier', verifier(readWeights(work, 'bearing-verifier')))
