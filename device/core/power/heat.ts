/** How warm a device may get before it does less. */
export interface HeatLimit {
  /** above it the device steps down its ladder, a level each look */
  readonly maxCelsius: number
  /** below the limit by so much it steps up again, a level each look: in between nothing changes */
  readonly hysteresisCelsius: number
}

export interface HeatState {
  /** of the levels that would be there, how many of the best are not offered for now */
  readonly steps: number
  /** °C at the newest look; null: nobody can tell */
  readonly celsius: number | null
}

export const COOL: HeatState = { steps: 0, celsius: null }

/** Chosen: a housing in the sun swings by a few degrees with each cloud. */
export const HYSTERESIS_CELSIUS = 5

/** One look at the thermometer. Looks are ten minutes apart, so a level has its time to tell in the temperature.
 *  @param celsius undefined: it cannot be read, and what was decided stays
 *  @param levels that there are; below the last one the device hibernates
 *  @param present which of them it is at; -1: none, as when it hibernates */
export function observeHeat(
  { steps, celsius: before }: HeatState,
  { maxCelsius, hysteresisCelsius }: HeatLimit,
  celsius: number | undefined,
  levels: number,
  present: number,
): HeatState {
  // What is no number is no temperature.
  if (celsius === undefined || !Number.isFinite(celsius)) return { steps: Math.min(steps, levels), celsius: before }
  if (celsius > maxCelsius) return { steps: Math.min(Math.max(steps, present) + 1, levels), celsius }
  if (celsius <= maxCelsius - hysteresisCelsius) return { steps: Math.max(0, steps - 1), celsius }
  return { steps: Math.min(steps, levels), celsius }
}
