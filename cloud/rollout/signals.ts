import { present } from '../../contract/present.ts'
import { type SignalPlace, signalPlaces } from '../../contract/signals.ts'
import type { DeclaredSignal } from '../store/gate-policy.ts'
import type { PipelineSignals } from '../store/model-store.ts'
import type { SlotOutcome, Verdicts } from '../store/outcome-store.ts'

/** Where the numbers of each signal that a model's bundle declares are, by the signal's name for the gate. */
export type DeclaredPlaces = ReadonlyMap<string, SignalPlace>

/** What a gate can read of a device. Nothing else in the gate, its evidence or its words knows one signal from another. */
export interface Signal {
  /** of one that a bundle declares: `pipeline/name` */
  readonly name: string
  readonly words: string
  /** the direction that harms */
  readonly worse: 'higher' | 'lower'
  /** `count`: events over exposure; `amount`: a sum over exposure; `first`: the first event of a device */
  readonly kind: 'count' | 'amount' | 'first'
  /** of one hour of a device: events or amount, and exposure. Absent where the source is not the hours
   *  @param places of the model that it ran */
  readonly ofHour?: (hour: SlotOutcome, places: DeclaredPlaces) => readonly [y: number, x: number]
  /** wakes that the verifier could not judge say nothing: the exposure of a device is taken times the judged share of these wakes */
  readonly judged?: (hour: SlotOutcome, places: DeclaredPlaces) => Verdicts
  /** where the first event is looked for otherwise */
  readonly source?: 'contact' | 'restarts' | 'events'
  /** codes of events that count */
  readonly codes?: readonly string[]
  /** service level against which exposed devices are held where there is no control: share that may have the event */
  readonly level?: number
}

const HOUR_MS = 3_600_000

export const SIGNALS: readonly Signal[] = [
  {
    name: 'falseWakesPerHour',
    words: 'false wakes per hour',
    worse: 'higher',
    kind: 'count',
    ofHour: ({ rejected, listeningMs }) => [rejected, listeningMs / HOUR_MS],
    judged: (hour) => hour,
  },
  {
    name: 'verifiedWakesPerHour',
    words: 'verified wakes per hour',
    worse: 'lower',
    kind: 'count',
    ofHour: ({ confirmed, listeningMs }) => [confirmed, listeningMs / HOUR_MS],
    judged: (hour) => hour,
  },
  {
    name: 'energyPerHour',
    words: 'energy per hour (mJ)',
    worse: 'higher',
    kind: 'amount',
    ofHour: ({ energyMj, uptimeMs }) => [energyMj, uptimeMs / HOUR_MS],
  },
  {
    name: 'activeFraction',
    words: 'active fraction',
    worse: 'higher',
    kind: 'amount',
    ofHour: ({ activeMs, uptimeMs }) => [activeMs, uptimeMs],
  },
  {
    name: 'listeningShare',
    words: 'listening share',
    worse: 'lower',
    kind: 'amount',
    ofHour: ({ listeningMs, uptimeMs }) => [listeningMs, uptimeMs],
  },
  {
    name: 'latency',
    words: 'latency (ms)',
    worse: 'higher',
    kind: 'amount',
    ofHour: ({ inferenceMs, inferences }) => (inferenceMs > 0 ? [inferenceMs, inferences] : [0, 0]),
  },
  { name: 'overruns', words: 'overruns', worse: 'higher', kind: 'first', ofHour: ({ overruns }) => [overruns, 1] },
  { name: 'contact', words: 'devices fallen silent', worse: 'higher', kind: 'first', source: 'contact', level: 0.05 },
  { name: 'restarts', words: 'restarts', worse: 'higher', kind: 'first', source: 'restarts' },
  {
    name: 'reverts',
    words: 'reverts after confirming',
    worse: 'higher',
    kind: 'first',
    source: 'events',
    codes: ['reverted', 'fell-back'],
    level: 0.05,
  },
  {
    name: 'engineFaults',
    words: 'engine faults',
    worse: 'higher',
    kind: 'first',
    source: 'events',
    codes: ['engine-failed'],
    level: 0.05,
  },
]

const BY_NAME: ReadonlyMap<string, Signal> = new Map(SIGNALS.map((signal) => [signal.name, signal]))

/** What a policy names.
 *  @param metric with what its model declares, if it is such a signal
 *  @returns undefined when the gate knows no such signal */
export function signalOf(metric: {
  readonly name: string
  readonly declared?: DeclaredSignal | undefined
}): Signal | undefined {
  return metric.declared === undefined ? BY_NAME.get(metric.name) : fromDeclared(metric.name, metric.declared)
}

/** For people. */
export const signalWords = (name: string): string => BY_NAME.get(name)?.words ?? name

const NO_VERDICTS: Verdicts = { confirmed: 0, rejected: 0, unjudged: 0 }

function fromDeclared(name: string, { signal, worse }: DeclaredSignal): Signal {
  const numberAt = ({ numbers }: SlotOutcome, { at }: SignalPlace, index: number): number => numbers[at + index] ?? 0
  const ofPlace =
    (read: (hour: SlotOutcome, place: SignalPlace) => readonly [y: number, x: number]) =>
    (hour: SlotOutcome, places: DeclaredPlaces): readonly [y: number, x: number] => {
      const place = places.get(name)
      return place === undefined ? [0, 0] : read(hour, place)
    }
  const shared = { name, words: name, worse }
  switch (signal.kind) {
    case 'count': {
      const { per, verdict } = signal
      const exposure = EXPOSURE[per]
      if (verdict === undefined) {
        return {
          ...shared,
          kind: 'count',
          ofHour: ofPlace((hour, place) => [numberAt(hour, place, 0), exposure(hour)]),
        }
      }
      const verdictsOf = (hour: SlotOutcome, { pipeline }: SignalPlace): Verdicts =>
        hour.verdicts.get(pipeline) ?? NO_VERDICTS
      const judged = (hour: SlotOutcome, places: DeclaredPlaces): Verdicts => {
        const place = places.get(name)
        return place === undefined ? NO_VERDICTS : verdictsOf(hour, place)
      }
      const ofHour = ofPlace((hour, place) => [verdictsOf(hour, place)[verdict], exposure(hour)])
      // How many could not be judged is known of all.
      return { ...shared, kind: 'count', ofHour, ...(verdict !== 'unjudged' && { judged }) }
    }
    case 'ratio':
      return {
        ...shared,
        kind: 'count',
        ofHour: ofPlace((hour, place) => [numberAt(hour, place, 1), numberAt(hour, place, 0)]),
      }
    // Above the lowest that it can say, since a ratio needs a zero.
    case 'mean':
      return {
        ...shared,
        kind: 'amount',
        ofHour: ofPlace((hour, place) => [signal.step * numberAt(hour, place, 1), numberAt(hour, place, 0)]),
      }
  }
}

const EXPOSURE = {
  'listening-hour': ({ listeningMs }: SlotOutcome) => listeningMs / HOUR_MS,
  hour: ({ uptimeMs }: SlotOutcome) => uptimeMs / HOUR_MS,
  inference: ({ inferences }: SlotOutcome) => inferences,
} as const

/** @param pipelines as a release declares them */
export function declaredPlaces(pipelines: readonly PipelineSignals[]): DeclaredPlaces {
  const places = signalPlaces(pipelines.map(({ signals }) => signals))
  return new Map(
    places.map((place) => {
      const { id } = present(pipelines[place.pipeline], 'the pipeline of a signal')
      return [`${id}/${place.signal.name}`, place]
    }),
  )
}
