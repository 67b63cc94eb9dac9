import type { WakePolicy } from '../../../contract/manifest-fields.ts'

/** Chosen: a score that flickers around its threshold has not fallen; half of it lies below what a word leaves behind while it passes out
 *  of the windows. */
const RELEASE_SHARE = 0.5

/** Turns posteriors into wakes: mean over the last windows, a threshold, a refractory time. A label that has woken wakes again only
 *  after its mean has fallen below half the threshold: a tone that sounds like a word for an hour is one wake. */
export interface Detector {
  /** Takes the posteriors of one inferred window.
   *  @param posteriors one a label, real units
   *  @param atMs audio time of the window's end, rising
   *  @returns the label index that wakes now, or -1 */
  update(posteriors: Float32Array, atMs: number): number
  /** Smoothed posterior of the best waking label after the last update, 0 to 1. */
  readonly bestPosterior: () => number
  /** Forgets the history, as after windows that were not inferred: in silence every score has fallen. */
  reset(): void
}

/** @param labels the pipeline's labels, in output order
 *  @param cutoffs permille a label, in place of the policy's threshold */
export function createDetector(
  policy: WakePolicy,
  labels: readonly string[],
  cutoffs: readonly number[] | null = null,
): Detector {
  const { smoothingWindows, refractoryMs, thresholdPermille } = policy
  const thresholds = labels.map((_, i) => (cutoffs?.[i] ?? thresholdPermille) / 1000)
  const waking = labels.map((label) => !policy.ignoreLabels.includes(label))
  const releases = thresholds.map((threshold) => RELEASE_SHARE * threshold * smoothingWindows)
  // Where each label has a threshold of its own, the best is the one that is furthest above its own.
  const weights = thresholds.map((threshold) => (cutoffs === null || threshold === 0 ? 1 : 1 / threshold))
  const armed = labels.map(() => true)
  const history = new Float32Array(smoothingWindows * labels.length)
  const sums = new Float64Array(labels.length)
  const at = { next: 0, best: 0, quietUntilMs: Number.NEGATIVE_INFINITY }

  return {
    update(posteriors, atMs) {
      const row = at.next * labels.length
      for (let i = 0; i < labels.length; i++) {
        // NaN, from a broken float network, would stay in the sums and leave the device deaf for good.
        const posterior = Number.isNaN(posteriors[i]!) ? 0 : posteriors[i]!
        sums[i] = sums[i]! - history[row + i]! + posterior
        history[row + i] = posterior
      }
      at.next = (at.next + 1) % smoothingWindows
      let label = -1
      let best = 0
      for (let i = 0; i < labels.length; i++) {
        if (sums[i]! < releases[i]!) armed[i] = true
        const weighed = sums[i]! * weights[i]!
        if (waking[i] && weighed > best) {
          best = weighed
          label = i
        }
      }
      const sum = label < 0 ? 0 : sums[label]!
      // Divided by the full length even while the history fills: one confident window alone must not wake.
      at.best = Math.min(1, sum / smoothingWindows)
      const threshold = thresholds[label] ?? thresholdPermille / 1000
      if (at.best < threshold || atMs < at.quietUntilMs || !armed[label]) return -1
      armed[label] = false
      at.quietUntilMs = atMs + refractoryMs
      return label
    },
    bestPosterior: () => at.best,
    reset() {
      history.fill(0)
      sums.fill(0)
      armed.fill(true)
      at.next = 0
      at.best = 0
    },
  }
}
