// Writes the feature files that zoo/train.py reads: recordings, synthesised words and backgrounds, each as a quiet window
// and as the same window in noise. Usage: export.js --speech DIR --work DIR --seed N [--copies N]
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { mixAtSnr } from '../model/audio/mix.ts'
import { shifted, withTilt } from './augment.ts'
import { type Clip, readAudio, readCorpus } from './corpus.ts'
import { partial, placed, voiced } from './export-windows.ts'
import { createFeatureFile } from './features-file.ts'
import { type Label, RATE_HZ } from './labels.ts'
import { NOISE_KINDS, type NoiseKind } from './noise.ts'
import { createNoisePool, cut, type NoisePool } from './noise-pool.ts'
import { below, between, pick, type Random, seeded } from './random.ts'
import { synthesize, type Utterance } from './synthesize.ts'

const quietly = (samples: Float32Array, pool: NoisePool, random: Random): Float32Array =>
  random() < 0.5 ? mixAtSnr(samples, cut(pick(random, pool.room), random), between(random, 22, 50)) : samples

const main = async () => {
  const { values } = parseArgs({
    options: {
      speech: { type: 'string' },
      work: { type: 'string' },
      seed: { type: 'string', default: '1' },
      copies: { type: 'string', default: '24' },
    },
  })
  if (values.speech === undefined || values.work === undefined) throw new Error('--speech and --work are needed')
  const seed = Number(values.seed)
  const copies = Number(values.copies)
  const directory = join(values.work, 'features')
  mkdirSync(directory, { recursive: true })
  const clips = readCorpus(values.speech, seed)
  const utterances = await synthesize(join(values.work, 'synth'), seed)
  const counts: Record<string, number> = {}

  const test = createNoisePool(utterances, 'test', seed, 3, 10)
  counts.test = exportTest(directory, clips, test, seed)
  const pool = createNoisePool(utterances, 'train', seed, 14, 10)
  const training = clips.filter((clip) => !clip.heldOut)
  // Copies of `rec` repeat this order, so that a retraining can set some of the training speakers aside to choose by.
  writeFileSync(join(directory, 'rec-speakers.json'), JSON.stringify(training.map((clip) => clip.speaker)))
  const recorded = training.filter((clip) => clip.label === 'silence').map((clip) => clip.samples)
  const someNoise = (random: Random): Float32Array =>
    random() < 0.12 ? pick(random, recorded) : cut(pick(random, pool[pick(random, NOISE_KINDS)]), random)

  const words = utterances
    .filter((u) => u.split === 'train' && !u.sentence)
    .map((u) => ({ u, samples: readAudio(u.file) }))
  const sentences = utterances.filter((u) => u.split === 'train' && u.sentence).map((u) => readAudio(u.file))
  counts.syn = exportPairs(directory, 'syn', 3, seed, words, ({ u, samples }, random, quiet, noisy) => {
    const window = placed(voiced(samples, random), random)
    quiet(quietly(window, pool, random), u.label)
    noisy(mixAtSnr(window, someNoise(random), between(random, -5, 20)), u.label)
  })
  counts.wide = exportWide(directory, words, sentences, utterances, seed)
  counts.bg = exportBackground(directory, training, words, sentences, pool, seed)
  counts.rec = exportPairs(directory, 'rec', copies, seed, training, (clip, random, quiet, noisy, copy) => {
    if (clip.label === 'silence') {
      const turned = shifted(clip.samples, 0)
      turned.copyWithin(0, below(random, RATE_HZ >> 2))
      const window = copy === 0 ? clip.samples : random() < 0.4 ? withTilt(turned, random) : turned
      quiet(window, 'silence')
      noisy(mixAtSnr(window, someNoise(random), between(random, -15, 15)), 'silence')
      return
    }
    const window = copy === 0 ? clip.samples : placed(voiced(clip.samples, random), random)
    quiet(copy === 0 ? window : quietly(window, pool, random), clip.label)
    noisy(mixAtSnr(window, someNoise(random), between(random, -5, 20)), clip.label)
  })
  writeFileSync(join(directory, 'counts.json'), JSON.stringify({ seed, copies, ...counts }))
  console.log(JSON.stringify(counts))
}

type Emit = (samples: Float32Array, label: Label) => void

/** One pair of files, item by item inside each copy, so that a prefix of the file is a smaller but whole data set. */
const exportPairs = <T>(
  directory: string,
  name: string,
  copies: number,
  seed: number,
  items: readonly T[],
  make: (item: T, random: Random, quiet: Emit, noisy: Emit, copy: number) => void,
): number => {
  const quiet = createFeatureFile(directory, `${name}-quiet`)
  const noisy = createFeatureFile(directory, `${name}-noisy`)
  for (let copy = 0; copy < copies; copy += 1) {
    const random = seeded(seed, `${name}/${copy}`)
    for (const item of items) make(item, random, quiet.add, noisy.add, copy)
  }
  quiet.close()
  return noisy.close()
}

const exportBackground = (
  directory: string,
  training: readonly Clip[],
  words: readonly { readonly u: Utterance; readonly samples: Float32Array }[],
  sentences: readonly Float32Array[],
  pool: NoisePool,
  seed: number,
): number => {
  const spoken = training.filter((clip) => clip.label !== 'silence')
  const speech = (random: Random): Float32Array => {
    const kind = random()
    if (kind < 0.5) return partial(voiced(pick(random, spoken).samples, random), random)
    if (kind < 0.6) return partial(voiced(pick(random, words).samples, random), random)
    return cut(voiced(pick(random, sentences), random), random)
  }
  const random = seeded(seed, 'background')
  const quiet = createFeatureFile(directory, 'bg-quiet')
  for (let n = 0; n < 12_000; n += 1) {
    if (n % 3 === 0) {
      const room = cut(pick(random, pool.room), random)
      // From loud hiss down to a few steps of the converter, where normalisation meets rounding.
      const gain = 10 ** between(random, -4, 0)
      quiet.add(
        room.map((v) => Math.round(v * gain * 32_768) / 32_768),
        'silence',
      )
    } else quiet.add(quietly(withLength(speech(random)), pool, random), 'unknown')
  }
  quiet.close()
  const noisy = createFeatureFile(directory, 'bg-noisy')
  for (let n = 0; n < 24_000; n += 1) {
    const kind: NoiseKind = pick(random, NOISE_KINDS)
    const noise = cut(pick(random, pool[kind]), random)
    if (n % 2 === 0) noisy.add(noise, kind === 'babble' ? 'unknown' : 'silence')
    else noisy.add(mixAtSnr(withLength(speech(random)), noise, between(random, -5, 15)), 'unknown')
  }
  return noisy.close()
}

/** What a device hears that is no keyword, from far more noises than the words above are mixed with: false wakes come from
 *  sounds nobody thought of, so variety counts here and repetition does not. */
const exportWide = (
  directory: string,
  words: readonly { readonly u: Utterance; readonly samples: Float32Array }[],
  sentences: readonly Float32Array[],
  utterances: readonly Utterance[],
  seed: number,
): number => {
  const others = words.filter(({ u }) => u.label === 'unknown')
  const random = seeded(seed, 'wide')
  const talk = (): Float32Array =>
    random() < 0.7
      ? placed(voiced(pick(random, others).samples, random), random)
      : withLength(cut(voiced(pick(random, sentences), random), random))
  const quiet = createFeatureFile(directory, 'wide-quiet')
  const hush = createNoisePool(utterances, 'train', seed + 1_000, 4, 10)
  for (let n = 0; n < 10_000; n += 1) quiet.add(quietly(talk(), hush, random), 'unknown')
  quiet.close()
  const noisy = createFeatureFile(directory, 'wide-noisy')
  for (let round = 0; round < 12; round += 1) {
    // Pools are made and dropped one by one: all of them at once would need gigabytes.
    const pool = createNoisePool(utterances, 'train', seed + 2_000 + round, 5, 8)
    for (let n = 0; n < 2_500; n += 1) {
      const kind: NoiseKind = pick(random, NOISE_KINDS)
      const noise = cut(pick(random, pool[kind]), random)
      if (n % 2 === 0) noisy.add(noise, kind === 'babble' ? 'unknown' : 'silence')
      else noisy.add(mixAtSnr(talk(), noise, between(random, -5, 20)), 'unknown')
    }
  }
  return noisy.close()
}

const withLength = (samples: Float32Array): Float32Array =>
  samples.length === RATE_HZ ? samples : shifted(samples, Math.max(0, (RATE_HZ - samples.length) >> 1), RATE_HZ)

/** The held-out speakers, as recorded and at 0 dB in noises that were never trained on; for a look during training, the
 *  card's numbers come from evaluate.ts. */
const exportTest = (directory: string, clips: readonly Clip[], pool: NoisePool, seed: number): number => {
  const quiet = createFeatureFile(directory, 'test-quiet')
  const noisy = createFeatureFile(directory, 'test-noisy')
  const random = seeded(seed, 'test')
  for (const clip of clips.filter((c) => c.heldOut)) {
    quiet.add(clip.samples, clip.label)
    noisy.add(mixAtSnr(clip.samples, cut(pick(random, pool[pick(random, NOISE_KINDS)]), random), 0), clip.label)
  }
  quiet.close()
  return noisy.close()
}

await main()
