/** When a boot began, as far as a gateway can tell: see `BootClock`. */
export interface BootClock {
  /** least of (time of receipt - uptime) over its messages, Unix ms; undefined while none was received by a clock that is believed */
  startedMs: number | undefined
  /** longest uptime that it told of, ms */
  uptimeMs: number
  /** its wall clock less its uptime, by its newest report; undefined: it has no wall clock, or has not said */
  wallOffsetMs: number | undefined
}

/** Takes in that a message of this uptime was received then.
 *  @param receivedMs Unix ms, 0 when the gateway does not know the time
 *  @returns whether that told anything new */
export function hearUptime(boot: BootClock, receivedMs: number, uptimeMs: number): boolean {
  const { startedMs } = boot
  const uptime = Math.max(boot.uptimeMs, uptimeMs)
  const heard = receivedMs > 0 ? Math.max(0, receivedMs - uptimeMs) : undefined
  const started = startedMs === undefined || heard === undefined ? (startedMs ?? heard) : Math.min(startedMs, heard)
  const isNew = started !== startedMs || uptime !== boot.uptimeMs
  boot.startedMs = started
  boot.uptimeMs = uptime
  return isNew
}

/** When something of a boot happened.
 *  @param next the boot after it, by whose start it was over
 *  @returns Unix ms; undefined where nothing is known */
export function momentOf(boot: BootClock, next: BootClock | undefined, uptimeMs: number): number | undefined {
  if (boot.startedMs === undefined) return undefined
  const latest = next?.startedMs === undefined ? boot.startedMs : next.startedMs - boot.uptimeMs
  return Math.max(0, Math.min(boot.startedMs, latest)) + uptimeMs
}

/** The uptime of a wake of a device that does not say it: by its wall clock, if the boot's reports tell how that stands to its uptime; else by
 *  the time of receipt.
 *  @param wallMs as the device says, 0 when it has no clock
 *  @returns undefined where nothing of this is known */
export function uptimeOf(boot: BootClock, wallMs: number, receivedMs: number): number | undefined {
  const { startedMs, wallOffsetMs } = boot
  if (wallMs > 0 && wallOffsetMs !== undefined) return Math.max(0, wallMs - wallOffsetMs)
  if (receivedMs > 0 && startedMs !== undefined) return Math.max(0, receivedMs - startedMs)
  return undefined
}
