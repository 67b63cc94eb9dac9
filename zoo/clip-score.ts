// How a network answers single clips of the held-out speakers, as recorded and in noise: for cards and for comparing retrainings.
import { mixAtSnr } from '../model/audio/mix.ts'
import type { ClipScore } from './card.ts'
import type { Clip } from './corpus.ts'
import { LABELS, type Label } from './labels.ts'
import { classify, type Network } from './network.ts'
import { LOUD_KINDS } from './noise.ts'
import { cut, type NoisePool } from './noise-pool.ts'
import { pick, seeded } from './random.ts'

export type LabelledClip = { readonly label: Label; readonly samples: Float32Array }

/** A share rounded to four digits; 0 of nothing. */
export const share = (part: number, whole: number): number =>
  whole === 0 ? 0 : Math.round((part / whole) * 10_000) / 10_000

/** The held-out clips mixed with noise at 0 dB.
 *  @param draw 0 gives the noises of the cards, any other number others of the same pool */
export const clipsInNoise = (heldOut: readonly LabelledClip[], pool: NoisePool, seed: number, draw: number) => {
  const random = seeded(seed, draw === 0 ? 'test/0dB' : `test/0dB/${draw}`)
  return heldOut.map(
    ({ label, samples }): LabelledClip => ({
      label,
      samples: mixAtSnr(samples, cut(pick(random, pool[pick(random, LOUD_KINDS)]), random), 0),
    }),
  )
}

/** The clips every card is measured on: held-out speakers, as recorded and at 0 dB. */
export const testClips = (clips: readonly Clip[], pool: NoisePool, seed: number) => {
  const quiet = clips.filter((clip) => clip.heldOut)
  return { quiet, zeroDb: clipsInNoise(quiet, pool, seed, 0) }
}

/** Counts correct answers, by label. */
export const scoreClips = async (network: Network, clips: readonly LabelledClip[]): Promise<ClipScore> => {
  const perLabel: Record<string, { clips: number; correct: number }> = Object.fromEntries(
    LABELS.map((label) => [label, { clips: 0, correct: 0 }]),
  )
  let correct = 0
  for (const clip of clips) {
    const row = perLabel[clip.label]!
    row.clips += 1
    if ((await classify(network, clip.samples)) !== clip.label) continue
    row.correct += 1
    correct += 1
  }
  return { accuracy: share(correct, clips.length), clips: clips.length, perLabel }
}
