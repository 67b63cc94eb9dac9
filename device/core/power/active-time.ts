/** From and to, monotonic ms. */
export type Span = readonly [fromMs: number, toMs: number]

/** Inferences at the pace of a ladder level: the first begins at `fromMs`, the others a hop apart. */
interface Inferences {
  readonly fromMs: number
  readonly count: number
  /** time between two */
  readonly hopMs: number
  /** time one takes; a board that needs more than a hop is awake all the time */
  readonly takesMs: number
}

/** How long a device has been awake: the union of what keeps it so, since a wake's hold, the networks that run in it and a message
 *  that is sent meanwhile are one stretch of being awake and not three. */
export interface ActiveTime {
  /** awake ms before `floorMs` */
  readonly settledMs: number
  /** monotonic ms up to which it is settled */
  readonly floorMs: number
  /** apart, in order, after the floor: holds and messages whose time may also be listened in */
  readonly spans: readonly Span[]
}

export const noActiveTime = (bootedAtMs: number): ActiveTime => ({ settledMs: 0, floorMs: bootedAtMs, spans: [] })

/** Chosen: between two stretches of listening a device has a handful of spans; where nothing is listened to the oldest are settled. */
const SPANS_MAX = 32

/** Adds a span in which the device is awake. What of it lies before the floor is not counted: that time has been. */
export function addSpan(active: ActiveTime, [fromMs, toMs]: Span): ActiveTime {
  const from = Math.max(fromMs, active.floorMs)
  if (!(toMs > from)) return active
  const joined: [number, number] = [from, toMs]
  const apart: Span[] = []
  for (const span of active.spans) {
    if (span[1] < joined[0] || span[0] > joined[1]) {
      apart.push(span)
      continue
    }
    joined[0] = Math.min(joined[0], span[0])
    joined[1] = Math.max(joined[1], span[1])
  }
  const spans = [...apart, joined].sort((a, b) => a[0] - b[0])
  const oldest = spans[0]
  if (spans.length <= SPANS_MAX || oldest === undefined) return { ...active, spans }
  return { settledMs: active.settledMs + oldest[1] - oldest[0], floorMs: oldest[1], spans: spans.slice(1) }
}

/** Awake ms after the floor and before a moment. */
export const unsettledMs = ({ spans }: ActiveTime, atMs: number): number =>
  spans.reduce((sum, [from, to]) => sum + Math.max(0, Math.min(to, atMs) - from), 0)

/** Settles what was listened to: the device was awake in its spans and in the inferences, and in both at once only once.
 *  @param toMs end of the stretch; later ones begin there or after
 *  @param runs inferences of the stretch: those of several runs at one time are done one after the other, and take the sum */
export function settle(active: ActiveTime, toMs: number, runs: readonly Inferences[]): ActiveTime {
  const { floorMs, spans } = active
  if (toMs <= floorMs) return active
  const inferredMs = (from: number, to: number): number =>
    runs.reduce((sum, run) => sum + inferredBefore(run, to) - inferredBefore(run, from), 0)
  let activeMs = inferredMs(floorMs, toMs)
  for (const [from, to] of spans) {
    const end = Math.min(to, toMs)
    if (end > from) activeMs += end - from - inferredMs(from, end)
  }
  const settled = {
    settledMs: active.settledMs + Math.min(toMs - floorMs, Math.max(0, activeMs)),
    floorMs: toMs,
    spans: spans.flatMap(([from, to]): Span[] => (to > toMs ? [[Math.max(from, toMs), to]] : [])),
  }
  // An inference begins when its window ends, and the last one goes on after the stretch.
  const ends = runs.map((run) => run.fromMs + (run.count - 1) * run.hopMs + Math.min(run.takesMs, run.hopMs))
  return ends.length === 0 ? settled : addSpan(settled, [toMs, Math.max(...ends)])
}

/** ms of a run's inferences before a moment. */
function inferredBefore({ fromMs, count, hopMs, takesMs: inferenceMs }: Inferences, atMs: number): number {
  const takesMs = Math.min(inferenceMs, hopMs)
  if (atMs <= fromMs || count === 0) return 0
  const whole = Math.min(count, Math.floor((atMs - fromMs) / hopMs))
  return whole * takesMs + (whole < count ? Math.min(takesMs, atMs - fromMs - whole * hopMs) : 0)
}
