// Measures every network of zoo/models and writes its card: zoo/cards/<name>.md and .json. Nothing in a card is typed by hand.
// Usage: evaluate.js --speech DIR --work DIR --zoo DIR [--seed N] [--minutes N] [--only NAME]
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { type Card, type Metadata, renderCard, type StreamScore, sha256 } from './card.ts'
import { scoreClips, share, testClips } from './clip-score.ts'
import { type Clip, hashFiles, readAudio, readCorpus } from './corpus.ts'
import { KEYWORDS, type Label, RATE_HZ } from './labels.ts'
import { detect, type Network, openNetwork, type WakePolicy, wakePolicyOf } from './network.ts'
import { LOUD_KINDS, type NoiseKind } from './noise.ts'
import { createNoisePool, type NoisePool } from './noise-pool.ts'
import { seeded } from './random.ts'
import { createStream, type Stream, trimmed, type Word } from './streams.ts'
import { synthesize, type Utterance } from './synthesize.ts'

/** A wake counts for the word when it names it and comes between its first sample and 1.2 s after its last: the window is
 *  a second long and three of them are averaged. Every other wake is false. */
const LATE_SECONDS = 1.2

const scoreStream = async (network: Network, policy: WakePolicy, stream: Stream): Promise<StreamScore> => {
  const perKeyword: Record<string, { said: number; detected: number }> = {}
  const heard = new Set<number>()
  let falseWakes = 0
  for (const wake of await detect(network, stream.samples, policy)) {
    const index = stream.said.findIndex(
      (s) => s.label === wake.label && wake.atSeconds >= s.fromSeconds && wake.atSeconds <= s.toSeconds + LATE_SECONDS,
    )
    if (index < 0 || heard.has(index)) falseWakes += 1
    else heard.add(index)
  }
  stream.said.forEach(({ label }, index) => {
    if (label === 'unknown') return
    perKeyword[label] ??= { said: 0, detected: 0 }
    const row = perKeyword[label]
    row.said += 1
    if (heard.has(index)) row.detected += 1
  })
  const said = Object.values(perKeyword).reduce((sum, row) => sum + row.said, 0)
  const minutes = stream.samples.length / RATE_HZ / 60
  return {
    minutes,
    said,
    detected: share(heard.size, said),
    perKeyword,
    falseWakes,
    falseWakesPerHour: Math.round((falseWakes / minutes) * 60 * 10) / 10,
  }
}

/** The streams every network hears: the same seed, so that their numbers compare. */
const buildStreams = (
  clips: readonly Clip[],
  utterances: readonly Utterance[],
  pool: NoisePool,
  seed: number,
  minutes: number,
): Record<string, Stream> => {
  const heldOut = clips.filter((clip) => clip.heldOut && clip.label !== 'silence')
  const words = (keep: (label: Label) => boolean): Word[] =>
    heldOut.filter((clip) => keep(clip.label)).map((clip) => ({ label: clip.label, samples: trimmed(clip.samples) }))
  const keywords = words((label) => KEYWORDS.includes(label))
  const others = [
    ...words((label) => label === 'unknown'),
    ...utterances
      .filter((u) => u.split === 'test' && u.label === 'unknown')
      .map((u): Word => ({ label: 'unknown', samples: readAudio(u.file) })),
  ]
  const make = (name: string, list: readonly Word[], kinds: readonly NoiseKind[], snrDb: number) =>
    createStream(minutes * 60, list, pool, kinds, snrDb, seeded(seed, `stream/${name}`))
  return {
    'keywords, quiet': make('keywords', keywords, ['room'], 40),
    'keywords, 10 dB': make('keywords', keywords, LOUD_KINDS, 10),
    'keywords, 0 dB': make('keywords', keywords, LOUD_KINDS, 0),
    'other words, quiet': make('others', others, ['room'], 40),
    'other words, 0 dB': make('others', others, LOUD_KINDS, 0),
    'no words, quiet room': make('nothing', [], ['room'], 40),
    'no words, noise': make(
      'nothing',
      [],
      LOUD_KINDS.filter((kind) => kind !== 'babble'),
      0,
    ),
    'no words, babble': make('nothing', [], ['babble'], 0),
    'noisy home, 3 dB': make('home', [...others, ...keywords], ['babble', 'fan', 'street'], 3),
  }
}

/** What a former card of the very same file says of its float twin, which is not kept. */
const formerTwin = (card: string, network: string): Card['floatTwin'] => {
  if (!existsSync(card)) return undefined
  const former = JSON.parse(readFileSync(card, 'utf8')) as Card
  return former.sha256 === sha256(readFileSync(network)) ? former.floatTwin : undefined
}

const main = async () => {
  const { values } = parseArgs({
    options: {
      speech: { type: 'string' },
      work: { type: 'string' },
      zoo: { type: 'string' },
      seed: { type: 'string', default: '1' },
      minutes: { type: 'string', default: '30' },
      only: { type: 'string' },
    },
  })
  const { speech, work, zoo } = values
  if (speech === undefined || work === undefined || zoo === undefined)
    throw new Error('--speech, --work and --zoo are needed')
  const seed = Number(values.seed)
  const clips = readCorpus(speech, seed)
  const utterances = await synthesize(join(work, 'synth'), seed)
  const pool = createNoisePool(utterances, 'test', seed, 6, 10)
  const test = testClips(clips, pool, seed)
  const streams = buildStreams(clips, utterances, pool, seed, Number(values.minutes))
  const sources = (folder: string) =>
    readdirSync(folder)
      .filter((name) => /\.(ts|py|sh)$/.test(name))
      .map((name) => ({ name, path: join(folder, name) }))
  const provenance = {
    seed,
    dataSha256: hashFiles(clips.map((clip) => ({ name: relative(speech, clip.file), path: clip.file }))),
    scriptSha256: hashFiles(sources(zoo)),
    trainingClips: clips.length - test.quiet.length,
    trainingSpeakers: new Set(clips.filter((clip) => !clip.heldOut).map((clip) => clip.speaker)).size,
    heldOutClips: test.quiet.length,
    heldOutSpeakers: new Set(test.quiet.map((clip) => clip.speaker)).size,
    synthesisedUtterances: utterances.filter((u) => u.split === 'train').length,
  }
  mkdirSync(join(zoo, 'cards'), { recursive: true })
  const names = readdirSync(join(zoo, 'models'))
    .filter((name) => name.endsWith('.onnx'))
    .map((name) => basename(name, '.onnx'))
    .filter((name) => values.only === undefined || name === values.only)
  for (const name of names) {
    const path = join(zoo, 'models', `${name}.onnx`)
    const metadata = JSON.parse(readFileSync(join(zoo, 'models', `${name}.json`), 'utf8')) as Metadata
    const network = await openNetwork(path, metadata.input)
    const twinPath = join(work, 'float', `${name}.onnx`)
    const twin = existsSync(twinPath) ? await openNetwork(twinPath, metadata.input) : undefined
    const policy = wakePolicyOf(name, join(zoo, 'bundles'))
    const scoreTwin = async (network: Network) => ({
      quiet: (await scoreClips(network, test.quiet)).accuracy,
      zeroDb: (await scoreClips(network, test.zeroDb)).accuracy,
    })
    const heard: Record<string, StreamScore> = {}
    for (const [stream, content] of Object.entries(streams)) heard[stream] = await scoreStream(network, policy, content)
    const card: Card = {
      name,
      bytes: statSync(path).size,
      sha256: sha256(readFileSync(path)),
      metadata,
      provenance,
      wakePolicy: policy,
      clips: { quiet: await scoreClips(network, test.quiet), zeroDb: await scoreClips(network, test.zeroDb) },
      ...((floatTwin) => (floatTwin === undefined ? {} : { floatTwin }))(
        twin === undefined ? formerTwin(join(zoo, 'cards', `${name}.json`), path) : await scoreTwin(twin),
      ),
      streams: heard,
    }
    writeFileSync(join(zoo, 'cards', `${name}.json`), `${JSON.stringify(card, null, 1)}\n`)
    writeFileSync(join(zoo, 'cards', `${name}.md`), renderCard(card))
    const brief = Object.entries(heard).map(
      ([k, s]) => `${k}: ${s.said > 0 ? `${s.detected} ` : ''}${s.falseWakesPerHour}/h`,
    )
    console.log(
      name,
      card.clips.quiet.accuracy,
      card.clips.zeroDb.accuracy,
      JSON.stringify(card.floatTwin),
      brief.join('; '),
    )
  }
}

await main()
