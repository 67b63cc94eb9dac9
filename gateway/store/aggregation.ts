import { activeShare } from '../../contract/active-share.ts'
import { bytesToHex } from '../../contract/bytes.ts'
import { LIMITS } from '../../contract/limits.ts'
import { COUNTER_NAMES, type CounterName, type Report } from '../../contract/messages.ts'
import { present } from '../../contract/present.ts'
import type { AggregateRow } from '../../contract/uplink.ts'
import { type Place, SUM_NAMES, type Sums } from './report-timeline.ts'

export const HOUR_MS = 3_600_000
/** Unix ms at which the hour of a moment began. */
export const hourStartMs = (wallMs: number): number => Math.floor(wallMs / HOUR_MS) * HOUR_MS
/** In place of an hour where it is not known when something happened: that is booked nowhere. */
export const NO_HOUR = -1

/** Which comparison a device takes part in, as the gateway learned it from an assignment that passed through. */
export interface AssignmentTag {
  readonly seq: number
  readonly rollout: string
  readonly stage: number
  readonly arm: 'canary' | 'control' | 'none'
  readonly board: string
}

/** What measurements are grouped by. */
export interface Group {
  readonly model: string
  readonly board: string
  readonly site: string
  readonly rollout: string
  readonly stage: number
  readonly arm: 'canary' | 'control' | 'none'
}

/** The tag of the newest assignment that the device had accepted.
 *  @param tags ascending by seq
 *  @param acceptedSeq as the device reported it; 0 for none */
export function tagAt(tags: readonly AssignmentTag[], acceptedSeq: number): AssignmentTag | undefined {
  for (let i = tags.length - 1; i >= 0; i--) if (tags[i]!.seq <= acceptedSeq) return tags[i]
  return undefined
}

/** A group in one string, the key of the aggregate table; ids and boards carry no "|" (admission and feed check it). */
export const groupKey = (model: string, site: string, board: string, tag: AssignmentTag | undefined): string =>
  tag === undefined
    ? `${model}|${board}|${site}||0|none`
    : `${model}|${tag.board}|${site}|${tag.rollout}|${tag.stage}|${tag.arm}`

export function parseGroup(key: string): Group {
  const [model = '', board = '', site = '', rollout = '', stage = '0', arm = 'none'] = key.split('|')
  return { model, board, site, rollout, stage: Number(stage), arm: arm as Group['arm'] }
}

/** Model of a group that collects what is past AGGREGATE_GROUPS_MAX. */
const OTHER_MODEL = '0000000000000000'
/** chosen: a fleet has a few models × boards × sites × arms; a device that invents models must not fill memory */
const AGGREGATE_GROUPS_MAX = 2_000

/** chosen: a device is in a few groups a day: its model before and after an update, its arm, its stage */
const DEVICE_GROUPS_MAX = 16
const DAY_MS = 24 * HOUR_MS

const COUNTER = Object.fromEntries(COUNTER_NAMES.map((name, i) => [name, i])) as Readonly<Record<CounterName, number>>
/** chosen: 2^43 ms are 278 years, 2^43 mJ 2.4 MWh; sums over a thousand such devices stay exact in a double */
const PLAUSIBLE_MAX = 2 ** 43

/** What is aggregated of a report.
 *  @returns undefined when one of them is implausibly large (a hostile device must not saturate its group) */
export function sumsOf({ counters, energyMj, signals = [] }: Report): Sums | undefined {
  let energy = 0
  for (const part of energyMj) energy += part
  const sums = [
    counters[COUNTER.listeningMs]!,
    counters[COUNTER.activeMs]!,
    counters[COUNTER.wakes]!,
    counters[COUNTER.gateOpenings]!,
    energy,
    counters[COUNTER.radioRxBytes]! + counters[COUNTER.radioTxBytes]!,
    ...signals,
  ]
  for (const sum of sums) if (sum > PLAUSIBLE_MAX) return undefined
  return sums
}

export const modelHex = (model: Uint8Array): string => bytesToHex(model)

/** SUM_NAMES, then confirmed, rejected and unjudged; the signals of the model follow. */
export const CELL_LENGTH = 9
const VERDICTS_AT = SUM_NAMES.length
/** The sums of a stored cell; one of before unjudged wakes were counted has none. */
export const cellValues = (stored: readonly number[]): number[] =>
  Array.from({ length: Math.max(CELL_LENGTH, stored.length) }, (_, i) => stored[i] ?? 0)
export interface AggregateCell extends Place {
  readonly values: number[]
  /** rises with every commit that changed it; the cloud keeps the highest */
  revision: number
  dirty: boolean
}

/** Where cells that are not in memory come from. */
export interface AggregateSource {
  loadCell(place: Place): { readonly values: number[]; readonly revision: number } | undefined
}

/** The hourly sums of every group. Pure but for its source: what it holds is a cache of committed rows and of the rows of the
 *  transaction under way (spool.ts). */
export class AggregateTable {
  readonly #hours = new Map<number, Map<string, AggregateCell>>()
  readonly #dirty: AggregateCell[] = []
  /** by day, then by device: the groups it was counted in */
  readonly #groupsOf = new Map<number, Map<string, Set<string>>>()
  readonly #source: AggregateSource

  constructor(source: AggregateSource) {
    this.#source = source
  }

  /** Where a measurement of a device is really booked: a group past the bound of all, or past the share of the device in a day, goes to OTHER_MODEL
   *  with no board or arm. */
  place(hourMs: number, group: string, device: string): Place {
    const groups = this.#hours.get(hourMs)
    const fits = groups === undefined || groups.size < AGGREGATE_GROUPS_MAX || groups.has(group)
    if (fits && this.#mayCountIn(hourMs, group, device)) return { hourMs, group }
    return { hourMs, group: groupKey(OTHER_MODEL, parseGroup(group).site, '', undefined) }
  }

  #mayCountIn(hourMs: number, group: string, device: string): boolean {
    if (hourMs === NO_HOUR) return true
    const day = Math.floor(hourMs / DAY_MS)
    const devices = this.#groupsOf.get(day) ?? new Map<string, Set<string>>()
    this.#groupsOf.set(day, devices)
    const own = devices.get(device) ?? new Set<string>()
    devices.set(device, own)
    if (own.has(group)) return true
    if (own.size >= DEVICE_GROUPS_MAX) return false
    own.add(group)
    return true
  }

  book(place: Place, delta: Sums): void {
    // Signals of several models in one cell would be sums of different things.
    const summed = parseGroup(place.group).model === OTHER_MODEL ? delta.slice(0, VERDICTS_AT) : delta
    this.#add(place, summed, (i) => (i < VERDICTS_AT ? i : i - VERDICTS_AT + CELL_LENGTH))
  }

  /** @param confirmed undefined: the verifier could not judge */
  bookVerdict(place: Place, confirmed: boolean | undefined): void {
    this.#add(place, verdictCounts(confirmed), (i) => VERDICTS_AT + i)
  }

  #add(place: Place, delta: readonly number[], columnOf: (index: number) => number): void {
    if (place.hourMs === NO_HOUR) return
    const cell = this.#cell(place)
    for (const [i, by] of delta.entries()) cell.values[columnOf(i)] = (cell.values[columnOf(i)] ?? 0) + by
    if (!cell.dirty) {
      cell.dirty = true
      this.#dirty.push(cell)
    }
  }

  /** Cells changed since the last call, each with its revision raised. */
  takeDirty(): readonly AggregateCell[] {
    const cells = this.#dirty.splice(0)
    for (const cell of cells) {
      cell.dirty = false
      cell.revision++
    }
    return cells
  }

  /** Drops hours before `hourMs` from memory; they stay in the source. Between transactions only. */
  forgetBefore(hourMs: number): void {
    for (const hour of this.#hours.keys()) if (hour < hourMs) this.#hours.delete(hour)
    for (const day of this.#groupsOf.keys()) if ((day + 1) * DAY_MS < hourMs) this.#groupsOf.delete(day)
  }

  /** Forgets everything in memory: after a failed commit the source is right and this is not. */
  reset(): void {
    this.#hours.clear()
    this.#dirty.length = 0
  }

  #cell(place: Place): AggregateCell {
    let groups = this.#hours.get(place.hourMs)
    if (groups === undefined) {
      groups = new Map()
      this.#hours.set(place.hourMs, groups)
    }
    let cell = groups.get(place.group)
    if (cell === undefined) {
      const stored = this.#source.loadCell(place)
      const values = stored?.values ?? new Array<number>(CELL_LENGTH).fill(0)
      cell = { ...place, values, revision: stored?.revision ?? 0, dirty: false }
      groups.set(place.group, cell)
    }
    return cell
  }
}

/** One verdict as counts of confirmed, rejected and unjudged. */
export const verdictCounts = (confirmed: boolean | undefined): readonly [number, number, number] =>
  confirmed === undefined ? [0, 0, 1] : confirmed ? [1, 0, 0] : [0, 1, 0]

const clamp = (value: number): number => Math.max(0, Math.min(LIMITS.counter, value))

/** The row the cloud gets. Clamped to the contract's bounds: a straggler that corrects an hour past retention could leave a
 *  cell below zero, and one bad row must not block the spool. */
export function aggregateRow(
  cell: Place & { readonly values: readonly number[]; readonly revision: number },
): AggregateRow {
  const value = (column: number): number => clamp(present(cell.values[column], 'a column of a cell'))
  const signals = cell.values.slice(CELL_LENGTH).map(clamp)
  return {
    hourMs: cell.hourMs,
    revision: cell.revision,
    ...parseGroup(cell.group),
    listeningMs: value(0),
    activeMs: value(1),
    wakes: value(2),
    gateOpenings: value(3),
    confirmed: value(6),
    rejected: value(7),
    unjudged: value(8),
    energyMj: value(4),
    radioBytes: value(5),
    ...(signals.length === 0 ? {} : { signals }),
  }
}

/** What an operator looks at, of sums over any number of cells. */
export interface Rates {
  /** keyword wakes per hour of listening */
  readonly wakeupsPerHour: number
  /** openings of the voice-activity gate per hour of listening */
  readonly gateOpeningsPerHour: number
  /** share of the listening time in which the device was awake */
  readonly activeFraction: number
  /** rejected wakes over wakes the verifier judged */
  readonly falseWakeShare: number
  /** rejected wakes per hour of listening */
  readonly falseWakesPerHour: number
  /** wakes that the verifier could not judge over those it was given */
  readonly unjudgedShare: number
}

/** Rates of a sum of cells; zero where there is nothing to divide by. */
export function ratesOf(values: readonly number[]): Rates {
  const [listeningMs = 0, activeMs = 0, wakes = 0, gateOpenings = 0, , , confirmed = 0, rejected = 0, unjudged = 0] =
    values
  const judged = confirmed + rejected
  const perHour = (count: number): number => (listeningMs > 0 ? (count * HOUR_MS) / listeningMs : 0)
  return {
    wakeupsPerHour: perHour(wakes),
    gateOpeningsPerHour: perHour(gateOpenings),
    activeFraction: activeShare(activeMs, listeningMs) ?? 0,
    falseWakeShare: judged > 0 ? rejected / judged : 0,
    falseWakesPerHour: perHour(rejected),
    unjudgedShare: unjudged > 0 ? unjudged / (judged + unjudged) : 0,
  }
}
