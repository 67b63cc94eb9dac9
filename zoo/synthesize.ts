import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { resample } from '../model/audio/resample.ts'
import { encodeWav, parseWav } from '../model/audio/wav.ts'
import { activeRange } from './augment.ts'
import { KEYWORDS, type Label, RATE_HZ } from './labels.ts'
import { below, between, hashText, pick, type Random, seeded, shuffled } from './random.ts'

/** Which networks may see an utterance: voices are split as speakers are, and the bank has its own. */
export type SynthSplit = 'train' | 'test' | 'bank'

export type Utterance = {
  readonly file: string
  readonly text: string
  /** A keyword, or `unknown` for everything else. */
  readonly label: Label
  readonly voice: string
  readonly speed: number
  readonly pitch: number
  readonly split: SynthSplit
  readonly sentence: boolean
}

const ACCENTS = [
  'en-us',
  'en-gb',
  'en-gb-scotland',
  'en-gb-x-gbclan',
  'en-gb-x-rp',
  'en-gb-x-gbcwmd',
  'en-029',
  'en-us-nyc',
]
/** Timbres of espeak-ng that sound like people; the whispering and robotic ones are left out. */
const VARIANTS = [
  ...['m1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8', 'f1', 'f2', 'f3'],
  ...['f4', 'f5', 'Alex', 'Alicia', 'Andrea', 'Andy', 'Annie', 'Denis', 'Diogo', 'Gene', 'Gene2'],
  ...['Henrique', 'Hugo', 'Jacky', 'Lee', 'Marco', 'Mario', 'Michael', 'Mike', 'Nguyen', 'Tweaky', 'adam'],
  ...['anika', 'announcer', 'antonio', 'aunty', 'belinda', 'benjamin', 'boris', 'caleb', 'david', 'ed', 'edward'],
  ...['edward2', 'gustave', 'iven', 'iven2', 'iven3', 'john', 'kaukovalta', 'klatt', 'klatt2', 'klatt3', 'klatt4'],
  ...['linda', 'marcelo', 'max', 'michel', 'miguel', 'norbert', 'pablo', 'paul', 'pedro', 'quincy', 'rob'],
  ...['robert', 'sandro', 'shelby', 'steph', 'steph2', 'steph3', 'travis', 'victor', 'zac'],
]

/** Words that must not wake: everyday ones, and neighbours in sound of the keywords. */
export const OTHER_WORDS = [
  ...[
    'bed',
    'bird',
    'cat',
    'dog',
    'happy',
    'house',
    'marvin',
    'sheila',
    'tree',
    'wow',
    'backward',
    'forward',
    'follow',
  ],
  ...[
    'learn',
    'visual',
    'zero',
    'one',
    'two',
    'three',
    'four',
    'five',
    'six',
    'seven',
    'eight',
    'nine',
    'water',
    'kitchen',
  ],
  ...[
    'table',
    'window',
    'coffee',
    'morning',
    'hello',
    'thanks',
    'please',
    'music',
    'light',
    'garden',
    'weather',
    'monday',
  ],
  ...[
    'gone',
    'row',
    'so',
    'toe',
    'low',
    'goat',
    'ghost',
    'know it',
    'nose',
    'note',
    'town',
    'brown',
    'gown',
    'noun',
    'out',
  ],
  ...[
    'cup',
    'pup',
    'app',
    'uncle',
    'us',
    'of',
    'often',
    'office',
    'cough',
    'soft',
    'awful',
    'aunt',
    'an',
    'own',
    'warm',
  ],
  ...['lift', 'laugh', 'let', 'less', 'felt', 'ride', 'write', 'rice', 'bright', 'wide', 'line', 'shop', 'top', 'step'],
  ...['spot', 'stuff', 'star', 'yet', 'guess', 'chess', 'yellow', 'year', 'best', 'open', 'close', 'later', 'again'],
]

/** Short sentences for babble and for streams of talk that should leave a device asleep. */
export const SENTENCES = [
  'the kettle is nearly boiling',
  'we took the early train to the coast',
  'my sister paints small wooden boats',
  'there was rain all through the night',
  'put the parcel beside the door',
  'they met a friend at the market',
  'a heavy lorry turned into our lane',
  'the baker sells bread before sunrise',
  'could you bring me another blanket',
  'her lesson begins at half past three',
  'he repaired the radio with a spoon',
  'those apples taste better in autumn',
  'children were playing behind the school',
  'this recipe needs butter and salt',
  'the museum closes early in winter',
  'our neighbours are building a fence',
  'a grey heron waited near the bridge',
  'please remember to feed the cat',
  'the meeting moved to another room',
  'she reads the paper every evening',
  'snow covered the fields by morning',
  'the old clock has lost a minute',
  'we should call the plumber tomorrow',
  'my bicycle has a broken bell',
]

const variantSplit = (variant: string): SynthSplit => {
  const share = hashText(`variant/${variant}`) / 2 ** 32
  return share < 0.12 ? 'test' : share < 0.3 ? 'bank' : 'train'
}

/** How often each keyword, other word and sentence is spoken, and by whose voices (all when left out). */
export type SynthPlan = {
  readonly keyword: number
  readonly other: number
  readonly sentence: number
  readonly split?: SynthSplit
}

const TRAINING_PLAN: SynthPlan = { keyword: 170, other: 18, sentence: 20 }

/** What is to be spoken, and by whom. */
export type Script = readonly Omit<Utterance, 'file'>[]

/** Texts that hold no keyword, each spoken by `each` voices of one side of the split.
 *  @param share of 0 and 1: only every second variant, so that material to choose by and material to report on share no voice */
export const negativeScript = (
  texts: readonly string[],
  sentence: boolean,
  each: number,
  split: SynthSplit,
  random: Random,
  share?: 0 | 1,
): Script => {
  const variants = VARIANTS.filter((variant) => variantSplit(variant) === split).filter(
    (_, n) => share === undefined || n % 2 === share,
  )
  return texts.flatMap((text) =>
    Array.from({ length: each }, () => spokenBy(random, variants, text, 'unknown', sentence)),
  )
}

const spokenBy = (
  random: Random,
  variants: readonly string[],
  text: string,
  label: Label,
  sentence: boolean,
): Omit<Utterance, 'file'> => {
  const variant = pick(random, variants)
  const speed = Math.round(between(random, 110, 230))
  const pitch = 15 + below(random, 75)
  const voice = `${pick(random, ACCENTS)}+${variant}`
  return { text, label, voice, speed, pitch, split: variantSplit(variant), sentence }
}

const plan = (random: Random, counts: SynthPlan): Script => {
  const variants = VARIANTS.filter((variant) => counts.split === undefined || variantSplit(variant) === counts.split)
  const out: Omit<Utterance, 'file'>[] = []
  const say = (text: string, label: Label, sentence: boolean) => {
    out.push(spokenBy(random, variants, text, label, sentence))
  }
  for (const word of KEYWORDS) for (let n = 0; n < counts.keyword; n += 1) say(word, word, false)
  for (const word of OTHER_WORDS) for (let n = 0; n < counts.other; n += 1) say(word, 'unknown', false)
  for (const text of SENTENCES) for (let n = 0; n < counts.sentence; n += 1) say(text, 'unknown', true)
  return shuffled(random, out)
}

/** Speaks the plan with espeak-ng into `directory`, trimmed, 16 kHz; does nothing when its manifest is already there.
 *  @returns the utterances, in an order that depends on the seed alone
 *  @throws Error when espeak-ng is missing */
export const synthesize = (
  directory: string,
  seed: number,
  counts: SynthPlan = TRAINING_PLAN,
): Promise<readonly Utterance[]> => speak(directory, () => plan(seeded(seed, 'synthesize'), counts))

/** Speaks a script into `directory`, as `synthesize` does. */
export const speak = async (directory: string, script: () => Script): Promise<readonly Utterance[]> => {
  const manifest = join(directory, 'manifest.json')
  if (existsSync(manifest)) return JSON.parse(readFileSync(manifest, 'utf8')) as Utterance[]
  mkdirSync(directory, { recursive: true })
  const run = promisify(execFile)
  const wanted = script()
  const done = new Array<Utterance | undefined>(wanted.length)
  const sayOne = async (index: number) => {
    const item = wanted[index]!
    const args = ['-v', item.voice, '-s', String(item.speed), '-p', String(item.pitch), '--stdout', item.text]
    const { stdout } = await run('espeak-ng', args, { encoding: 'buffer', maxBuffer: 1 << 24 })
    // espeak-ng cannot know the length when it writes to a pipe, so its header overstates the data.
    const wav = parseWav(stdout, { acceptTruncated: true })
    if (!wav.ok) return
    const samples = resample(wav.value.samples, wav.value.sampleRateHz, RATE_HZ)
    const { from, to } = activeRange(samples)
    const file = join(directory, `${index}.wav`)
    writeFileSync(file, encodeWav(samples.subarray(from, to), RATE_HZ))
    done[index] = { ...item, file }
  }
  let next = 0
  const worker = async () => {
    while (next < wanted.length) {
      const index = next
      next += 1
      await sayOne(index)
    }
  }
  await Promise.all([worker(), worker(), worker()])
  const utterances = done.filter((u): u is Utterance => u !== undefined)
  writeFileSync(manifest, JSON.stringify(utterances))
  return utterances
}
