/** Class order of every network of the zoo. The first two are no keywords. */
export const LABELS = [
  'silence',
  'unknown',
  'down',
  'go',
  'left',
  'no',
  'off',
  'on',
  'right',
  'stop',
  'up',
  'yes',
] as const

export type Label = (typeof LABELS)[number]

/** The ten words that wake. */
export const KEYWORDS: readonly Label[] = LABELS.slice(2)

/** Rate of all audio in the zoo. */
export const RATE_HZ = 16_000
