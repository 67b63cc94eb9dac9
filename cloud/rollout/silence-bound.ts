const HOUR_MS = 3_600_000
/** chosen: how long a device of which nothing is known may be silent; a day and what a daily report may be late */
export const UNKNOWN_BOUND_MS = 26 * HOUR_MS
/** chosen: no device is called silent sooner */
const BOUND_MS_MIN = 3 * HOUR_MS
/** chosen: a device that was away for so long is not waited for twice as long */
const BOUND_MS_MAX = 30 * 24 * HOUR_MS

/** How long the device may be silent before it counts as lost: twice its longest gap of the last weeks, so that a sleepy uplink is no death. */
export const silenceBoundMs = ({ gapMs }: { readonly gapMs: number }): number =>
  gapMs === 0 ? UNKNOWN_BOUND_MS : Math.min(BOUND_MS_MAX, Math.max(BOUND_MS_MIN, 2 * gapMs))
