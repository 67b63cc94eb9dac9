/** Mean square of a signal; 0 for an empty one. */
export const meanPower = (samples: Float32Array): number => {
  let sum = 0
  for (let i = 0; i < samples.length; i += 1) sum += samples[i]! * samples[i]!
  return samples.length === 0 ? 0 : sum / samples.length
}

/** Adds noise to a signal at a signal-to-noise ratio, so that "0 dB" means the same everywhere.
 *  Both powers are mean squares over the whole signal and over exactly the noise that is added. The sum is not clipped:
 *  features are normalised by the maximum, and a writer of 16-bit audio decides itself how to saturate.
 *  @param signal the clip that keeps its level
 *  @param noise repeated from `noiseOffset` on when it is shorter than the signal
 *  @param snrDb ratio of the mean powers in dB
 *  @param noiseOffset first noise sample used, taken modulo the length of the noise
 *  @returns a new array as long as `signal`; a copy of it when either power is 0, since no gain gives the ratio then */
export const mixAtSnr = (
  signal: Float32Array,
  noise: Float32Array,
  snrDb: number,
  noiseOffset: number = 0,
): Float32Array => {
  const out = signal.slice()
  if (noise.length === 0) return out
  let noiseSum = 0
  const start = ((noiseOffset % noise.length) + noise.length) % noise.length
  for (let i = 0, at = start; i < signal.length; i += 1) {
    noiseSum += noise[at]! * noise[at]!
    at = at + 1 === noise.length ? 0 : at + 1
  }
  const signalPower = meanPower(signal)
  const noisePower = signal.length === 0 ? 0 : noiseSum / signal.length
  if (signalPower === 0 || noisePower === 0) return out
  const gain = Math.sqrt(signalPower / (noisePower * 10 ** (snrDb / 10)))
  for (let i = 0, at = start; i < out.length; i += 1) {
    out[i]! += gain * noise[at]!
    at = at + 1 === noise.length ? 0 : at + 1
  }
  return out
}
