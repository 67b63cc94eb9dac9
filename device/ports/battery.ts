/** The device's supply. */
export interface Battery {
  /** energy left, mJ; Infinity on mains */
  remainingMj(): number
  /** told what the agent accounts for; a board with a fuel gauge ignores it, a simulated cell drains */
  spent(millijoule: number): void
}

export const MAINS: Battery = { remainingMj: () => Number.POSITIVE_INFINITY, spent: () => undefined }
