// Builds zoo/bank: utterances and noises for the fleet's scenes, committed because the sandbox that runs them has neither
// espeak-ng nor recordings. Voices of the bank are neither trained on nor measured with. An utterance is kept when the verifier
// understands it in quiet: a synthesiser's slurred word would be a false rejection by design. Of each kind of noise the pieces
// that trouble kws-1 most are kept, because a field that surprises the first model is what the scenes are about; no other
// network has a say in the choice.
// Usage: bank.js --work DIR --zoo DIR [--seed N]
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { encodeWav } from '../model/audio/wav.ts'
import { shifted } from './augment.ts'
import type { Metadata } from './card.ts'
import { readAudio } from './corpus.ts'
import { KEYWORDS, RATE_HZ } from './labels.ts'
import { classify, detect, openNetwork, WAKE_POLICY } from './network.ts'
import { makeNoise, NOISE_KINDS } from './noise.ts'
import { seeded } from './random.ts'
import { synthesize } from './synthesize.ts'

const PER_KEYWORD = 7
const OTHER_WORDS_MAX = 48
const SENTENCES_MAX = 10
/** Pieces of each kind of noise and their length; with the words below 5 MB. */
const NOISE_PIECES = 2
const NOISE_SECONDS = 4

/** Candidates of each kind, and how long each is played to kws-1 in a loop; beyond `WAKES_MAX` wakes in that time a piece is
 *  no scene but a siren. */
const NOISE_CANDIDATES = 32
const LOOP_SECONDS = 24
const WAKES_MAX = 14

const { values } = parseArgs({
  options: { work: { type: 'string' }, zoo: { type: 'string' }, seed: { type: 'string', default: '1' } },
})
if (values.work === undefined || values.zoo === undefined) throw new Error('--work and --zoo are needed')
const { work, zoo } = values
const seed = Number(values.seed)
const metadata = JSON.parse(readFileSync(join(zoo, 'models', 'verifier.json'), 'utf8')) as Metadata
const verifier = await openNetwork(join(zoo, 'models', 'verifier.onnx'), metadata.input)
const first = await openNetwork(join(zoo, 'models', 'kws-1.onnx'), metadata.input)
const candidates = { keyword: 40, other: 3, sentence: 3, split: 'bank' } as const
const utterances = await synthesize(join(work, 'synth-bank'), seed, candidates)
const bank = join(zoo, 'bank')
rmSync(bank, { recursive: true, force: true })
const total = { bytes: 0 }
const save = (folder: string, name: string, samples: Float32Array) => {
  mkdirSync(join(bank, folder), { recursive: true })
  let peak = 1e-9
  for (const sample of samples) peak = Math.max(peak, Math.abs(sample))
  const bytes = encodeWav(
    samples.map((v) => (v * 0.5) / peak),
    RATE_HZ,
  )
  writeFileSync(join(bank, folder, `${name}.wav`), bytes)
  total.bytes += bytes.length
}
const slug = (text: string) => text.replaceAll(' ', '-')
const inSecond = (samples: Float32Array) => shifted(samples, Math.max(0, (RATE_HZ - samples.length) >> 1), RATE_HZ)

const troubles: Record<string, number> = {}
const understood = { tried: 0, kept: 0, byFirst: 0 }
for (const keyword of KEYWORDS) {
  let kept = 0
  for (const utterance of utterances.filter((u) => u.label === keyword)) {
    if (kept === PER_KEYWORD) break
    const samples = readAudio(utterance.file)
    if (samples.length > RATE_HZ) continue
    understood.tried += 1
    if ((await classify(verifier, inSecond(samples))) !== keyword) continue
    if ((await classify(first, inSecond(samples))) === keyword) understood.byFirst += 1
    kept += 1
    understood.kept += 1
    save(join('keyword', keyword), `${keyword}-${kept}`, samples)
  }
}
const texts = new Set<string>()
for (const utterance of utterances.filter((u) => u.label === 'unknown' && !u.sentence)) {
  if (texts.size === OTHER_WORDS_MAX) break
  const samples = readAudio(utterance.file)
  if (samples.length > RATE_HZ || texts.has(utterance.text)) continue
  if (KEYWORDS.includes(await classify(verifier, inSecond(samples)))) continue
  texts.add(utterance.text)
  save('other', slug(utterance.text), samples)
}
const spoken = new Set<string>()
for (const utterance of utterances.filter((u) => u.sentence)) {
  if (spoken.size === SENTENCES_MAX) break
  if (spoken.has(utterance.text)) continue
  spoken.add(utterance.text)
  save('other', slug(utterance.text), readAudio(utterance.file))
}
const voices = utterances.filter((u) => u.sentence).map((u) => readAudio(u.file))
for (const kind of NOISE_KINDS) {
  const candidates: { readonly noise: Float32Array; readonly wakes: number }[] = []
  for (let n = 1; n <= NOISE_CANDIDATES; n += 1) {
    const noise = makeNoise(kind, NOISE_SECONDS, seeded(seed, `noise/bank/${kind}/${n}`), voices)
    const looped = Float32Array.from({ length: LOOP_SECONDS * RATE_HZ }, (_, i) => noise[i % noise.length]!)
    candidates.push({ noise, wakes: (await detect(first, looped, WAKE_POLICY)).length })
  }
  const bearable = candidates.filter(({ wakes }) => wakes <= WAKES_MAX)
  const chosen = bearable.sort((a, b) => b.wakes - a.wakes).slice(0, NOISE_PIECES)
  chosen.forEach(({ noise, wakes }, n) => {
    save(join('noise', kind), `${kind}-${n + 1}`, noise)
    troubles[`${kind}-${n + 1}`] = wakes
  })
}
console.log(
  JSON.stringify({ ...understood, troubles, otherWords: texts.size, sentences: spoken.size, bytes: total.bytes }),
)
