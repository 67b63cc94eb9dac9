/** ms of a stretch of audio in which the microphone cannot be one that works. */
export interface MicrophoneTrouble {
  /** the converter at its end again and again */
  readonly clippedMs: number
  /** always the same value, and not nothing */
  readonly stuckMs: number
  /** digital silence: no room is that quiet */
  readonly silentMs: number
}

export const NO_TROUBLE: MicrophoneTrouble = { clippedMs: 0, stuckMs: 0, silentMs: 0 }

export const addTrouble = (a: MicrophoneTrouble, b: MicrophoneTrouble): MicrophoneTrouble => ({
  clippedMs: a.clippedMs + b.clippedMs,
  stuckMs: a.stuckMs + b.stuckMs,
  silentMs: a.silentMs + b.silentMs,
})

/** A step of 16-bit audio: less is no difference. */
const STEP = 1 / 32_768
/** Two steps below full scale, so that the largest value of either sign and of a converter that stops one short of it counts. */
const FULL_SCALE = 1 - 2 * STEP
/** Chosen: speech that is a little too loud clips a few samples a second; a share of a hundredth of a hop is a level set wrong. */
const CLIPPED_SHARE = 0.01

/** Looks at the samples as they come from the converter, before any filter. */
export interface MicrophoneMeter {
  take(samples: Float32Array, from: number, to: number): void
  /** Judges what was taken since the last call, and forgets it.
   *  @param ms what it stands for */
  judge(ms: number): MicrophoneTrouble
}

export function createMicrophoneMeter(): MicrophoneMeter {
  const seen = { low: Number.POSITIVE_INFINITY, high: Number.NEGATIVE_INFINITY, clipped: 0, count: 0 }
  return {
    take(samples, from, to) {
      // Two ends at a time of what has no order: one chain of comparisons would wait for each before it.
      let { low, high } = seen
      let [low2, high2] = [low, high]
      for (let i = from; i < to; i += 2) {
        const one = samples[i]!
        // The last of an odd number is compared with itself.
        const two = samples[i + 1 < to ? i + 1 : i]!
        if (one < low) low = one
        if (one > high) high = one
        if (two < low2) low2 = two
        if (two > high2) high2 = two
      }
      low = Math.min(low, low2)
      high = Math.max(high, high2)
      // Counted only where there is something to count.
      if (high >= FULL_SCALE || low <= -FULL_SCALE) {
        for (let i = from; i < to; i++) if (Math.abs(samples[i]!) >= FULL_SCALE) seen.clipped++
      }
      seen.low = low
      seen.high = high
      seen.count += to - from
    },
    judge(ms) {
      const { low, high, clipped, count } = seen
      seen.low = Number.POSITIVE_INFINITY
      seen.high = Number.NEGATIVE_INFINITY
      seen.clipped = 0
      seen.count = 0
      if (count === 0) return NO_TROUBLE
      // A step of offset or of dither is still silence.
      if (high - low <= STEP) {
        return Math.max(high, -low) <= 2 * STEP ? { ...NO_TROUBLE, silentMs: ms } : { ...NO_TROUBLE, stuckMs: ms }
      }
      return clipped > CLIPPED_SHARE * count ? { ...NO_TROUBLE, clippedMs: ms } : NO_TROUBLE
    },
  }
}

export const MICROPHONE_FAULTS = ['clipped', 'stuck', 'silent'] as const
export type MicrophoneFault = (typeof MICROPHONE_FAULTS)[number]

/** How long each fault has lasted, and which one is in force. */
export interface MicrophoneHealth {
  /** rises while the fault is seen, falls while it is not; between 0 and FAULT_MS */
  readonly faultMs: Readonly<Record<MicrophoneFault, number>>
  readonly fault: MicrophoneFault | null
}

export const HEALTHY: MicrophoneHealth = { faultMs: { clipped: 0, stuck: 0, silent: 0 }, fault: null }

/** Chosen: a minute of a dead microphone is no pause between words and no cable that was moved, and a fault that comes and goes is in force
 *  until it has been away for as long as it was there. */
export const FAULT_MS = 60_000

/** Takes what a stretch of listening says of the microphone. */
export function observeMicrophone(
  health: MicrophoneHealth,
  trouble: MicrophoneTrouble,
  listenedMs: number,
): MicrophoneHealth {
  const next = (name: MicrophoneFault, badMs: number): number =>
    Math.max(0, Math.min(FAULT_MS, health.faultMs[name] + 2 * badMs - Math.max(badMs, listenedMs)))
  const faultMs = {
    clipped: next('clipped', trouble.clippedMs),
    stuck: next('stuck', trouble.stuckMs),
    silent: next('silent', trouble.silentMs),
  }
  const held = health.fault !== null && faultMs[health.fault] > 0 ? health.fault : null
  const worst = MICROPHONE_FAULTS.find((name) => faultMs[name] >= FAULT_MS)
  return { faultMs, fault: worst ?? held }
}
