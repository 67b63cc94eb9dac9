import { basename, dirname, relative, resolve } from 'node:path'
import type { GraphDescription, GraphEnd } from '../../model/graph-file.ts'
import { endsOf } from './graph-ends.ts'
import type { GraphSpec } from './pipeline-spec.ts'

/** What a network seems to be of, where it is none of one window of MFCC or of frames. */
interface Guess {
  readonly words: string
  /** lines of the pipeline's front end and graphs */
  readonly lines: readonly string[]
  /** line of its head */
  readonly head: string
  /** what is still to be filled in */
  readonly open: readonly string[]
  /** it runs beside other graphs, whose memory is not known here */
  readonly besides?: true
  /** what the bundle reads; default: sound */
  readonly input?: string
}

const text = ({ name, elementType, dims, quantization: q }: GraphEnd): string =>
  `${name}: ${elementType ?? '?'} [${(dims ?? []).map((dim) => dim ?? '?').join(', ')}]${q === null ? '' : `, scale ${q.scale}, zero point ${q.zeroPoint}`}`

const shapeOf = ({ dims }: GraphEnd): string =>
  (dims ?? [])
    .slice(1)
    .map((dim) => dim ?? '?')
    .join(' × ')
const fixedValues = ({ dims }: GraphEnd): number | undefined => {
  const inner = (dims ?? [null]).slice(dims !== null && dims.length > 1 ? 1 : 0)
  return inner.reduce<number | undefined>(
    (product, dim) => (product === undefined || dim === null ? undefined : product * dim),
    1,
  )
}

/** MLPerf Tiny's anomaly detection: five frames of 128 bands in decibels.
 *  @see mlcommons/tiny, benchmark/training/anomaly_detection */
const AD_FEATURES =
  '{ kind: log-mel, version: 1, sampleRateHz: 16000, windowSamples: 1024, strideSamples: 512, window: hann-periodic, fftSize: 1024, spectrum: power, melBands: 128, melLowHz: 0, melHighHz: 8000, melScale: slaney-area, logOffset: 2.220446049250313e-16, logScale: 4.342944819032518, frames: 5 }'
const AD_VALUES = 640

/** Writes the pack file of a pipeline for a network's ends: these as they are, the rest guessed, and said so.
 *  @param boards whose memory suffices for the graph; undefined: nobody can plan it
 *  @returns the file and what is still to be filled in; undefined when nothing can be guessed */
export function pipelinePackText(
  modelPath: string,
  outPath: string,
  name: string,
  { format, inputs, outputs }: GraphDescription,
  boards: readonly string[] | undefined,
): { readonly yaml: string; readonly open: readonly string[] } | undefined {
  const file = JSON.stringify(relative(dirname(resolve(outPath)), resolve(modelPath)))
  const planned = boards !== undefined
  const stated = planned ? '' : ', ramBytes: 1000000, macs: 1000000'
  const found = guess(inputs, outputs, file, stated)
  if (found === undefined) return undefined
  const open = [...found.open, ...(planned ? [] : ['ramBytes', 'macs'])]
  const yaml = [
    `# Pack file of ${basename(modelPath)} (${format}), for "kinglet model pack". docs/bundle.md explains every field.`,
    ...inputs.map((end) => `# input  ${text(end)}`),
    ...outputs.map((end) => `# output ${text(end)}`),
    `# guessed: ${found.words}`,
    ...(planned ? [] : ['# nobody can plan this graph: ramBytes and macs are to be stated, these are no measurements']),
    `name: ${name}`,
    'version: 1',
    `input: ${found.input ?? '{ audio: 16000 }'}`,
    'pipelines:',
    '  - id: main',
    ...found.lines.map((line) => `    ${line}`),
    `    ${found.head}`,
    ...(planned && !found.besides ? [`boards: [${boards.join(', ')}] # whose memory suffices for the graph`] : []),
    '# golden: { audio: clips }   # recordings for golden vectors, of vectors .csv, .jsonl or .f32, of pictures .raw, .pgm or .ppm; without them noise is taken',
    '',
  ].join('\n')
  return { yaml, open }
}

function guess(
  inputs: readonly GraphEnd[],
  outputs: readonly GraphEnd[],
  file: string,
  stated: string,
): Guess | undefined {
  const spec = {
    divisor: 1,
    offset: 0,
    fill: null,
    inputQuantization: null,
    outputQuantization: null,
    file,
  } as GraphSpec
  const [input] = inputs
  const [output] = outputs
  if (input === undefined || output === undefined) return undefined
  const ends = endsOf(inputs, outputs, spec, 576, 16_000)
  if (ends.ok && ends.value !== null && ends.value.states.length > 0) {
    return {
      words: `a state that goes from window to window (${ends.value.states.map((state) => `${state.input} from ${state.output}`).join(', ')}); windows as silero-vad 5 has them, 512 samples after 64 of the window before`,
      lines: ['window: { length: 576, every: 512, lead: 64 }', `graphs: [{ file: ${file}${stated} }]`],
      head: 'wake: { labels: [speech], threshold: 0.5 }',
      open: ['window', 'labels'],
    }
  }
  if (inputs.length !== 1 || outputs.length !== 1) return undefined
  if (shapeOf(input) === '16 × 96') {
    return {
      words: 'a word of openWakeWord, behind its two graphs, which are to lie beside it',
      lines: [
        'window: { length: 1760, every: 1280, gain: 32768 }',
        'graphs:',
        '  - { file: melspectrogram.onnx, ramBytes: 1000000, macs: 1000000 } # to be stated, these are no measurements',
        '  - { file: embedding_model.onnx, rows: 76, step: 8, divisor: 10, offset: 2 }',
        `  - { file: ${file}, rows: 16${stated} }`,
      ],
      head: 'wake: { labels: [wake-word], threshold: 0.5 }',
      open: ['labels', 'melspectrogram.onnx', 'embedding_model.onnx'],
      besides: true,
    }
  }
  const picture = pictureGuess(input, output, file, stated)
  if (picture !== undefined) return picture
  const values = fixedValues(input)
  if (values === undefined || values !== fixedValues(output)) return undefined
  return {
    words: `an autoencoder: it gives ${values} values for ${values}`,
    lines: [
      values === AD_VALUES
        ? `features: ${AD_FEATURES}`
        : `window: { length: ${values}, every: ${values} } # or vectors: input: { vectors: { channels, rate } }`,
      `graphs: [{ file: ${file}${stated} }]`,
    ],
    head: 'anomaly: { threshold: 1 } # to be measured on what is normal',
    open: [...(values === AD_VALUES ? [] : ['window']), 'threshold'],
  }
}

/** Chosen: smaller windows of four dimensions are frames of sound. */
const SIDE_LEAST = 16
/** Networks of more outputs are no classifiers of pictures. */
const LABELS_MOST = 256

/** A classifier of pictures [1, height, width, 1 or 3], as TFLite files have them. */
function pictureGuess(input: GraphEnd, output: GraphEnd, file: string, stated: string): Guess | undefined {
  const [batch, height, width, channels] = input.dims ?? []
  if (input.dims?.length !== 4 || (batch ?? 1) !== 1 || (channels !== 1 && channels !== 3)) return undefined
  if (height == null || width == null || Math.min(height, width) < SIDE_LEAST) return undefined
  const count = fixedValues(output)
  if (count === undefined || count < 2 || count > LABELS_MOST) return undefined
  const pixels = height * width
  const { quantization } = input
  // Bytes of a picture are 0 to 1 for the network, or as its file says: of 255 steps over 0 to 1, over -1 to 1, or over 0 to 255.
  const span = quantization === null ? 1 : 255 * quantization.scale
  const window = `length: ${pixels}, every: ${pixels}`
  const front =
    Math.abs(span - 2) < 0.1
      ? `window: { ${window}, offset: 127.5, gain: ${1 / 127.5} } # pixels, brought to -1 to 1`
      : Math.abs(span - 255) < 5
        ? `window: { ${window} } # pixels, as they are`
        : `window: { ${window}, gain: ${1 / 255} } # pixels, brought to 0 to 1`
  const stored =
    input.elementType === 'int8' && quantization !== null
      ? [`featureQuantization: { scale: ${quantization.scale}, zeroPoint: ${quantization.zeroPoint} }`]
      : []
  const labels = Array.from({ length: count }, (_, at) => `label-${at}`)
  return {
    words: `a classifier of pictures of ${width} × ${height} in ${channels} ${channels === 1 ? 'channel' : 'channels'}, one a second`,
    input: `{ image: { width: ${width}, height: ${height}, channels: ${channels}, everyMs: 1000 } }`,
    lines: [front, ...stored, `graphs: [{ file: ${file}${stated} }]`],
    head: `classification: { labels: [${labels.join(', ')}], smoothingWindows: 3 } # labels in the order of the outputs`,
    open: ['everyMs', 'labels'],
  }
}
