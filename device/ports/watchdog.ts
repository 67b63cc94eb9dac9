/** Resets the device when it was not fed in time. On a board this is the hardware watchdog, whose adapter never calls `expired`: the
 *  chip resets, and the boot record tells the next boot of the trial that hung. */
export interface Watchdog {
  /** Starts it, or feeds it when it runs.
   *  @param expired called once when `timeoutMs` pass without another call; the host resets itself, as the chip would */
  feed(timeoutMs: number, expired: () => void): void
  stop(): void
}

/** For hosts whose time does not move with their work: in a simulator hours may pass between two turns of the event loop. */
export const NO_WATCHDOG: Watchdog = { feed: () => undefined, stop: () => undefined }
