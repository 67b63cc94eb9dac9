/** A source of numbers in [0, 1); always passed in, never global. */
export type Random = () => number

/** FNV-1a, 32 bits: turns names into seeds, so that adding one stream of randomness disturbs no other. */
export const hashText = (text: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** A seeded generator (sfc32) for one named purpose. Not for secrets.
 *  @param seed the seed of the whole run
 *  @param purpose names the stream; equal seed and purpose give equal numbers
 *  @see C. Doty-Humphrey, PractRand, "small fast counting" */
export const seeded = (seed: number, purpose: string): Random => {
  const state = new Uint32Array([seed >>> 0, hashText(purpose), hashText(`${purpose}#${seed}`), 1])
  const next = () => {
    const sum = state[0]! + state[1]! + state[3]!
    state[3]! += 1
    state[0] = state[1]! ^ (state[1]! >>> 9)
    state[1] = state[2]! + (state[2]! << 3)
    state[2] = ((state[2]! << 21) | (state[2]! >>> 11)) + sum
    return (sum >>> 0) / 2 ** 32
  }
  // The first outputs of similar seeds are alike.
  for (let i = 0; i < 16; i += 1) next()
  return next
}

/** Uniform in [low, high). */
export const between = (random: Random, low: number, high: number): number => low + (high - low) * random()

/** Uniform integer in [0, count). */
export const below = (random: Random, count: number): number => Math.min(count - 1, Math.floor(random() * count))

/** One element of a list that is not empty. */
export const pick = <T>(random: Random, list: readonly T[]): T => list[below(random, list.length)]!

/** Standard normal, by the sum of twelve uniforms: bounded tails are welcome in audio. */
export const normal = (random: Random): number => {
  let sum = -6
  for (let i = 0; i < 12; i += 1) sum += random()
  return sum
}

/** A shuffled copy (Fisher and Yates). */
export const shuffled = <T>(random: Random, list: readonly T[]): T[] => {
  const out = list.slice()
  for (let i = out.length - 1; i > 0; i -= 1) {
    const j = below(random, i + 1)
    const value = out[i]!
    out[i] = out[j]!
    out[j] = value
  }
  return out
}
