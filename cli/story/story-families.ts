import type { DeviceSpec } from '../../firmware-sim/device-sim.ts'

/** A family of the story: what its devices leave the factory with. */
export interface StoryFamily {
  readonly name: string
  /** release that its devices are made with */
  readonly factory: string
}

/** The board whose release is the harmful one, of the family that has two rollouts at once. */
export const HARMED_BOARD = 'NUCLEO-U575ZI'

const HOME: StoryFamily = { name: 'home', factory: 'kws-1' }
const HALL: StoryFamily = { name: 'hall', factory: 'hall-1' }
const YARD: StoryFamily = { name: 'yard', factory: 'yard-1' }

/** What the scenario `families` tells of. */
export const FAMILIES: readonly StoryFamily[] = [HOME, HALL, YARD]

/** What the others tell of: one family, of which nothing need be said. */
export const ONE_FAMILY: readonly StoryFamily[] = [{ name: 'default', factory: 'kws-1' }]

/** Spreads devices over the families: of the board that is to be harmed all are in the yard, of the others a quarter.
 *  @param index of the device in its fleet */
export function familyOf(families: readonly StoryFamily[], { board }: DeviceSpec, index: number): StoryFamily {
  if (families.length === 1) return families[0] ?? HOME
  // Sites go round in twelves, so neighbours in the count are at different places.
  const turn = Math.floor(index / 12) + index
  if (board.name === HARMED_BOARD || turn % 4 === 3) return YARD
  return turn % 2 === 0 ? HOME : HALL
}
