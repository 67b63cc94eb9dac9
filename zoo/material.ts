import { join } from 'node:path'
import { meanPower } from '../model/audio/mix.ts'
import { activeRange } from './augment.ts'
import { type Clip, readAudio, readCorpus } from './corpus.ts'
import { KEYWORDS, type Label, RATE_HZ } from './labels.ts'
import { LOUD_KINDS } from './noise.ts'
import { createNoisePool } from './noise-pool.ts'
import { between, pick, type Random, seeded, shuffled } from './random.ts'
import { HELD_OUT_SENTENCES } from './sentences.ts'
import { bed, trimmed, WORD_RMS } from './streams.ts'
import { negativeScript, OTHER_WORDS, speak } from './synthesize.ts'

/** Policies are chosen on one share of what no network was trained on and reported on the other; they have neither a speaker, a voice
 *  nor a noise in common. */
export type Share = 'validation' | 'test'

/** Which noise, made by generators from a seed or recorded, lies under everything, and how loud. */
export type Condition = {
  readonly name: string
  readonly noise: 'synthesised' | 'recorded' | null
  /** mean power of a word against that of the noise */
  readonly snrDb: number
}

export const CONDITIONS: readonly Condition[] = [
  { name: 'clean', noise: null, snrDb: Number.POSITIVE_INFINITY },
  { name: 'synthesised noise, 20 dB', noise: 'synthesised', snrDb: 20 },
  { name: 'synthesised noise, 10 dB', noise: 'synthesised', snrDb: 10 },
  { name: 'synthesised noise, 5 dB', noise: 'synthesised', snrDb: 5 },
  { name: 'recorded noise, 10 dB', noise: 'recorded', snrDb: 10 },
]

/** What holds no keyword, by what it is. */
export const NEGATIVES = ['words of people', 'words of espeak-ng', 'sentences'] as const
export type Negative = (typeof NEGATIVES)[number]

export type Material = {
  readonly share: Share
  readonly speakers: number
  readonly words: readonly { readonly label: Label; readonly samples: Float32Array }[]
  readonly negatives: Readonly<Record<Negative, readonly Float32Array[]>>
  readonly noises: Readonly<Record<'synthesised' | 'recorded', readonly Float32Array[]>>
}

/** How often each piece is heard, each time after others and in other noise: people's words are few. */
const ROUNDS: Readonly<Record<Negative, number>> = { 'words of people': 15, 'words of espeak-ng': 1, sentences: 1 }
const NOISE_ALONE_SECONDS = 900
/** How many voices say each word and each sentence. */
const VOICES = { validation: { word: 2, sentence: 4 }, test: { word: 4, sentence: 8 } } as const
const SECOND = RATE_HZ

/** Who is in which share: speakers, and blocks of background recordings, in order of how much there is of each, two by two to the one
 *  and to the other. By chance alone one share had 34 keywords and the other 196, and 34 are too few to choose by. */
export const shareOf = (clips: readonly Pick<Clip, 'speaker' | 'label'>[]): ReadonlyMap<string, Share> => {
  const counts = new Map<string, number>()
  for (const { speaker } of clips) counts.set(speaker, (counts.get(speaker) ?? 0) + 1)
  const shares = new Map<string, Share>()
  for (const background of [false, true]) {
    const own = new Set(clips.filter(({ label }) => (label === 'silence') === background).map(({ speaker }) => speaker))
    const ordered = [...own].sort((a, b) => counts.get(b)! - counts.get(a)! || (a < b ? -1 : 1))
    for (const [n, speaker] of ordered.entries())
      shares.set(speaker, n % 4 === 1 || n % 4 === 2 ? 'validation' : 'test')
  }
  return shares
}

/** Reads and makes the material of one share.
 *  @param speech recordings, see `readCorpus`; only held-out speakers are used
 *  @param work where espeak-ng's utterances are kept */
export const readMaterial = async (speech: string, work: string, seed: number, share: Share): Promise<Material> => {
  const heldOut = readCorpus(speech, seed).filter((clip) => clip.heldOut)
  const shares = shareOf(heldOut)
  const clips = heldOut.filter(({ speaker }) => shares.get(speaker) === share)
  const half = share === 'validation' ? 0 : 1
  const random = seeded(seed, `material/${share}`)
  const [words, sentences] = [
    negativeScript(OTHER_WORDS, false, VOICES[share].word, 'test', random, half),
    negativeScript(HELD_OUT_SENTENCES, true, VOICES[share].sentence, 'test', random, half),
  ]
  const spoken = await speak(join(work, `synth-${share}`), () => [...words, ...sentences])
  const read = (sentence: boolean) => spoken.filter((u) => u.sentence === sentence).map((u) => readAudio(u.file))
  const talk = read(true)
  const pool = createNoisePool(spoken, 'test', seed + (share === 'validation' ? 7_001 : 7_002), 4, 8)
  return {
    share,
    speakers: new Set(clips.filter(({ label }) => label !== 'silence').map(({ speaker }) => speaker)).size,
    words: clips.filter(({ label }) => KEYWORDS.includes(label)),
    negatives: {
      'words of people': clips.filter(({ label }) => label === 'unknown').map(({ samples }) => trimmed(samples)),
      'words of espeak-ng': read(false),
      sentences: talk,
    },
    noises: {
      synthesised: LOUD_KINDS.flatMap((kind) => pool[kind]),
      recorded: clips.filter(({ label }) => label === 'silence').map(({ samples }) => samples),
    },
  }
}

const atLevel = (samples: Float32Array): Float32Array => {
  const { from, to } = activeRange(samples)
  const gain = WORD_RMS / Math.sqrt(meanPower(samples.subarray(from, to)) + 1e-12)
  return samples.map((v) => gain * v)
}

/** Puts pieces, all at one level, where they belong in silence or in noise. */
const heardIn = (
  { noises }: Material,
  { noise, snrDb }: Condition,
  length: number,
  pieces: readonly { readonly at: number; readonly samples: Float32Array }[],
  random: Random,
): Float32Array => {
  const out =
    noise === null
      ? new Float32Array(length)
      : bed(length, () => pick(random, noises[noise]), WORD_RMS * 10 ** (-snrDb / 20))
  for (const { at, samples } of pieces) for (let i = 0; i < samples.length; i += 1) out[at + i]! += samples[i]!
  return out
}

/** Each keyword by itself: a second before it and a second and a half after, in which the device may wake. */
export function* saidWords(material: Material, condition: Condition, seed: number) {
  const random = seeded(seed, `said/${material.share}/${condition.name}`)
  for (const { label, samples } of material.words) {
    const length = samples.length + 2.5 * SECOND
    yield {
      label,
      samples: heardIn(material, condition, length, [{ at: SECOND, samples: atLevel(samples) }], random),
    }
  }
}

/** Talk without a keyword: pieces in random order, a fifth to a whole second apart; in parts of about half a minute. */
export function* saidNegatives(
  material: Material,
  condition: Condition,
  kind: Negative,
  seed: number,
): Generator<Float32Array> {
  const random = seeded(seed, `negatives/${material.share}/${condition.name}/${kind}`)
  // In silence a second hearing differs from the first by its neighbours alone.
  const rounds = condition.noise === null ? Math.ceil(ROUNDS[kind] / 5) : ROUNDS[kind]
  const pieces: { at: number; samples: Float32Array }[] = []
  let at = 0
  for (let round = 0; round < rounds; round += 1) {
    for (const samples of shuffled(random, material.negatives[kind])) {
      pieces.push({ at, samples: atLevel(samples) })
      at += samples.length + Math.floor(between(random, 0.2, 1) * SECOND)
      if (at < 30 * SECOND) continue
      yield heardIn(material, condition, at, pieces, random)
      pieces.length = 0
      at = 0
    }
  }
  if (pieces.length > 0) yield heardIn(material, condition, at, pieces, random)
}

/** Noise and nobody in it. */
export function* noiseAlone(
  material: Material,
  noise: 'synthesised' | 'recorded',
  seed: number,
): Generator<Float32Array> {
  const random = seeded(seed, `alone/${material.share}/${noise}`)
  const condition: Condition = { name: noise, noise, snrDb: 0 }
  for (let at = 0; at < NOISE_ALONE_SECONDS; at += 60) yield heardIn(material, condition, 60 * SECOND, [], random)
}
