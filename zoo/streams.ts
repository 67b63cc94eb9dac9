import { meanPower } from '../model/audio/mix.ts'
import { activeRange } from './augment.ts'
import { type Label, RATE_HZ } from './labels.ts'
import type { NoiseKind } from './noise.ts'
import type { NoisePool } from './noise-pool.ts'
import { below, between, pick, type Random } from './random.ts'

/** A word that a stream may be built of, cut to its active part. */
export type Word = { readonly label: Label; readonly samples: Float32Array }

/** Minutes of audio with a known truth. */
export type Stream = {
  readonly samples: Float32Array
  readonly said: readonly { readonly label: Label; readonly fromSeconds: number; readonly toSeconds: number }[]
}

/** The spoken part of a clip. */
export const trimmed = (samples: Float32Array): Float32Array => {
  const { from, to } = activeRange(samples)
  return samples.slice(from, to)
}

/** Pieces of noise one after another, faded into each other, at a fixed mean power.
 *  @param next the piece that comes next; none may be shorter than a fifth of a second */
export const bed = (length: number, next: () => Float32Array, rms: number): Float32Array => {
  const out = new Float32Array(length)
  const fade = RATE_HZ / 10
  for (let at = 0; at < out.length; ) {
    const piece = next()
    const gain = rms / Math.sqrt(meanPower(piece) + 1e-12)
    for (let i = 0; i < piece.length && at + i < out.length; i += 1) {
      const edge = Math.min(1, i / fade, (piece.length - i) / fade)
      out[at + i]! += gain * edge * piece[i]!
    }
    at += piece.length - fade
  }
  return out
}

/** Mean level of a word in a stream: about -23 dB of full scale. */
export const WORD_RMS = 0.07

/** Builds a stream: a bed of noise, and words on it at irregular times.
 *  @param words drawn at random; none makes a stream of noise alone
 *  @param snrDb mean power of each word against that of the bed; the words have about -23 dB of full scale */
export const createStream = (
  seconds: number,
  words: readonly Word[],
  pool: NoisePool,
  kinds: readonly NoiseKind[],
  snrDb: number,
  random: Random,
): Stream => {
  const level = WORD_RMS
  const next = () => pick(random, pool[pick(random, kinds)])
  const samples = bed(seconds * RATE_HZ, next, level * 10 ** (-snrDb / 20))
  const said: { label: Label; fromSeconds: number; toSeconds: number }[] = []
  if (words.length === 0) return { samples, said }
  for (let at = RATE_HZ + below(random, RATE_HZ); at < samples.length; ) {
    const word = pick(random, words)
    if (at + word.samples.length + RATE_HZ > samples.length) break
    const gain = level / Math.sqrt(meanPower(word.samples) + 1e-12)
    for (let i = 0; i < word.samples.length; i += 1) samples[at + i]! += gain * word.samples[i]!
    said.push({ label: word.label, fromSeconds: at / RATE_HZ, toSeconds: (at + word.samples.length) / RATE_HZ })
    at += word.samples.length + Math.floor(between(random, 1.1, 2.6) * RATE_HZ)
  }
  return { samples, said }
}
