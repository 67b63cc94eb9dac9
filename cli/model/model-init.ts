import { basename, dirname, relative, resolve } from 'node:path'
import { stringify } from 'yaml'
import { LIMITS } from '../../contract/limits.ts'
import { BOARDS, modelRamBytes } from '../../model/boards.ts'
import { mfccDefinitionV1 } from '../../model/features/mfcc-definition.ts'
import { microFrontendDefinition } from '../../model/features/micro-frontend-definition.ts'
import { MICRO_QUANTIZATION } from '../../model/features/micro-stream.ts'
import { describeGraph, type GraphEnd } from '../../model/graph-file.ts'
import { graphNeeds } from '../../model/opened-bundle.ts'
import { TFLITE_LIMITS } from '../../model/tflite/tflite-limits.ts'
import { readBounded } from '../bounded-file.ts'
import { CommandFailure } from '../failure.ts'
import { OutputFile } from '../output-file.ts'
import { readModelFile } from './model-file.ts'
import { pipelinePackText } from './pipeline-init.ts'

/** The words of MLPerf Tiny's keyword spotting, in the order of its networks' outputs.
 *  @see mlcommons/tiny, benchmark/training/keyword_spotting */
const MLPERF_LABELS = ['down', 'go', 'left', 'no', 'off', 'on', 'right', 'stop', 'up', 'yes', 'silence', 'unknown']
/** Labels that no device should wake at. */
const NO_WORDS = ['silence', 'unknown']
/** spec: of MLPerf Tiny's own 8-bit network, rounded, for those that do not tell theirs. */
const ASSUMED_QUANTIZATION = { scale: 0.58, zeroPoint: 83 }

const valuesOf = ({ dims }: GraphEnd): number => (dims ?? []).reduce<number>((product, dim) => product * (dim ?? 1), 1)

/** What a network seems to hear, from its input alone. */
function guessedFeatures(
  input: GraphEnd,
): { readonly yaml: string; readonly hopFrames: number; readonly stream: boolean } | undefined {
  const dims = (input.dims ?? []).filter((dim) => dim !== 1)
  const { frames, coefficients } = mfccDefinitionV1
  if (valuesOf(input) === frames * coefficients) {
    const yaml = `# guessed from ${frames * coefficients} inputs: MLPerf Tiny's MFCC, ${frames} frames of ${coefficients} from a second of 16 kHz\n# (features: left out)\n`
    return { yaml, hopFrames: 10, stream: false }
  }
  const { channels } = microFrontendDefinition
  const read = dims.length === 1 ? 1 : dims[0]
  if (dims.length <= 2 && dims.at(-1) === channels && read != null && read <= 25) {
    const features = stringify({ features: { ...microFrontendDefinition, frames: read } })
    return {
      yaml: `# guessed from ${read} × ${channels} inputs: microWakeWord's front end, ${read} frames at a time; older networks have stepMs: 20\n${features}`,
      hopFrames: read,
      stream: true,
    }
  }
  return undefined
}

/** Writes a pack file for what it finds in a network's file: ends and quantization as they are, the rest guessed, and said so.
 *  @returns what is still to be filled in */
export function initPackFile(modelPath: string, outPath: string, replaces: boolean): readonly string[] {
  OutputFile.check(outPath, replaces)
  const model = readModelFile(modelPath)
  const [found] = model.graphs
  if (model.format === 'bundle' || found === undefined) {
    throw new CommandFailure(`${modelPath}: it is a bundle, packed already`, {
      hint: 'a .tflite or an .onnx file is expected',
    })
  }
  const description = describeGraph(found.graph)
  const { inputs, outputs } = description
  const needs = graphNeeds(readBounded(modelPath, TFLITE_LIMITS.modelBytes))
  const [input] = inputs
  const [output] = outputs
  const single = inputs.length === 1 && outputs.length === 1
  const guess = single && input !== undefined ? guessedFeatures(input) : undefined
  if (guess === undefined) {
    const boards = needs.ok ? boardsFor(needs.value.ramBytes) : undefined
    const pipeline = pipelinePackText(modelPath, outPath, nameOf(modelPath), description, boards)
    if (pipeline !== undefined) {
      OutputFile.write(outPath, new TextEncoder().encode(pipeline.yaml), replaces)
      return pipeline.open
    }
  }
  if (!single || input === undefined || output === undefined) {
    throw new CommandFailure(`${modelPath}: ${inputs.length} inputs and ${outputs.length} outputs`, {
      hint: 'which is which is not told by their names: write a pack file with "pipelines" that says it, docs/bundle.md explains how',
    })
  }
  if (guess === undefined) {
    const shape = (input.dims ?? []).map((dim) => dim ?? '?').join(' × ')
    throw new CommandFailure(`${modelPath}: no front end is known whose windows are ${shape}`, {
      hint: `networks of 490 MFCC values, of frames of ${microFrontendDefinition.channels}, words of openWakeWord and autoencoders are; "kinglet model inspect" says what this one is, and a pack file with "pipelines" takes any`,
    })
  }
  if (!needs.ok) throw new CommandFailure(`${modelPath}: ${needs.error.code}: ${needs.error.detail}`)
  const boards = boardsFor(needs.value.ramBytes)
  const count = valuesOf(output)
  const isMlperf = !guess.stream && count === MLPERF_LABELS.length
  const labels = isMlperf
    ? MLPERF_LABELS
    : Array.from({ length: count }, (_, i) => (guess.stream && count === 1 ? 'wake-word' : `label-${i}`))
  const told = input.elementType === 'int8' ? input.quantization : null
  const quantization = told ?? (guess.stream ? { ...MICRO_QUANTIZATION } : ASSUMED_QUANTIZATION)
  const policy = {
    ...{ smoothingWindows: guess.stream ? 5 : 3, thresholdPermille: guess.stream ? 850 : 700 },
    ...{ refractoryMs: 2000, wakeHoldMs: 5000 },
    ignoreLabels: labels.filter((label) => NO_WORDS.includes(label)),
  }
  const gate = { marginDb: 6, hangoverMs: 1000 }
  const level = (name: string, gated: boolean) => ({
    level: name,
    graph: 'main',
    hopFrames: guess.hopFrames,
    gate: gated ? gate : null,
  })
  const end = ({ name, elementType, dims, quantization: q }: GraphEnd): string =>
    `${name}: ${elementType ?? '?'} ${(dims ?? []).map((dim) => dim ?? '?').join('×')}${q === null ? '' : `, scale ${q.scale}, zero point ${q.zeroPoint}`}`
  const text = [
    `# Pack file of ${basename(modelPath)} (${model.format}, ${model.fileBytes} bytes), for "kinglet model pack". docs/bundle.md explains every field.`,
    `# input  ${end(input)}`,
    `# output ${end(output)}`,
    '',
    stringify({ name: nameOf(modelPath), version: 1 }).trimEnd(),
    '# bundle of the model this one was trained from, or null',
    'parent: null',
    'securityCounter: 0',
    isMlperf
      ? "# guessed from 12 outputs: MLPerf Tiny's order; packing hears the labelled clips below to check it"
      : '# in the order of the outputs; to be filled in',
    stringify({ labels }).trimEnd(),
    guess.yaml.trimEnd(),
    told !== null || guess.stream
      ? "# of the 8-bit window that a wake carries: that of the network's input"
      : '# to be measured: the file does not tell it; real = scale × (value − zeroPoint)',
    `featureQuantization: { scale: ${quantization.scale}, zeroPoint: ${quantization.zeroPoint} }`,
    'graphs:',
    `  - { id: main, file: ${JSON.stringify(relative(dirname(resolve(outPath)), resolve(modelPath)))} }`,
    guess.stream
      ? '# every frame is heard, since the network remembers: no gate'
      : '# best level first; a gated level infers only while the sound is above the noise',
    stringify({
      ladder: guess.stream ? [level('full', false)] : [level('full', false), level('gated', true)],
    }).trimEnd(),
    '# guessed; "kinglet model curve" shows what a threshold costs',
    stringify({ policy }).trimEnd(),
    `# whose memory suffices for ${needs.value.ramBytes} bytes`,
    stringify({ boards }).trimEnd(),
    '# folder of recordings, best with a sub-folder for each label; to be filled in',
    `golden: { audio: clips, count: 8, tolerance: ${model.format === 'tflite' ? 0 : 0.01} }`,
    '# a model card (JSON); without one a small one is made',
    '# card: card.json',
    '',
  ].join('\n')
  OutputFile.write(outPath, new TextEncoder().encode(text), replaces)
  return [
    ...(isMlperf ? [] : ['labels']),
    ...(told !== null || guess.stream ? [] : ['featureQuantization']),
    'golden.audio',
  ]
}

/** Boards whose memory suffices for a graph. */
const boardsFor = (ramBytes: number): readonly string[] =>
  BOARDS.filter((board) => ramBytes <= modelRamBytes(board)).map((board) => board.name)

/** A release name of the file's. */
const nameOf = (path: string): string =>
  basename(path)
    .replace(/\.[^.]*$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, LIMITS.nameLength)
    .replace(/-+$/, '') || 'model'
