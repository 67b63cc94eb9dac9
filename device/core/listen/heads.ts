import type { Head } from '../../../contract/head.ts'
import { anomalyScore } from '../../../model/pipeline/anomaly-score.ts'
import { createDetector } from './detector.ts'

/** What a head makes of a window. */
export interface Judgement {
  /** label that wakes or alarms now, or -1 */
  readonly event: number
  /** how sure it is, see HeardWake */
  readonly permille: number
  /** numbers of its sources, in the order of `sourcesOf` */
  readonly values: readonly number[]
  /** label, if it has one, and value of what it says when it wakes nobody */
  readonly reading?: { readonly label?: number; readonly value: number }
}

/** Turns what a pipeline's last graph gives into wakes, alarms and numbers. */
export interface HeadRunner {
  /** @param output of the last graph, real values, @param input what it read
   *  @param atMs time of the window's end, rising
   *  @returns undefined where what should be a number is none: the network is broken */
  judge(output: Float32Array, input: Float32Array, atMs: number): Judgement | undefined
  /** Forgets the history, as after windows that were not inferred. */
  reset(): void
}

/** @param smooths false: windows are so far apart that a mean would be about different things */
export function createHead(head: Head, smooths: boolean): HeadRunner {
  const windows = (count: number): number => (smooths ? count : 1)
  switch (head.kind) {
    case 'wake': {
      const { policy, labels, cutoffs } = head
      const smoothingWindows = windows(policy.smoothingWindows)
      const detector = createDetector({ ...policy, smoothingWindows }, labels, cutoffs)
      return {
        judge(output, _input, atMs) {
          const event = detector.update(output, atMs)
          const permille = Math.round(detector.bestPosterior() * 1000)
          return { event, permille, values: [permille] }
        },
        reset: () => detector.reset(),
      }
    }
    case 'classification':
      return classification(head.labels.length, windows(head.smoothingWindows))
    case 'anomaly':
      return anomaly(head, head.smoothingWindows)
    case 'regression': {
      const mean = createMean(1, head.smoothingWindows)
      return {
        judge(output) {
          const value = mean.add(0, head.scale * output[0]! + head.offset)
          mean.step()
          return Number.isFinite(value) ? { event: -1, permille: 0, values: [value], reading: { value } } : undefined
        },
        reset: mean.reset,
      }
    }
  }
}

function classification(labels: number, smoothingWindows: number): HeadRunner {
  const mean = createMean(labels, smoothingWindows)
  return {
    judge(output) {
      let label = -1
      let best = Number.NEGATIVE_INFINITY
      for (let i = 0; i < labels; i++) {
        const value = mean.add(i, output[i]!)
        if (!Number.isFinite(value)) return undefined
        if (value <= best) continue
        best = value
        label = i
      }
      mean.step()
      const permille = Math.round(1000 * Math.min(1, Math.max(0, best)))
      const shares = Array.from({ length: labels }, (_, i) => (i === label ? 1 : 0))
      return { event: -1, permille, values: [permille, ...shares], reading: { label, value: best } }
    },
    reset: mean.reset,
  }
}

function anomaly(head: Extract<Head, { kind: 'anomaly' }>, smoothingWindows: number): HeadRunner {
  const { threshold, rearm, refractoryMs } = head
  const mean = createMean(1, smoothingWindows)
  const at = { armed: true, quietUntilMs: Number.NEGATIVE_INFINITY }
  return {
    judge(output, input, atMs) {
      const score = mean.add(0, anomalyScore(head, output, input))
      const isFull = mean.step()
      if (!Number.isFinite(score)) return undefined
      if (score < rearm) at.armed = true
      const permille = Math.round((1000 * Math.max(0, score)) / (Math.max(0, score) + threshold))
      // One odd window alone must not alarm.
      const alarms = isFull && score >= threshold && at.armed && atMs >= at.quietUntilMs
      if (alarms) Object.assign(at, { armed: false, quietUntilMs: atMs + refractoryMs })
      return { event: alarms ? 0 : -1, permille, values: [score] }
    },
    reset() {
      mean.reset()
      at.armed = true
    },
  }
}

/** Means over the newest windows of several numbers. */
function createMean(width: number, windows: number) {
  const history = new Float64Array(windows * width)
  const at = { next: 0, filled: 0 }
  return {
    /** @returns the mean with this window's number, over as many as there are */
    add(index: number, value: number): number {
      history[at.next * width + index] = value
      const filled = Math.min(windows, at.filled + 1)
      let sum = 0
      // Added anew each time: a difference of running sums keeps the rounding of all that ever was in it.
      for (let i = 0; i < filled; i++) sum += history[((at.next - i + windows) % windows) * width + index]!
      return sum / filled
    },
    /** Ends a window. @returns whether as many as the mean is over have been */
    step(): boolean {
      at.next = (at.next + 1) % windows
      at.filled = Math.min(windows, at.filled + 1)
      return at.filled === windows
    },
    reset(): void {
      at.next = 0
      at.filled = 0
    },
  }
}
