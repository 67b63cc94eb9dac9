/** Bounds how often a detector may wake its device, whatever it hears: without it one that is stuck keeps the device awake, its radio
 *  busy and its queue full of wakes. */
export interface WakeLimit {
  /** wakes that may follow each other at once */
  readonly credit: number
  readonly atMs: number
}

/** Chosen: somebody who tries the device speaks a dozen keywords in a row … */
const BURST = 12
/** … and nobody goes on at more than one in five seconds: in a minute at most 24 wakes, in an hour 732. Far above what a rollout is
 *  judged by, so that a bad model is still seen to be bad. */
const REFILL_MS = 5_000

export const fullWakeLimit = (nowMs: number): WakeLimit => ({ credit: BURST, atMs: nowMs })

/** @param atMs time of the wake; one before the last costs as if it were at the same time */
export function admitWake(
  { credit, atMs: lastMs }: WakeLimit,
  atMs: number,
): { readonly admitted: boolean; readonly limit: WakeLimit } {
  const now = Math.max(lastMs, atMs)
  const have = Math.min(BURST, credit + (now - lastMs) / REFILL_MS)
  const admitted = have >= 1
  return { admitted, limit: { credit: admitted ? have - 1 : have, atMs: now } }
}
