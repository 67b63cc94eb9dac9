import type { Clock } from '../contract/clock.ts'
import { SharedClock } from '../firmware-sim/clock-shared.ts'
import { CommandFailure } from './failure.ts'

/** The clock of a service: the machine's, or one shared with a simulation. */
export function serviceClock(system: Clock, sharedFile: string | undefined): Clock {
  if (sharedFile === undefined) return system
  try {
    return new SharedClock(sharedFile, system)
  } catch (cause) {
    throw new CommandFailure(`${sharedFile}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      hint: '--clock names the clock file of a running simulation',
    })
  }
}
