import { activeRange, createTape, shifted, withReverb, withTilt } from './augment.ts'
import { RATE_HZ } from './labels.ts'
import { below, between, type Random } from './random.ts'

const tape = createTape()

/** How much of a word may fall outside its window before it is no longer that word. */
const CUT_SHARE_MAX = 0.2
/** Less of a word than this is not enough to wake on: such windows teach the stream's edges as `unknown`. */
const PARTIAL_SHARE_MAX = 0.4

/** A word somewhere in a second: its active part loses at most `CUT_SHARE_MAX`, and drifts no further than 300 ms. */
export const placed = (samples: Float32Array, random: Random): Float32Array => {
  const { from, to } = activeRange(samples)
  const slack = Math.floor((to - from) * CUT_SHARE_MAX)
  const reach = random() < 0.5 ? 1_600 : 4_800
  const centre = Math.floor((RATE_HZ - samples.length) / 2)
  const low = Math.max(centre - reach, -from - slack)
  const high = Math.min(centre + reach, RATE_HZ - to + slack)
  return shifted(samples, low < high ? low + below(random, high - low + 1) : centre, RATE_HZ)
}

/** Only the beginning or only the end of a word. */
export const partial = (samples: Float32Array, random: Random): Float32Array => {
  const { from, to } = activeRange(samples)
  const visible = Math.floor((to - from) * between(random, 0.05, PARTIAL_SHARE_MAX))
  return shifted(samples, random() < 0.5 ? RATE_HZ - from - visible : -(to - visible), RATE_HZ)
}

/** A word by somebody else, somewhere else: another vocal tract, microphone or room. */
export const voiced = (samples: Float32Array, random: Random): Float32Array => {
  let out = tape(samples, between(random, 0.87, 1.16))
  if (random() < 0.35) out = withTilt(out, random)
  if (random() < 0.35) out = withReverb(out, random)
  return out
}
