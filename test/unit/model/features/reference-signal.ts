/** A second of audio defined by integer arithmetic, so that another language can make exactly the same samples: two chirping
 *  square-ish tones and noise of a 31-bit linear congruential generator (constants of ANSI C), all as 16-bit steps. */
export const referenceSignal = (length = 16_000, seed = 1): Float32Array => {
  const samples = new Float32Array(length)
  let state = seed
  for (let n = 0; n < length; n += 1) {
    state = Number((BigInt(state) * 1_103_515_245n + 12_345n) & 0x7fff_ffffn)
    const noise = ((state >> 16) % 2_001) - 1_000
    const tone = ((n * (40 + Math.floor(n / 400))) % 1_000) * 8 - 4_000
    const gate = Math.floor(n / 2_000) % 3 === 1 ? 0 : 1
    samples[n] = (noise + tone * gate) / 32_768
  }
  return samples
}
