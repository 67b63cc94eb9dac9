// Writes the feature files that zoo/retrain_streamed.py reads: words, and what a device hears in a stream that is none. Sounds that hold
// no word are cut from continuous streams at any place, as a listening device cuts them: real people's words, the same people's keywords
// played backwards (voices and rooms as they are, and no word), espeak-ng's words, pseudo-words and sentences.
// Usage: export-streamed.js --speech DIR --work DIR [--seed N] [--copies N]
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { mixAtSnr } from '../model/audio/mix.ts'
import { type Clip, readAudio, readCorpus } from './corpus.ts'
import { partial, placed, voiced } from './export-windows.ts'
import { createFeatureFile } from './features-file.ts'
import { RATE_HZ } from './labels.ts'
import { NOISE_KINDS } from './noise.ts'
import { createNoisePool, cut } from './noise-pool.ts'
import { pseudoWord } from './pseudo-words.ts'
import { below, between, pick, type Random, seeded } from './random.ts'
import { TRAINING_SENTENCES } from './sentences.ts'
import { trimmed } from './streams.ts'
import { negativeScript, OTHER_WORDS, speak, type Utterance } from './synthesize.ts'

const PSEUDO_WORDS = 900
const VOICES_PER_SENTENCE = 4
const VOICES_PER_WORD = 4
/** Windows cut from streams that hold no word, of noise alone, and of the beginnings and ends of words. */
const NEGATIVE_WINDOWS = 14_000
const NOISE_WINDOWS = 3_000
const PARTIAL_WINDOWS = 2_000
/** Backwards these two are nearly each other. */
const MIRRORED = ['no', 'on']

/** An endless stream of talk, a second at a time, a hop between them that no schedule of windows divides. */
function* windowsOf(next: () => Float32Array, random: Random): Generator<Float32Array> {
  const hop = Math.floor(0.37 * RATE_HZ)
  let stream = new Float32Array(0)
  for (;;) {
    while (stream.length < 2 * RATE_HZ) {
      const piece = next()
      const gap = Math.floor(between(random, 0.05, 0.8) * RATE_HZ)
      const longer = new Float32Array(stream.length + piece.length + gap)
      longer.set(stream)
      longer.set(piece, stream.length)
      stream = longer
    }
    yield stream.slice(0, RATE_HZ)
    stream = stream.slice(hop)
  }
}

const main = async () => {
  const { values } = parseArgs({
    options: {
      speech: { type: 'string' },
      work: { type: 'string' },
      seed: { type: 'string', default: '1' },
      copies: { type: 'string', default: '3' },
    },
  })
  const { speech, work } = values
  if (speech === undefined || work === undefined) throw new Error('--speech and --work are needed')
  const seed = Number(values.seed)
  const invented = await speak(join(work, 'synth-negatives'), () => {
    const random = seeded(seed, 'negatives')
    const words = Array.from({ length: PSEUDO_WORDS }, () => pseudoWord(random))
    return [
      ...negativeScript(words, false, 1, 'train', random),
      ...negativeScript(TRAINING_SENTENCES, true, VOICES_PER_SENTENCE, 'train', random),
    ]
  })
  const others = await speak(join(work, 'synth-others'), () =>
    negativeScript(OTHER_WORDS, false, VOICES_PER_WORD, 'train', seeded(seed, 'negatives/others')),
  )
  const training = readCorpus(speech, seed).filter((clip) => !clip.heldOut)
  const pool = createNoisePool(invented, 'train', seed + 9_000, 5, 8)
  const recorded = training.filter(({ label }) => label === 'silence').map(({ samples }) => samples)
  const someNoise = (random: Random): Float32Array =>
    random() < 0.25 ? pick(random, recorded) : cut(pick(random, pool[pick(random, NOISE_KINDS)]), random)
  const folder = join(work, 'features')
  mkdirSync(folder, { recursive: true })

  const inSomething = (samples: Float32Array, random: Random, quietShare: number): Float32Array =>
    random() < quietShare ? samples : mixAtSnr(samples, someNoise(random), between(random, -5, 25))

  const negatives = createFeatureFile(folder, 'streamed-negatives')
  const random = seeded(seed, 'streamed/negatives')
  const next = talk(training, [...invented, ...others], random)
  const windows = windowsOf(next, random)
  for (let n = 0; n < NEGATIVE_WINDOWS; n += 1)
    negatives.add(inSomething(windows.next().value as Float32Array, random, 0.35), 'unknown')
  negatives.close()

  const spoken = training.filter(({ label }) => label !== 'silence' && label !== 'unknown')
  const edges = createFeatureFile(folder, 'streamed-partial')
  for (let n = 0; n < PARTIAL_WINDOWS; n += 1)
    edges.add(inSomething(partial(voiced(pick(random, spoken).samples, random), random), random, 0.4), 'unknown')
  edges.close()

  const noise = createFeatureFile(folder, 'streamed-noise')
  for (let n = 0; n < NOISE_WINDOWS; n += 1) {
    const kind = pick(random, NOISE_KINDS)
    if (n % 2 === 0)
      noise.add(between(random, 0.05, 1) > 0.5 ? twoOf(recorded, random) : pick(random, recorded), 'silence')
    else noise.add(cut(pick(random, pool[kind]), random), kind === 'babble' ? 'unknown' : 'silence')
  }
  noise.close()

  const quiet = createFeatureFile(folder, 'streamed-quiet')
  const noisy = createFeatureFile(folder, 'streamed-noisy')
  const keywords = training.filter(({ label }) => label !== 'silence')
  writeFileSync(join(folder, 'streamed-speakers.json'), JSON.stringify(keywords.map(({ speaker }) => speaker)))
  for (let copy = 0; copy < Number(values.copies); copy += 1) {
    for (const clip of keywords) {
      const window = copy === 0 ? clip.samples : placed(voiced(clip.samples, random), random)
      quiet.add(window, clip.label)
      noisy.add(mixAtSnr(window, someNoise(random), between(random, -3, 25)), clip.label)
    }
  }
  quiet.close()
  console.log(noisy.close(), 'words')
}

/** A device hears the seam between two pieces of noise, too. */
const twoOf = (recorded: readonly Float32Array[], random: Random): Float32Array => {
  const [one, other] = [pick(random, recorded), pick(random, recorded)]
  const seam = below(random, RATE_HZ)
  return one.map((v, i) => (i < seam ? v : other[i]!))
}

const talk = (training: readonly Clip[], spoken: readonly Utterance[], random: Random): (() => Float32Array) => {
  const people = training.filter(({ label }) => label === 'unknown').map(({ samples }) => trimmed(samples))
  const backwards = training
    .filter(({ label }) => label !== 'unknown' && label !== 'silence' && !MIRRORED.includes(label))
    .map(({ samples }) => trimmed(samples).reverse())
  const ofEspeak = (sentence: boolean) =>
    spoken.filter((u) => u.sentence === sentence).map(({ file }) => readAudio(file))
  const [words, sentences] = [ofEspeak(false), ofEspeak(true)]
  const level = (samples: Float32Array) => {
    const peak = samples.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-6)
    const gain = between(random, 0.15, 0.6) / peak
    return samples.map((v) => gain * v)
  }
  return () => {
    const kind = random()
    const list = kind < 0.35 ? people : kind < 0.55 ? backwards : kind < 0.8 ? words : sentences
    return level(voiced(pick(random, list), random))
  }
}

await main()
