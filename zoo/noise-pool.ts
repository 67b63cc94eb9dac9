import { readAudio } from './corpus.ts'
import { RATE_HZ } from './labels.ts'
import { makeNoise, NOISE_KINDS, type NoiseKind } from './noise.ts'
import { below, seeded } from './random.ts'
import type { SynthSplit, Utterance } from './synthesize.ts'

/** Noises of every kind, made once and cut from many times. */
export type NoisePool = Readonly<Record<NoiseKind, readonly Float32Array[]>>

/** @param split names the voices that babble and is part of the seed, so that no noise is both trained on and measured on
 *  @param each pieces of each kind, `seconds` long */
export const createNoisePool = (
  utterances: readonly Utterance[],
  split: SynthSplit,
  seed: number,
  each: number,
  seconds: number,
): NoisePool => {
  const voices = utterances.filter((u) => u.split === split && u.sentence).map((u) => readAudio(u.file))
  const make = (kind: NoiseKind) =>
    Array.from({ length: each }, (_, n) =>
      makeNoise(kind, seconds, seeded(seed, `noise/${split}/${kind}/${n}`), voices),
    )
  return Object.fromEntries(NOISE_KINDS.map((kind) => [kind, make(kind)])) as Record<NoiseKind, Float32Array[]>
}

/** One second (or `length` samples) from anywhere in a piece. */
export const cut = (piece: Float32Array, random: () => number, length: number = RATE_HZ): Float32Array => {
  const start = below(random, Math.max(1, piece.length - length))
  return piece.slice(start, start + length)
}
