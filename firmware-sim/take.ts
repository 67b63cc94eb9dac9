import type { SeededRandom } from '../contract/random.ts'

/** Some time of what a device senses. Ten seconds, because every ladder level then sees a whole number of hops in one. */
export const TAKE_MS = 10_000

/** Ten seconds of a place, one object for each that differs: what was heard in it is remembered by identity. */
export interface SensedTake {
  /** label that it should wake or alarm with, such as the keyword that is spoken; omitted: it should wake nobody */
  readonly expected?: string
}

/** What takes are made of: the input of a bundle. */
export interface Senses<T extends SensedTake> {
  /** values a second: of vectors, each has one a channel */
  readonly valuesPerSecond: number
  /** that stand before a take, so that its first window is a full one */
  readonly leadValues: number
  /** @returns `leadValues`, then those of TAKE_MS */
  render(take: T): Float32Array
}

/** Where one device's takes come from. */
export interface TakeSource<T extends SensedTake> {
  /** The take that the device senses next. */
  draw(nowMs: number, random: SeededRandom): T
}
