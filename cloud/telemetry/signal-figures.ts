import type { BundleManifest } from '../../contract/manifest.ts'
import { type Signal, type SignalPlace, signalPlaces } from '../../contract/signals.ts'
import type { SignalSums } from '../store/fleet-store.ts'

/** What a fleet has counted of one declared signal. */
export interface SignalFigure {
  readonly pipeline: string
  readonly name: string
  readonly kind: Signal['kind']
  readonly unit: string
  readonly harm: Signal['harm']
  /** of a count: how many; of a ratio and a mean: of how many; of a histogram: in all bins */
  readonly count: number
  /** of a count per listening hour: its rate; of a ratio: the share; of a mean: the mean. null: nothing to divide by, or by what no sum has */
  readonly value: number | null
  /** of a histogram: upper edge of each bin and how many; the last is open (null) */
  readonly bins: readonly { readonly most: number | null; readonly count: number }[] | null
}

const HOUR_MS = 3_600_000
const over = (a: number, b: number): number | null => (b > 0 ? a / b : null)

/** Names what a model's devices have counted, as its bundle declares it. Sums of a model that says more numbers or fewer than it declares are
 *  read as far as they go: the rest is 0. */
export function signalFigures(
  { pipelines }: Pick<BundleManifest, 'pipelines'>,
  sums: SignalSums,
): readonly SignalFigure[] {
  return signalPlaces(pipelines.map(({ signals }) => signals)).map((place) => {
    const { pipeline, signal } = place
    const { name, kind, unit, harm } = signal
    return { pipeline: pipelines[pipeline]?.id ?? '', name, kind, unit, harm, ...readingOf(place, sums) }
  })
}

function readingOf(
  { pipeline, signal, at, length }: SignalPlace,
  sums: SignalSums,
): Pick<SignalFigure, 'count' | 'value' | 'bins'> {
  const numbers = Array.from({ length }, (_, i) => sums.signals[at + i] ?? 0)
  const [first = 0, second = 0] = numbers
  switch (signal.kind) {
    case 'count': {
      const { per, verdict } = signal
      const count = verdict === undefined ? first : (sums.verdicts.get(pipeline)?.[verdict] ?? 0)
      return { count, value: per === 'listening-hour' ? over(count, sums.listeningMs / HOUR_MS) : null, bins: null }
    }
    case 'ratio':
      return { count: first, value: over(second, first), bins: null }
    case 'mean': {
      const steps = over(second, first)
      return { count: first, value: steps === null ? null : signal.lowest + signal.step * steps, bins: null }
    }
    case 'histogram': {
      const bins = numbers.map((count, i) => ({ most: signal.edges[i] ?? null, count }))
      return { count: numbers.reduce((sum, count) => sum + count, 0), value: null, bins }
    }
  }
}
