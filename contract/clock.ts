/** Time as every part of Kinglet sees it. Injected, so that a simulation can run a week in minutes; the entry files choose it. */
export interface Clock {
  /** Unix ms; may jump. For expiry and for people. */
  wallMs(): number
  /** ms from an arbitrary start, never backwards. For durations. */
  monotonicMs(): number
  /** Calls back once, at the earliest after `delayMs` of this clock. The returned function cancels. */
  after(delayMs: number, callback: () => void): () => void
}
