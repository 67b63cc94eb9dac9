/** A filter that takes away the constant part of a sound and what is slower than its corner: y[n] = x[n] - x[n-1] + r y[n-1].
 *  Microphones and their amplifiers have an offset, and the features are divided by the signed maximum of a window, which an offset
 *  moves; the voice gate's levels drown in it. */
export interface HighPass {
  /** Filters samples into `out`, which may be the samples themselves. State carries over to the next call.
   *  @param from first sample, `count` of them, written from `at` on */
  filter(samples: Float32Array, from: number, count: number, out: Float32Array, at: number): void
  /** Forgets all sound: the next sample is taken for what has always been, so that an offset gives no click at the start. */
  reset(): void
}

/** @param cornerHz 3 dB down here, 6 dB less each octave below; well below the sample rate */
export function createHighPass(cornerHz: number, sampleRateHz: number): HighPass {
  const r = Math.exp((-2 * Math.PI * cornerHz) / sampleRateHz)
  const state = { x: Number.NaN, y: 0 }
  return {
    filter(samples, from, count, out, at) {
      if (count === 0) return
      let x = Number.isNaN(state.x) ? samples[from]! : state.x
      let { y } = state
      for (let i = 0; i < count; i++) {
        const next = samples[from + i]!
        y = next - x + r * y
        x = next
        out[at + i] = y
      }
      state.x = x
      // Digital silence after sound decays without end; below this float32 has no use for it, and denormals are slow.
      state.y = Math.abs(y) < 1e-20 ? 0 : y
    },
    reset() {
      state.x = Number.NaN
      state.y = 0
    },
  }
}
