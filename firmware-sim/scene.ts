import { present } from '../contract/present.ts'
import type { SeededRandom } from '../contract/random.ts'
import { BANK_RATE_HZ, type SoundBank } from './sound-bank.ts'
import { type SensedTake, type Senses, TAKE_MS, type TakeSource } from './take.ts'

/** Sound around a device. */
const TAKE_SAMPLES = (TAKE_MS / 1000) * BANK_RATE_HZ

/** Extra sound before a take, so that its first window is a full one: as long as the longest feature window. */
export const LEAD_SAMPLES = BANK_RATE_HZ

/** How loud it is and what is heard. */
export interface Ambience {
  /** noises that are always there, by kind */
  readonly steady: readonly string[]
  readonly steadyDbfs: number
  /** noises that come and go (voices, clatter, traffic), by kind */
  readonly bursts: readonly string[]
  readonly burstsPerHour: number
  readonly burstDbfs: number
  /** other words and sentences an hour, spoken near the device */
  readonly speechPerHour: number
  /** keywords an hour, meant for the device */
  readonly keywordsPerHour: number
  /** level of speech */
  readonly speechDbfs: number
}

/** One place, before and after its noise floor rises. */
export interface Scene {
  readonly name: string
  readonly calm: Ambience
  readonly raised: Ambience
}

export type TakeKind = 'steady' | 'burst' | 'speech' | 'keyword'

/** Ten seconds of a scene, named by what determines it: equal takes sound equal, bit for bit. */
export interface Take extends SensedTake {
  readonly scene: string
  readonly raised: boolean
  readonly kind: TakeKind
  /** which of the scene's variants: decides clip, noise, position and gain */
  readonly variant: number
}

export const takeKey = ({ scene, raised, kind, variant, expected }: Take): string =>
  `${scene}/${raised ? 'raised' : 'calm'}/${kind}/${variant}/${expected ?? ''}`

/** Distinct takes of a kind in one ambience. Devices of a scene draw from the same ones, each by its own chance: what is common to them is how
 *  often these takes happen to wake a model, a tenth or less of speech. Chosen: with 48 of speech the calm fleet's rate under kws-1 was between 0.54 and 1.17
 *  an hour in three seeds, with 96 between 0.72 and 0.96, with 192 between 0.90 and 1.00; each doubling is as much inference again. */
const VARIANTS: Readonly<Record<TakeKind, number>> = { steady: 12, burst: 40, speech: 96, keyword: 4 }

const gainOf = (dbfs: number): number => 10 ** (dbfs / 20)

function rmsOf(samples: Float32Array): number {
  let sum = 0
  for (const sample of samples) sum += sample * sample
  return Math.sqrt(sum / Math.max(1, samples.length)) || 1
}

/** Adds a looped noise, scaled to a level, from a random point on. */
function addLoop(
  out: Float32Array,
  noise: Float32Array,
  dbfs: number,
  from: number,
  length: number,
  random: SeededRandom,
): void {
  const gain = gainOf(dbfs) / rmsOf(noise)
  const start = Math.floor(random.next() * noise.length)
  // A tenth of a second of fade keeps a burst's edge from being a click.
  const fade = Math.min(BANK_RATE_HZ / 10, length / 4)
  for (let i = 0; i < length && from + i < out.length; i++) {
    const edge = length >= out.length ? 1 : Math.min(1, i / fade, (length - i) / fade)
    out[from + i] = out[from + i]! + gain * edge * noise[(start + i) % noise.length]!
  }
}

const pick = <T>(items: readonly T[], random: SeededRandom): T => items[Math.floor(random.next() * items.length)]!

/** Makes the sound of a take: `LEAD_SAMPLES` of lead-in, then the take itself, clipped to [-1, 1). */
export function renderTake(take: Take, ambience: Ambience, bank: SoundBank, random: SeededRandom): Float32Array {
  const own = random.fork(takeKey(take))
  const out = new Float32Array(LEAD_SAMPLES + TAKE_SAMPLES)
  const noiseOf = (kind: string) => {
    const clips = bank.noises.get(kind)
    if (clips === undefined) throw new Error(`the sound bank has no noise "${kind}"`)
    return pick(clips, own)
  }
  for (const kind of ambience.steady) {
    addLoop(out, noiseOf(kind), ambience.steadyDbfs + 2 * (own.next() - 0.5), 0, out.length, own)
  }
  if (take.kind === 'burst') {
    const seconds = 2 + 6 * own.next()
    const from = LEAD_SAMPLES + Math.floor(own.next() * (TAKE_SAMPLES - seconds * BANK_RATE_HZ))
    const level = ambience.burstDbfs + 8 * (own.next() - 0.5)
    addLoop(out, noiseOf(pick(ambience.bursts, own)), level, from, Math.floor(seconds * BANK_RATE_HZ), own)
  }
  if (take.kind === 'speech' || take.kind === 'keyword') {
    const clips = take.kind === 'keyword' ? bank.keywords.get(take.expected ?? '') : bank.other
    if (clips === undefined) throw new Error(`the sound bank has no keyword "${take.expected}"`)
    const clip = pick(clips, own)
    const gain = gainOf(ambience.speechDbfs + 6 * (own.next() - 0.5)) / rmsOf(clip)
    const from = LEAD_SAMPLES + Math.floor(own.next() * Math.max(1, TAKE_SAMPLES - clip.length - BANK_RATE_HZ))
    for (let i = 0; i < clip.length && from + i < out.length; i++) out[from + i] = out[from + i]! + gain * clip[i]!
  }
  for (let i = 0; i < out.length; i++) out[i] = Math.max(-1, Math.min(0.999, out[i]!))
  return out
}

/** The takes of one ambience, made once: devices draw from them millions of times, and what was heard is remembered by identity. */
export interface TakePool {
  readonly ambience: Ambience
  readonly steady: readonly Take[]
  readonly burst: readonly Take[]
  readonly speech: readonly Take[]
  readonly keyword: readonly Take[]
}

/** @param keywords what the bank can say */
export function takePool(scene: Scene, raised: boolean, keywords: readonly string[]): TakePool {
  const base = { scene: scene.name, raised }
  const takes = (kind: TakeKind, keyword?: string) =>
    Array.from(
      { length: VARIANTS[kind] },
      (_, variant): Take => ({ ...base, kind, variant, ...(keyword !== undefined && { expected: keyword }) }),
    )
  return {
    ambience: raised ? scene.raised : scene.calm,
    steady: takes('steady'),
    burst: takes('burst'),
    speech: takes('speech'),
    keyword: keywords.flatMap((keyword) => takes('keyword', keyword)),
  }
}

/** Draws the take a device hears next. Arrivals of bursts, speech and keywords are independent per take.
 *  @param activity how busy it is now, 0 (night) to about 1.5 */
export function drawTake(pool: TakePool, activity: number, random: SeededRandom): Take {
  const { keywordsPerHour, speechPerHour, burstsPerHour } = pool.ambience
  const takesPerHour = 3_600_000 / TAKE_MS
  const u = (random.next() * takesPerHour) / activity
  if (u < keywordsPerHour) return pick(pool.keyword, random)
  if (u < keywordsPerHour + speechPerHour) return pick(pool.speech, random)
  if (u < keywordsPerHour + speechPerHour + burstsPerHour) return pick(pool.burst, random)
  return pick(pool.steady, random)
}

const calm: Ambience = {
  steady: ['room'],
  steadyDbfs: -62,
  bursts: ['babble', 'pink'],
  burstsPerHour: 8,
  burstDbfs: -42,
  speechPerHour: 20,
  keywordsPerHour: 3,
  speechDbfs: -26,
}

const raised: Ambience = {
  ...calm,
  steady: ['pink'],
  steadyDbfs: -36,
  // Mostly voices and moving air; one in eight is a machine's hum.
  bursts: ['babble', 'babble', 'babble', 'fan', 'pink', 'pink', 'pink', 'hum'],
  burstsPerHour: 20,
  burstDbfs: -23,
  speechPerHour: 30,
}

/** The places of the fleet. `raised` is what the story turns on: the floor 20 dB above the calm one, more voices, and a hum that was
 *  not there before — as when a building gets an air conditioner and its windows are left open. */
export const SCENES: readonly Scene[] = [
  { name: 'office', calm, raised },
  {
    name: 'kitchen',
    calm: { ...calm, steadyDbfs: -58 },
    raised: { ...raised, bursts: ['babble', 'fan', 'fan', 'pink', 'pink', 'pink', 'pink', 'hum'] },
  },
  {
    name: 'street',
    calm: { ...calm, steady: ['pink'], steadyDbfs: -58, burstsPerHour: 12 },
    raised: { ...raised, steadyDbfs: -35, burstsPerHour: 25 },
  },
  {
    name: 'workshop',
    calm: { ...calm, steadyDbfs: -60, speechPerHour: 12 },
    raised: {
      ...raised,
      speechPerHour: 20,
      burstsPerHour: 25,
      bursts: ['babble', 'fan', 'fan', 'fan', 'pink', 'pink', 'pink', 'hum'],
    },
  },
]

export const sceneNamed = (name: string): Scene | undefined => SCENES.find((scene) => scene.name === name)

/** The pools of all scenes, for `soundTakes`. */
export function scenePools(
  keywords: readonly string[],
): (scene: { readonly name: string }) => readonly [calm: TakePool, raised: TakePool] {
  const pools = new Map(
    SCENES.map((scene) => [scene.name, [takePool(scene, false, keywords), takePool(scene, true, keywords)] as const]),
  )
  return ({ name }) => present(pools.get(name), `the scene ${name}`)
}

/** Makes the sound of takes. @param random seeds their clips, positions and noises */
export const soundSenses = (bank: SoundBank, random: SeededRandom): Senses<Take> => ({
  valuesPerSecond: BANK_RATE_HZ,
  leadValues: LEAD_SAMPLES,
  render(take) {
    const scene = present(sceneNamed(take.scene), `the scene ${take.scene}`)
    return renderTake(take, take.raised ? scene.raised : scene.calm, bank, random)
  },
})

const HOUR_MS = 3_600_000

/** Share of the day's activity at an hour of the day, mean about 1: quiet nights, busy afternoons. */
const diurnal = (wallMs: number): number => 1 - 0.2 * Math.cos((2 * Math.PI * (wallMs - 3 * HOUR_MS)) / (24 * HOUR_MS))

/** What a device hears in a scene, at its hours.
 *  @param pools takes of each scene, calm and raised, made once for the fleet
 *  @param raisedShare share of the field whose noise floor is raised now, 0 to 1 */
export const soundTakes =
  (
    pools: (scene: { readonly name: string }) => readonly [calm: TakePool, raised: TakePool],
    raisedShare: () => number,
  ) =>
  ({ scene, busyness }: { readonly scene: { readonly name: string }; readonly busyness: number }): TakeSource<Take> => {
    const [calm, raised] = pools(scene)
    return {
      draw(nowMs, random) {
        const share = raisedShare()
        const pool = share > 0 && random.next() < share ? raised : calm
        return drawTake(pool, diurnal(nowMs) * busyness, random)
      },
    }
  }
