// Writes the feature files that zoo/retrain_streamed.py reads: words, and what a device hears in a stream that is none, each in quiet, in
// noise made from a seed and in recorded noise. Sounds that hold no word are cut from continuous streams at any place, as a listening
// device cuts them: real people's words, the same people's keywords played backwards (voices and rooms as they are, and no word),
// espeak-ng's words, pseudo-words and sentences. Nothing of a held-out speaker, voice or background recording is in them.
// Usage: export-streamed.js --speech DIR --work DIR [--seed N] [--copies N] [--only SET ...]
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { meanPower } from '../model/audio/mix.ts'
import { activeRange } from './augment.ts'
import { type Clip, readAudio, readCorpus } from './corpus.ts'
import { partial, voiced } from './export-windows.ts'
import { createFeatureFile, type FeatureFile } from './features-file.ts'
import { type Label, RATE_HZ } from './labels.ts'
import { LOUD_KINDS, NOISE_KINDS } from './noise.ts'
import { createNoisePool, cut } from './noise-pool.ts'
import { pseudoWord } from './pseudo-words.ts'
import { below, between, pick, type Random, seeded } from './random.ts'
import { TRAINING_SENTENCES } from './sentences.ts'
import { bed, trimmed, WORD_RMS } from './streams.ts'
import { negativeScript, OTHER_WORDS, speak, synthesize, type Utterance } from './synthesize.ts'

const PSEUDO_WORDS = 900
const VOICES_PER_SENTENCE = 4
const VOICES_PER_WORD = 4
/** Windows of each kind of noise that are cut from talk without a word, of the beginnings and ends of words, and of noise alone. */
const TALK_WINDOWS = 7_000
const PARTIAL_WINDOWS = 1_500
const NOISE_WINDOWS = 4_000
/** Pieces of a second and a half to five and a half seconds of each noise; recorded noise is as much as there is. */
const NOISE_PIECES = 10
/** Backwards these two are nearly each other. */
const MIRRORED = ['no', 'on']
/** How much of a word a window may lack and still be that word. */
const CUT_SHARE_MAX = 0.15

/** Where a stream is: nothing under the talk, noise made from a seed, recorded noise. */
const SURROUNDINGS = ['quiet', 'synthesised', 'recorded'] as const
type Surroundings = (typeof SURROUNDINGS)[number]

/** An endless stream of talk, a second at a time, a hop between them that no schedule of windows divides. */
function* windowsOf(next: () => Float32Array, random: Random): Generator<Float32Array, never> {
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

/** A word wherever a window of a stream may find it: anywhere in its second, its ends cut by little. */
const anywhere = (samples: Float32Array, random: Random): Float32Array => {
  const word = trimmed(samples)
  const slack = Math.floor(word.length * CUT_SHARE_MAX)
  const [low, high] = [-slack, RATE_HZ - word.length + slack]
  const at = low < high ? low + below(random, high - low + 1) : Math.floor((RATE_HZ - word.length) / 2)
  const out = new Float32Array(RATE_HZ)
  for (let i = Math.max(0, -at); i < word.length && at + i < RATE_HZ; i += 1) out[at + i] = word[i]!
  return out
}

/** The same sound with its active part at the level that streams have. */
const levelled = (samples: Float32Array): Float32Array => {
  const { from, to } = activeRange(samples)
  const gain = WORD_RMS / Math.sqrt(meanPower(samples.subarray(from, to)) + 1e-12)
  return samples.map((v) => gain * v)
}

const main = async () => {
  const { values } = parseArgs({
    options: {
      speech: { type: 'string' },
      work: { type: 'string' },
      seed: { type: 'string', default: '1' },
      copies: { type: 'string', default: '5' },
      only: { type: 'string', multiple: true },
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
  const said = (await synthesize(join(work, 'synth'), seed)).filter(
    ({ split, label }) => split === 'train' && label !== 'unknown',
  )
  const training = readCorpus(speech, seed).filter((clip) => !clip.heldOut)
  const pool = createNoisePool(invented, 'train', seed + 9_000, NOISE_PIECES, 8)
  const recorded = training.filter(({ label }) => label === 'silence').map(({ samples }) => samples)
  const folder = join(work, 'features')
  mkdirSync(folder, { recursive: true })

  /** A bed of noise as loud as the ratio says under talk of `WORD_RMS`. */
  const noiseOf = (surroundings: Surroundings, snrDb: number, random: Random): Float32Array => {
    const rms = WORD_RMS * 10 ** (-snrDb / 20)
    const kind = pick(random, LOUD_KINDS)
    const next = () =>
      surroundings === 'recorded' ? oneOrTwo(recorded, random) : cut(pick(random, pool[kind]), random)
    // The bed begins anywhere in its first piece.
    const from = below(random, RATE_HZ / 2)
    return bed(RATE_HZ + from, next, rms).slice(from)
  }
  const within = (samples: Float32Array, surroundings: Surroundings, random: Random): Float32Array => {
    if (surroundings === 'quiet') return samples
    const noise = noiseOf(surroundings, between(random, -3, 25), random)
    return samples.map((v, i) => v + noise[i]!)
  }
  const write = (name: string, fill: (file: FeatureFile, random: Random) => void) => {
    if (values.only !== undefined && !values.only.includes(name)) return
    const file = createFeatureFile(folder, `streamed-${name}`)
    fill(file, seeded(seed, `streamed/${name}`))
    console.log(name, file.close())
  }

  const keywords = training.filter(({ label }) => label !== 'silence')
  const spoken = keywords.filter(({ label }) => label !== 'unknown')
  const read = said.map(({ file, label }) => ({ label, samples: readAudio(file) }))
  const talkers = talk(training, [...invented, ...others])
  for (const surroundings of SURROUNDINGS) {
    const place = (samples: Float32Array, random: Random) =>
      within(levelled(anywhere(voiced(samples, random), random)), surroundings, random)
    write(`words-${surroundings}`, (file, random) => {
      for (let copy = 0; copy < Number(values.copies); copy += 1)
        for (const { label, samples } of keywords) file.add(place(samples, random), label)
    })
    write(`said-${surroundings}`, (file, random) => {
      for (const { label, samples } of read) file.add(place(samples, random), label)
    })
    write(`talk-${surroundings}`, (file, random) => {
      const windows = windowsOf(() => talkers(random), random)
      for (let n = 0; n < TALK_WINDOWS; n += 1) file.add(within(windows.next().value, surroundings, random), 'unknown')
    })
    write(`partial-${surroundings}`, (file, random) => {
      for (let n = 0; n < PARTIAL_WINDOWS; n += 1) {
        const word = levelled(voiced(pick(random, spoken).samples, random))
        file.add(within(partial(word, random), surroundings, random), 'unknown')
      }
    })
  }
  write('noise', (file, random) => {
    for (let n = 0; n < NOISE_WINDOWS; n += 1) {
      const kind = pick(random, NOISE_KINDS)
      const label: Label = n % 2 === 1 && kind === 'babble' ? 'unknown' : 'silence'
      file.add(n % 2 === 0 ? noiseOf('recorded', 0, random) : cut(pick(random, pool[kind]), random), label)
    }
  })
}

/** A recording as it is, or two on top of each other: there are few, and most rooms have more than one source. */
const oneOrTwo = (recorded: readonly Float32Array[], random: Random): Float32Array => {
  const one = pick(random, recorded)
  if (random() < 0.6) return one
  const other = pick(random, recorded)
  const gain = Math.sqrt((meanPower(one) + 1e-12) / (meanPower(other) + 1e-12)) * 10 ** between(random, -0.5, 0.5)
  return one.map((v, i) => v + gain * (other[i] ?? 0))
}

/** Talk that holds no word, a piece at a time, each at about the level of the others. */
const talk = (training: readonly Clip[], spoken: readonly Utterance[]): ((random: Random) => Float32Array) => {
  const people = training.filter(({ label }) => label === 'unknown').map(({ samples }) => trimmed(samples))
  const backwards = training
    .filter(({ label }) => label !== 'unknown' && label !== 'silence' && !MIRRORED.includes(label))
    .map(({ samples }) => trimmed(samples).reverse())
  const ofEspeak = (sentence: boolean) =>
    spoken.filter((u) => u.sentence === sentence).map(({ file }) => readAudio(file))
  const [words, sentences] = [ofEspeak(false), ofEspeak(true)]
  return (random) => {
    const kind = random()
    const list = kind < 0.35 ? people : kind < 0.55 ? backwards : kind < 0.8 ? words : sentences
    const gain = 10 ** between(random, -0.2, 0.2)
    return levelled(voiced(pick(random, list), random)).map((v) => gain * v)
  }
}

await main()
