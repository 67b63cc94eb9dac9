/** Power of each bin of a real signal, in double precision. */
export type RealSpectrum = {
  /** `size` samples, to be written before the transform; it is overwritten. */
  readonly samples: Float64Array
  /** Squared magnitude of `size / 2 + 1` bins, not divided by anything. */
  readonly power: Float64Array
  /** samples → power */
  readonly transform: () => void
}

/** @param size power of two, 8 or more
 *  @see J. W. Cooley, J. W. Tukey, "An Algorithm for the Machine Calculation of Complex Fourier Series", 1965 */
export const createRealSpectrum = (size: number): RealSpectrum => {
  const samples = new Float64Array(size)
  const imaginary = new Float64Array(size)
  const power = new Float64Array(size / 2 + 1)
  const cosines = Float64Array.from({ length: size / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / size))
  const sines = Float64Array.from({ length: size / 2 }, (_, i) => -Math.sin((2 * Math.PI * i) / size))
  const bits = Math.log2(size)
  const reversed = Int32Array.from({ length: size }, (_, i) => {
    let back = 0
    for (let bit = 0; bit < bits; bit += 1) back |= ((i >> bit) & 1) << (bits - 1 - bit)
    return back
  })

  const transform = (): void => {
    imaginary.fill(0)
    for (let i = 0; i < size; i += 1) {
      const other = reversed[i]!
      if (other <= i) continue
      const value = samples[i]!
      samples[i] = samples[other]!
      samples[other] = value
    }
    for (let span = 1; span < size; span *= 2) {
      const stride = size / (2 * span)
      for (let start = 0; start < size; start += 2 * span) {
        for (let i = 0; i < span; i += 1) {
          const a = start + i
          const b = a + span
          const wr = cosines[i * stride]!
          const wi = sines[i * stride]!
          const re = samples[b]! * wr - imaginary[b]! * wi
          const im = samples[b]! * wi + imaginary[b]! * wr
          samples[b] = samples[a]! - re
          imaginary[b] = imaginary[a]! - im
          samples[a]! += re
          imaginary[a]! += im
        }
      }
    }
    for (let bin = 0; bin <= size / 2; bin += 1) power[bin] = samples[bin]! ** 2 + imaginary[bin]! ** 2
  }
  return { samples, power, transform }
}
