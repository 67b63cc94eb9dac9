/** Level of silence on 16-bit audio: quieter cannot be measured. */
const SILENCE_DBFS = -96

export const dbfs = (rms: number): number => (rms > 0 ? Math.max(SILENCE_DBFS, 20 * Math.log10(rms)) : SILENCE_DBFS)

/** Chosen: the floor follows a louder environment at 3 dB a second, slower than a syllable and faster than a fan is
 *  noticed, and a quieter one at once. */
const FLOOR_RISE_DB_PER_SECOND = 3

/** Energy-based voice-activity gate over a tracked noise floor. One call a hop; costs a few multiplications, which is why it
 *  can stand in front of a network. */
export interface VoiceGate {
  /** @param levelDb level of the newest hop, dBFS
   *  @param hopMs time since the last call
   *  @returns whether the gate is open now */
  update(levelDb: number, hopMs: number): boolean
  readonly floorDb: () => number
  /** times the gate went from closed to open */
  readonly openings: () => number
}

/** @param marginDb how far above the floor a hop must be to open the gate
 *  @param hangoverMs how long the gate stays open after the last loud hop */
export function createVoiceGate(marginDb: number, hangoverMs: number): VoiceGate {
  const at = { floorDb: Number.NaN, sinceLoudMs: Number.POSITIVE_INFINITY, open: false, openings: 0 }
  return {
    update(levelDb, hopMs) {
      if (Number.isNaN(at.floorDb)) at.floorDb = levelDb
      // Level first: a hop is judged against the floor before it, so that an onset does not raise its own bar.
      const loud = levelDb > at.floorDb + marginDb
      at.floorDb = Math.min(levelDb, at.floorDb + (FLOOR_RISE_DB_PER_SECOND * hopMs) / 1000)
      at.sinceLoudMs = loud ? 0 : at.sinceLoudMs + hopMs
      const isOpen = at.sinceLoudMs <= hangoverMs
      if (isOpen && !at.open) at.openings++
      at.open = isOpen
      return isOpen
    },
    floorDb: () => (Number.isNaN(at.floorDb) ? SILENCE_DBFS : at.floorDb),
    openings: () => at.openings,
  }
}
