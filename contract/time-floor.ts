/** A lower bound on the true time that only signed words and this device's own running time can raise.
 *
 *  Metadata expires by a time, and a device's wall clock may be years behind, years ahead, absent, or set by whoever answers its
 *  time requests. The floor makes the wall clock a hint:
 *
 *      effective now = the wall clock, if floor <= wall <= floor + 366 days
 *                      the floor, otherwise
 *
 *  It rises by `x-kinglet-issued`, the time at which the root or the timestamp was signed (a field of the signed part), and by the time
 *  the device has run since, less 1/16. The wall clock never raises it, so that no wrong clock outlives its correction.
 *
 *  What holds, for metadata that was signed at I and expires at E (an attacker may withhold, replay and set the clock; he has no key).
 *  Versions never fall in any of these cases: the trusted version forbids it whatever the time is.
 *
 *  | clock | guarantee |
 *  |---|---|
 *  | right | as in TUF: nothing is accepted past E. Exception: see "off for more than a year" |
 *  | 10 years behind, or set back | counts from the floor: nothing is accepted that had expired when the newest metadata this device has |
 *  |   | seen was signed, and while the device runs, nothing 16/15 (E − I) after that |
 *  | none at boot | the same |
 *  | ahead by more than a year | disbelieved: the same. The device updates as if it had no clock |
 *  | ahead by less | believed: what has expired by it is refused (no update, no harm) until the clock is right again |
 *  | time withheld | the same as none: running time alone ends a freeze after 16/15 (E − I) of it |
 *  | off for more than a year | a right clock is disbelieved until fresh metadata has been seen once: in that poll an attacker can show |
 *  |   | the newest metadata he kept, not older than what the device had seen |
 *
 *  Why a year: a clock ahead by less cannot be told from a device that was switched off, and whoever believes the second case wrongly
 *  is open to a freeze, while who believes the first wrongly only waits. Why less 1/16: a floor has to stay a lower bound on a
 *  microcontroller whose RC oscillator runs up to 6 % fast. A floor that a stolen timestamp key has pushed into the future ends with
 *  that key: when root replaces the key, the floor falls back to what root says (fast-forward recovery, TUF 5.3.11).
 */
export interface TimeFloor {
  /** Unix ms; 0 when nothing has been heard yet */
  readonly floorMs: number
  /** whose word the floor is: the timestamp keys at that time, see `TimeEvidence`; empty when nobody's */
  readonly witness: string
}

export const NO_TIME_FLOOR: TimeFloor = { floorMs: 0, witness: '' }

/** chosen: a device may lie in a drawer for a year and still believe its clock; see above. */
export const CLOCK_LEAD_MS_MAX = 366 * 24 * 3_600_000

/** chosen: an RC oscillator is within 6 % over temperature, 1/16 is 6.25 %. */
const SLOWEST = 15 / 16

/** The time to judge metadata by, read once per update cycle.
 *  @param wallMs Unix ms, or undefined without a clock
 */
export function effectiveNow(floor: TimeFloor, wallMs: number | undefined): number {
  if (wallMs === undefined || !Number.isFinite(wallMs) || wallMs < floor.floorMs) return floor.floorMs
  // Without any signed word there is nothing to hold the clock against.
  if (floor.witness === '') return wallMs
  return wallMs <= floor.floorMs + CLOCK_LEAD_MS_MAX ? wallMs : floor.floorMs
}

/** The floor after the device has run for a while. To be kept with the trust record now and then: what is not kept is lost at a
 *  reset, which lowers the floor and breaks nothing.
 *  @param ranMs by the monotonic clock, since the floor was last advanced; never across a reset
 */
export function advanceFloor(floor: TimeFloor, ranMs: number): TimeFloor {
  if (floor.witness === '' || !(ranMs > 0)) return floor
  return { ...floor, floorMs: floor.floorMs + Math.floor(ranMs * SLOWEST) }
}

/** What an update cycle has verified about the time (`CycleResult.time`), whether it succeeded or not. */
export interface TimeWord {
  readonly witness: string
  readonly rootIssuedMs: number | undefined
  readonly issuedMs: number | undefined
}

/** The floor after a cycle.
 *  @param word from verified metadata only
 */
export function raiseFloor(floor: TimeFloor, word: TimeWord): TimeFloor {
  const { witness, rootIssuedMs = 0, issuedMs = 0 } = word
  const kept = floor.witness === witness ? floor.floorMs : 0
  const floorMs = Math.max(kept, rootIssuedMs, issuedMs)
  // Metadata without our field tells no time, so its keys vouch for none.
  return floorMs === 0 ? NO_TIME_FLOOR : { floorMs, witness }
}

/** 2023-01-01, chosen: before there was anything to receive. A service's clock that says less is not set. */
export const SERVICE_CLOCK_MS_MIN = 1_672_531_200_000
