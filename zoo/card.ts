import { createHash } from 'node:crypto'
import type { WakePolicy } from './network.ts'

/** Correct answers on labelled clips. */
export type ClipScore = {
  /** Share of correct clips. */
  readonly accuracy: number
  readonly clips: number
  readonly perLabel: Readonly<Record<string, { readonly clips: number; readonly correct: number }>>
}

/** What a detector did over a stretch of audio with a known truth. */
export type StreamScore = {
  readonly minutes: number
  readonly said: number
  /** Share of the keywords said that woke. */
  readonly detected: number
  readonly perKeyword: Readonly<Record<string, { readonly said: number; readonly detected: number }>>
  readonly falseWakes: number
  readonly falseWakesPerHour: number
}

/** What zoo/train.py writes beside each network. */
export type Metadata = {
  readonly name: string
  readonly parent: string | null
  readonly seed: number
  readonly budget: number
  readonly channels?: number
  readonly constantBytes?: number
  readonly macs?: number
  readonly parameters?: number
  /** What zoo/retrain.py says of a network whose file differs from its parent's in weights and biases only. */
  readonly retraining?: {
    readonly setting: string
    /** changes of weights are multiples of so many int8 steps */
    readonly grid: number
    /** the dense fine-tune that a sparse one began with */
    readonly dense: string | null
    readonly samples: number
    readonly changedWeightsPercent: number
    readonly changedBiases: number
    /** whose network taught beside the verifier, and its licence */
    readonly teacher?: string
  }
  /** The feature quantization every network of the zoo shares; `type` says what the graph itself takes. */
  readonly input: { readonly name: string; readonly type: string; readonly scale: number; readonly zeroPoint: number }
}

/** A model card: where a network comes from and what was measured of it. */
export type Card = {
  readonly name: string
  readonly bytes: number
  readonly sha256: string
  readonly metadata: Metadata
  readonly provenance: {
    readonly seed: number
    readonly dataSha256: string
    readonly scriptSha256: string
    readonly trainingClips: number
    readonly trainingSpeakers: number
    readonly heldOutClips: number
    readonly heldOutSpeakers: number
    readonly synthesisedUtterances: number
  }
  readonly wakePolicy: WakePolicy
  readonly clips: { readonly quiet: ClipScore; readonly zeroDb: ClipScore }
  /** Accuracy of the same weights in float32, where the network is quantized. */
  readonly floatTwin?: { readonly quiet: number; readonly zeroDb: number }
  readonly streams: Readonly<Record<string, StreamScore>>
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const PURPOSE: Readonly<Record<string, string>> = {
  'kws-1': 'Keyword spotter trained on quiet audio only: the model a fleet starts with.',
  'kws-2': 'kws-1 fine-tuned on quiet and noisy audio, quantization parameters frozen: the update the fleet needs.',
  'kws-lite': 'Sixteen channels instead of 64: the level of the ladder that saves energy and memory.',
  'kws-regressed':
    'A bad candidate on purpose: kws-2 fine-tuned on clips harvested in noise and labelled by an over-eager labeller. ' +
    'It passes a check on quiet clips and wakes falsely in noise. Never ship it; it exists to be rolled back.',
  'kws-2-frozen':
    'kws-1 retrained on quiet and noisy audio with every layer free, on the deployed grid and from the deployed weights: what a ' +
    'small update costs when nothing makes it sparse.',
  'kws-2-sparse':
    'kws-1 with the changes of kws-2 that are worth most, retrained among themselves: the same purpose as kws-2 in a patch ' +
    'that is a fraction of the size.',
  'kws-2-head':
    'kws-1 with its last layer retrained on quiet and noisy audio: the smallest update there is, and what it is worth.',
  verifier: 'A larger float network on the same 490-byte feature map: confirms or rejects wakes at the gateway.',
}

const percent = (value: number): string => `${(value * 100).toFixed(1)} %`
const grouped = (value: number): string => value.toLocaleString('en-GB').replaceAll(',', ' ')

const retrainingOf = (retraining: NonNullable<Metadata['retraining']>, parent: string | null): string => {
  const { setting, grid, dense, samples, changedWeightsPercent, changedBiases, teacher } = retraining
  return (
    `retrained with the scales and zero points of ${parent}, setting \`${setting}\`, ` +
    `${dense === null ? '' : `beginning with the changes of ${dense}, `}${grouped(samples)} windows: ` +
    `${changedWeightsPercent} % of the weights${grid === 1 ? '' : ` (by multiples of ${grid} steps)`} and ${changedBiases} biases differ, nothing else does` +
    `${teacher === undefined ? '' : `; taught beside the verifier by ${teacher}`}`
  )
}

/** Writes a card for people; every number comes from `card`. */
export const renderCard = (card: Card): string => {
  const { metadata, provenance: p, clips, floatTwin, streams, wakePolicy } = card
  const facts = [
    `file: ${grouped(card.bytes)} bytes, sha256 \`${card.sha256}\``,
    metadata.constantBytes === undefined
      ? `parameters: ${grouped(metadata.parameters ?? 0)}, float32`
      : `constants: ${grouped(metadata.constantBytes)} bytes; multiply-accumulates: ${grouped(metadata.macs ?? 0)}`,
    `input: \`${metadata.input.name}\` ${metadata.input.type} [1,1,49,10], features quantized with scale ` +
      `${metadata.input.scale} and zero point ${metadata.input.zeroPoint}; output: \`probabilities\` float32 [1,12]`,
    `parent: ${metadata.parent ?? 'none'}; seed ${metadata.seed}, budget ${metadata.budget}`,
    ...(metadata.retraining === undefined ? [] : [retrainingOf(metadata.retraining, metadata.parent)]),
    `data: Speech Commands v0.02 (P. Warden, CC BY 4.0), ${grouped(p.trainingClips)} clips of ${p.trainingSpeakers} ` +
      `speakers or background blocks; ${grouped(p.synthesisedUtterances)} utterances synthesised with espeak-ng as augmentation`,
    `measured on ${p.heldOutClips} clips of ${p.heldOutSpeakers} speakers or background blocks never trained on`,
    `sha256 of the data (sorted list of file hashes) \`${p.dataSha256}\`, of the scripts \`${p.scriptSha256}\``,
  ]
  const labels = Object.keys(clips.quiet.perLabel)
  const cell = (score: ClipScore, label: string) =>
    `${score.perLabel[label]!.correct} / ${score.perLabel[label]!.clips}`
  const keywords = Object.entries(streams).filter(([, s]) => s.said > 0)
  const words = [...new Set(keywords.flatMap(([, s]) => Object.keys(s.perKeyword)))].sort()
  return `${[
    `# ${card.name}`,
    '',
    PURPOSE[card.name] ?? 'A network of the zoo.',
    '',
    ...facts.map((fact) => `- ${fact}`),
    '',
    '## Single clips',
    '',
    '| | as recorded | noise at 0 dB |',
    '|---|---|---|',
    `| accuracy | ${percent(clips.quiet.accuracy)} | ${percent(clips.zeroDb.accuracy)} |`,
    ...(floatTwin === undefined
      ? []
      : [`| same weights in float32 | ${percent(floatTwin.quiet)} | ${percent(floatTwin.zeroDb)} |`]),
    ...labels.map((label) => `| ${label} | ${cell(clips.quiet, label)} | ${cell(clips.zeroDb, label)} |`),
    '',
    '## Streams',
    '',
    `Hop ${wakePolicy.hopFrames} frames, posterior averaged over ${wakePolicy.smoothing} windows, wake at ` +
      `${wakePolicy.threshold}, then deaf for ${wakePolicy.refractorySeconds} s. Noises and voices were not trained on.`,
    '',
    '| stream | minutes | keywords woken on | false wakes per hour |',
    '|---|---|---|---|',
    ...Object.entries(streams).map(
      ([name, s]) =>
        `| ${name} | ${s.minutes} | ${s.said === 0 ? '' : `${percent(s.detected)} of ${s.said}`} | ${s.falseWakesPerHour} |`,
    ),
    '',
    `| woken on | ${keywords.map(([name]) => name).join(' | ')} |`,
    `|---|${keywords.map(() => '---|').join('')}`,
    ...words.map((word) => {
      const cells = keywords.map(([, s]) => {
        const row = s.perKeyword[word]
        return row === undefined ? '' : `${row.detected} / ${row.said}`
      })
      return `| ${word} | ${cells.join(' | ')} |`
    }),
    '',
    'Generated by `zoo/evaluate.ts`.',
  ].join('\n')}\n`
}
