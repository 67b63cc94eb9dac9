/** Share of the listening time in which devices were awake, 0 to 1; null when they never were to listen.
 *
 *  A device that sleeps between sparse windows, or hibernates, is awake for messages and holds outside of what it listens to: it
 *  is then said to be awake all of that time, and not twice it. */
export const activeShare = (activeMs: number, listeningMs: number): number | null =>
  listeningMs > 0 ? Math.min(1, activeMs / listeningMs) : null
