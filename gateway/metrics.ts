import { Counter, Gauge, Registry } from 'prom-client'
import type { MessageCounters } from './message-counters.ts'
import { CELL_LENGTH, HOUR_MS, hourStartMs, parseGroup, ratesOf } from './store/aggregation.ts'
import type { Place } from './store/report-timeline.ts'

/** What the metrics are read from at each scrape. */
export interface MetricSources {
  readonly counters: MessageCounters
  /** sums of the hours from `hourMs` on */
  cellsSince(hourMs: number): Promise<Iterable<Place & { readonly values: readonly number[] }>>
  nowMs(): number
  depths(): Readonly<Record<string, number>>
  /** what ends, and when in Unix ms */
  ends(): readonly { readonly what: string; readonly expiresMs: number }[]
  /** whether this gateway knows the time */
  isClockBelieved(): boolean
}

/** chosen: of the store's thread, hence real time; a scraper waits for ten seconds */
const CELLS_TIMEOUT_MS = 3_000
/** chosen: gauges look at the last day, so that a finished rollout leaves the page */
const WINDOW_HOURS = 24
/** chosen: groups on the page; the rest is summed as model "other", since every label set costs the scraper memory */
const GROUPS_MAX = 200

const RATES = {
  wakeupsPerHour: ['kinglet_wakeups_per_hour', 'Keyword wakes per hour of listening'],
  gateOpeningsPerHour: ['kinglet_gate_openings_per_hour', 'Openings of the voice-activity gate per hour of listening'],
  activeFraction: ['kinglet_active_fraction', 'Share of the listening time in which devices were awake'],
  falseWakeShare: ['kinglet_false_wake_share', 'Rejected wakes over wakes that the verifier judged'],
  falseWakesPerHour: ['kinglet_false_wakes_per_hour', 'Rejected wakes per hour of listening'],
  unjudgedShare: ['kinglet_unjudged_wake_share', 'Wakes that the verifier could not judge over those it was given'],
} as const
const GROUP_LABELS = ['model', 'arm', 'stage', 'board', 'site'] as const

/** Sums of the window by the labels of the page.
 *  @returns at most GROUPS_MAX groups with the most listening time, then one of model "other" */
function groupSums(
  cells: Iterable<Place & { readonly values: readonly number[] }>,
): ReadonlyMap<string, readonly number[]> {
  const groups = new Map<string, number[]>()
  const into = (key: string, values: readonly number[]): void => {
    let sums = groups.get(key)
    if (sums === undefined) {
      sums = new Array<number>(CELL_LENGTH).fill(0)
      groups.set(key, sums)
    }
    for (let i = 0; i < CELL_LENGTH; i++) sums[i]! += values[i]!
  }
  for (const { group, values } of cells) {
    const { model, arm, stage, board, site } = parseGroup(group)
    into([model, arm, stage, board, site].join('|'), values)
  }
  if (groups.size <= GROUPS_MAX) return groups
  const largestFirst = [...groups].sort(([, a], [, b]) => b[0]! - a[0]!)
  groups.clear()
  largestFirst.forEach(([key, values], i) => {
    into(i < GROUPS_MAX ? key : 'other|none|0||', values)
  })
  return groups
}

/** The page of one gateway, in a registry of its own: duty cycle and false wakes by group, messages by kind and outcome, depths
 *  of the queues. All of it is read from the sources at each scrape, so counting a message costs no label hashing.
 */
export class GatewayMetrics {
  readonly #registry = new Registry()
  readonly #sources: MetricSources
  readonly #messages: Counter
  readonly #depths: Gauge
  readonly #ends: Gauge
  readonly #storeReadable: Gauge
  readonly #clockBelieved: Gauge
  readonly #listening: Gauge
  readonly #rates: readonly (readonly [keyof typeof RATES, Gauge])[]

  constructor(sources: MetricSources) {
    this.#sources = sources
    const registers = [this.#registry]
    this.#messages = new Counter({
      name: 'kinglet_gateway_messages_total',
      help: 'What came of messages, requests and rows, by kind and outcome',
      labelNames: ['kind', 'outcome'],
      registers,
    })
    this.#depths = new Gauge({
      name: 'kinglet_gateway_depth',
      help: 'Things that wait, by queue',
      labelNames: ['queue'],
      registers,
    })
    this.#ends = new Gauge({
      name: 'kinglet_expiry_seconds',
      help: 'Seconds until something ends, negative afterwards: the service token, certificates, metadata that was served',
      labelNames: ['what'],
      registers,
    })
    this.#storeReadable = new Gauge({
      name: 'kinglet_gateway_store_readable',
      help: '0 when the store did not answer for this page (a full disk, a medium that hangs): rates are missing then',
      registers,
    })
    this.#clockBelieved = new Gauge({
      name: 'kinglet_gateway_clock_believed',
      help: '1 while the clock of this gateway can be right; at 0 times of receipt are left to the cloud',
      registers,
    })
    this.#listening = new Gauge({
      name: 'kinglet_listening_hours',
      help: `Hours of listening behind the rates, last ${WINDOW_HOURS} h`,
      labelNames: GROUP_LABELS,
      registers,
    })
    this.#rates = (Object.keys(RATES) as (keyof typeof RATES)[]).map((rate) => {
      const [name, help] = RATES[rate]
      return [rate, new Gauge({ name, help: `${help}, last ${WINDOW_HOURS} h`, labelNames: GROUP_LABELS, registers })]
    })
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** The page in the exposition format of Prometheus. */
  async scrape(): Promise<string> {
    const since = hourStartMs(this.#sources.nowMs()) - (WINDOW_HOURS - 1) * HOUR_MS
    const cells = await this.#cellsSince(since)
    // From here to the page nothing waits: another scrape may be under way.
    this.#registry.resetMetrics()
    for (const [kind, outcomes] of Object.entries(this.#sources.counters.snapshot())) {
      for (const [outcome, count] of Object.entries(outcomes)) this.#messages.inc({ kind, outcome }, count)
    }
    for (const [queue, depth] of Object.entries(this.#sources.depths())) this.#depths.set({ queue }, depth)
    const nowMs = this.#sources.nowMs()
    for (const { what, expiresMs } of this.#sources.ends()) this.#ends.set({ what }, (expiresMs - nowMs) / 1000)
    this.#storeReadable.set(cells === undefined ? 0 : 1)
    this.#clockBelieved.set(this.#sources.isClockBelieved() ? 1 : 0)
    for (const [key, values] of groupSums(cells ?? [])) {
      const [model = '', arm = '', stage = '', board = '', site = ''] = key.split('|')
      const labels = { model, arm, stage, board, site }
      const rates = ratesOf(values)
      for (const [rate, gauge] of this.#rates) gauge.set(labels, rates[rate])
      this.#listening.set(labels, values[0]! / HOUR_MS)
    }
    return this.#registry.metrics()
  }

  /** What there is to say of a gateway is said most urgently when its disk is full.
   *  @returns undefined when the store fails, or does not answer in time */
  async #cellsSince(hourMs: number): Promise<Awaited<ReturnType<MetricSources['cellsSince']>> | undefined> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), CELLS_TIMEOUT_MS)
    })
    try {
      return await Promise.race([this.#sources.cellsSince(hourMs), late])
    } catch {
      return undefined
    } finally {
      clearTimeout(timer)
    }
  }
}
