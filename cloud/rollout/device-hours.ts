import { HOUR_MS } from '../store/boot-timeline.ts'
import type { SlotOutcome } from '../store/outcome-store.ts'
import type { DeviceOutcome } from './log-ratio.ts'
import type { DeclaredPlaces, Signal } from './signals.ts'

/** Where the numbers of a sum are: a column, or below zero one of CONSTANTS, which is the same in every hour. */
type Place = number
/** What many signals have in every hour of many devices. */
const CONSTANTS = [0, 1, HOUR_MS]

interface SignalPlaces {
  readonly y: Place
  readonly x: Place
  /** of signals whose exposure is taken times the judged share */
  readonly judged: Place | undefined
  readonly unjudged: Place | undefined
}

/** Columns that a device's numbers have, by index of the signal; null: the signal has no hours. Most devices of a fleet have the same. */
type Layout = readonly (SignalPlaces | null)[]

/** Weights of hours: that of hour h is `values[h - from]`, and 0 beyond. */
export interface Weights {
  readonly from: number
  readonly values: Float64Array
}

/** How many numbers of an hour there are besides its columns: which hour, and when it was over. */
const HEADERS = 2

/** Sums of a signal over some hours, before what could not be judged is taken out. */
export interface SignalSums {
  readonly y: number
  readonly x: number
  readonly judged: number
  readonly unjudged: number
}

export const NO_SUMS: SignalSums = { y: 0, x: 0, judged: 0, unjudged: 0 }

/** Sums with one hour more. */
export function withHour(
  sums: SignalSums,
  { ofHour, judged }: Signal,
  slot: SlotOutcome,
  places: DeclaredPlaces,
): SignalSums {
  if (ofHour === undefined) return sums
  const [y, x] = ofHour(slot, places)
  const verdicts = judged?.(slot, places)
  return {
    y: sums.y + y,
    x: sums.x + x,
    judged: sums.judged + (verdicts === undefined ? 0 : verdicts.confirmed + verdicts.rejected),
    unjudged: sums.unjudged + (verdicts?.unjudged ?? 0),
  }
}

/** Sums of a signal over some hours, every one with the same weight. @returns undefined where there is no exposure */
export const outcomeOf = (
  signal: Signal,
  slots: readonly SlotOutcome[],
  places: DeclaredPlaces,
): DeviceOutcome | undefined =>
  toOutcome(slots.reduce<SignalSums>((sums, slot) => withHour(sums, signal, slot, places), NO_SUMS))

/** What the verifier could not judge says nothing: the exposure is taken times the judged share. */
export function toOutcome({ y, x, judged, unjudged }: SignalSums): DeviceOutcome | undefined {
  const exposure = unjudged > 0 ? x * (judged / (judged + unjudged)) : x
  return exposure > 0 ? { y, x: exposure } : undefined
}

/** A device's hours as a list of signals sums them, without what no signal reads: some fifty bytes an hour.
 *
 *  What is kept goes on beyond the end of a look, whole hours of the clock: a slot counts from the first end that is not before its own. */
export class DeviceHours {
  readonly #count: number
  /** hours, ends (numbers of hours), then each column */
  readonly #numbers: Float64Array
  readonly #layout: Layout

  constructor(
    slots: readonly SlotOutcome[],
    signals: readonly Signal[],
    places: DeclaredPlaces,
    layouts = new Layouts(),
  ) {
    this.#count = slots.length
    const columns: number[][] = []
    const place = (values: readonly number[]): Place => {
      const constant = CONSTANTS.findIndex((each) => values.every((value) => Object.is(value, each)))
      if (constant >= 0) return -1 - constant
      const known = columns.findIndex((column) => column.every((value, i) => Object.is(value, values[i])))
      return known < 0 ? columns.push([...values]) - 1 : known
    }
    this.#layout = layouts.same(
      signals.map((signal) => {
        const { ofHour, judged } = signal
        if (ofHour === undefined) return null
        const read = slots.map((slot) => ofHour(slot, places))
        const verdicts = judged && slots.map((slot) => judged(slot, places))
        return {
          y: place(read.map(([y]) => y)),
          x: place(read.map(([, x]) => x)),
          judged: verdicts && place(verdicts.map(({ confirmed, rejected }) => confirmed + rejected)),
          unjudged: verdicts && place(verdicts.map(({ unjudged }) => unjudged)),
        }
      }),
    )
    const headers = [slots.map(({ hour }) => hour), slots.map(({ endMs }) => Math.ceil(endMs / HOUR_MS))]
    this.#numbers = Float64Array.from([...headers, ...columns].flat())
  }

  get bytes(): number {
    return this.#numbers.byteLength
  }

  /** Calls back with the hour of each slot that was over by then. @param end number of an hour */
  each(end: number, found: (hour: number) => void): void {
    for (let i = 0; i < this.#count; i++) if (this.#isOver(i, end)) found(this.#numberAt(i))
  }

  /** Whether any slot was over by then. */
  has(end: number): boolean {
    for (let i = 0; i < this.#count; i++) if (this.#isOver(i, end)) return true
    return false
  }

  /** Sums of a signal. @returns undefined where there is no exposure */
  outcome(signal: number, end: number, weights?: Weights): DeviceOutcome | undefined {
    const at = this.#layout[signal]
    if (at === null || at === undefined) return undefined
    // Local, since a look does this for each signal of each hour of each device.
    const numbers = this.#numbers
    const count = this.#count
    const from = weights?.from ?? 0
    const values = weights?.values
    const value = (place: Place, i: number): number =>
      place < 0 ? CONSTANTS[-1 - place]! : numbers[(HEADERS + place) * count + i]!
    let y = 0
    let x = 0
    let judged = 0
    let unjudged = 0
    for (let i = 0; i < count; i++) {
      if (numbers[count + i]! > end) continue
      const w = values === undefined ? 1 : (values[numbers[i]! - from] ?? 0)
      y += w * value(at.y, i)
      x += w * value(at.x, i)
      if (at.judged === undefined || at.unjudged === undefined) continue
      judged += w * value(at.judged, i)
      unjudged += w * value(at.unjudged, i)
    }
    return toOutcome({ y, x, judged, unjudged })
  }

  /** First and last hour, and that of the signal's first event; undefined: no hours. */
  spell(
    signal: number,
    end: number,
  ): { readonly first: number; readonly last: number; readonly event: number | null } | undefined {
    const y = this.#layout[signal]?.y
    let spell: { first: number; last: number; event: number | null } | undefined
    for (let i = 0; i < this.#count; i++) {
      if (!this.#isOver(i, end)) continue
      const hour = this.#numberAt(i)
      spell ??= { first: hour, last: hour, event: null }
      spell.last = hour
      if (spell.event === null && y !== undefined && this.#value(y, i) > 0) spell.event = hour
    }
    return spell
  }

  #isOver(i: number, end: number): boolean {
    return this.#numberAt(this.#count + i) <= end
  }

  #numberAt(i: number): number {
    return this.#numbers[i] ?? 0
  }

  #value(place: Place, i: number): number {
    return place < 0 ? (CONSTANTS[-1 - place] ?? 0) : this.#numberAt((HEADERS + place) * this.#count + i)
  }
}

/** Layouts that devices share. */
export class Layouts {
  readonly #known = new Map<string, Layout>()

  same(layout: Layout): Layout {
    const key = JSON.stringify(layout)
    const known = this.#known.get(key)
    if (known === undefined) this.#known.set(key, layout)
    return known ?? layout
  }
}
