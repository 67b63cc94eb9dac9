/** Seeded randomness for simulation, jitter and sampling. Never for keys. */
export interface SeededRandom {
  /** uniform in [0, 1) */
  next(): number
  /** an independent stream that depends only on this stream's seed and the label: adding one disturbs no other */
  fork(label: string): SeededRandom
}

/** Randomness for keys, nonces and ids. */
export interface SecureRandom {
  bytes(length: number): Uint8Array
}

/** FNV-1a over UTF-16 code units, 32 bits: spreads labels into seeds, no security meant. */
function hashLabel(label: string, seed: number): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0
  for (let i = 0; i < label.length; i++) hash = Math.imul(hash ^ label.charCodeAt(i), 0x01000193) >>> 0
  return hash
}

/** xoshiro128** seeded through splitmix32.
 *  @see D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", 2018
 */
export function seededRandom(seed: number): SeededRandom {
  let mix = seed >>> 0
  const split = (): number => {
    mix = (mix + 0x9e3779b9) >>> 0
    let z = mix
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
  let a = split()
  let b = split()
  let c = split()
  let d = split()
  const rotl = (x: number, k: number): number => ((x << k) | (x >>> (32 - k))) >>> 0
  return {
    next() {
      const result = Math.imul(rotl(Math.imul(b, 5), 7), 9) >>> 0
      const t = (b << 9) >>> 0
      c ^= a
      d ^= b
      b ^= c
      a ^= d
      c ^= t
      d = rotl(d >>> 0, 11)
      return result / 0x1_0000_0000
    },
    fork: (label) => seededRandom(hashLabel(label, seed)),
  }
}
