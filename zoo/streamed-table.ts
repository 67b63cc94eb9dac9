import { poisson, wilson } from '../cli/model/intervals.ts'

/** What a bundle did in one condition. */
export type Counts = {
  readonly words: number
  readonly misses: number
  /** recordings in which another word was found */
  readonly confused: number
  readonly falseWakes: Readonly<Record<string, { readonly wakes: number; readonly hours: number }>>
}

/** What streamed.ts measured. */
export type Streamed = {
  readonly seed: number
  readonly share: string
  readonly level: string
  readonly speakers: number
  readonly recordings: { readonly words: number; readonly others: number; readonly noises: number }
  readonly bundles: Record<
    string,
    {
      readonly smoothingWindows: number
      readonly thresholdPermille: number
      readonly conditions: Readonly<Record<string, Counts>>
    }
  >
}

const percent = (share: number): string => (100 * share).toFixed(0)
const rate = (value: number): string => (value < 9.95 ? value.toFixed(1) : value.toFixed(0))

const missed = ({ words, misses }: Counts): string => {
  if (words === 0) return ''
  const { low, high } = wilson(misses, words)
  return `${((100 * misses) / words).toFixed(1)} % (${percent(low)}–${percent(high)})`
}

const perHour = (row: { readonly wakes: number; readonly hours: number } | undefined): string => {
  if (row === undefined) return ''
  const { low, high } = poisson(row.wakes)
  return `${rate(row.wakes / row.hours)} (${rate(low / row.hours)}–${rate(high / row.hours)})`
}

const COLUMNS = ['words of people', 'words of espeak-ng', 'sentences', 'noise']

/** A row for each condition and bundle: misses, and false wakes an hour of each kind of sound, with 95 % intervals. */
export const streamedTable = ({ bundles }: Streamed): string => {
  const names = Object.keys(bundles)
  const conditions = Object.keys(bundles[names[0]!]!.conditions)
  return [
    `| condition | bundle | missed | ${COLUMNS.join(' | ')} |`,
    `|---|---|---|${COLUMNS.map(() => '---|').join('')}`,
    ...conditions.flatMap((condition) =>
      names.map((name) => {
        const counts = bundles[name]!.conditions[condition]!
        const cells = COLUMNS.map((column) => perHour(counts.falseWakes[column]))
        return `| ${condition} | \`${name}\` | ${[missed(counts), ...cells].join(' | ')} |`
      }),
    ),
  ].join('\n')
}

/** What a level of a ladder hears, and what it costs: computed from the boards' published figures. */
export type LevelRow = {
  readonly bundle: string
  readonly level: string
  readonly ramBytes: number
  readonly quiet: readonly { readonly board: string; readonly joulePerHour: number }[]
  readonly talk: readonly { readonly board: string; readonly joulePerHour: number }[]
  readonly conditions: Readonly<Record<string, Counts>>
}

const LOUD = 'synthesised noise, 10 dB'

/** A row for each level: misses in quiet and in noise, false wakes an hour of sentences and of noise alone, RAM, energy. */
export const levelsTable = (rows: readonly LevelRow[]): string => {
  const boards = rows[0]!.quiet.map(({ board }) => board)
  const joules = (cells: LevelRow['quiet']) => cells.map(({ joulePerHour }) => joulePerHour.toFixed(1)).join(' / ')
  return [
    `| level | missed, clean | missed, 10 dB | false wakes an hour: sentences | noise alone | RAM, bytes | J an hour, quiet (${boards.join(' / ')}) | J an hour of talk |`,
    '|---|---|---|---|---|---|---|---|',
    ...rows.map(({ bundle, level, ramBytes, quiet, talk, conditions }) => {
      const { clean, [LOUD]: loud, 'synthesised noise alone': alone } = conditions
      const cells = [
        missed(clean!),
        missed(loud!),
        perHour(clean!.falseWakes['sentences']),
        perHour(alone!.falseWakes['noise']),
      ]
      return `| \`${bundle}\` at ${level} | ${cells.join(' | ')} | ${ramBytes} | ${joules(quiet)} | ${joules(talk)} |`
    }),
  ].join('\n')
}

/** False wakes of every kind in a condition. */
export const falseWakesOf = ({ falseWakes }: Counts): number =>
  Object.values(falseWakes).reduce((sum, { wakes }) => sum + wakes, 0)

/** Whether one is nowhere worse than the other: neither more misses nor more false wakes, in any condition. */
export const nowhereWorse = (one: Readonly<Record<string, Counts>>, other: Readonly<Record<string, Counts>>): boolean =>
  Object.entries(other).every(
    ([condition, counts]) =>
      one[condition]!.misses <= counts.misses && falseWakesOf(one[condition]!) <= falseWakesOf(counts),
  )
