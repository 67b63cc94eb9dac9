import type { SlotOutcome } from '../store/outcome-store.ts'

/** What a gate can read of a device. Nothing else in the gate, its evidence or its words knows one signal from another. */
export interface Signal {
  readonly name: string
  readonly words: string
  /** the direction that harms */
  readonly worse: 'higher' | 'lower'
  /** `count`: events over exposure; `amount`: a sum over exposure; `first`: the first event of a device */
  readonly kind: 'count' | 'amount' | 'first'
  /** of one hour of a device: events or amount, and exposure. Absent where the source is not the hours */
  readonly ofHour?: (hour: SlotOutcome) => readonly [y: number, x: number]
  /** wakes that the verifier could not judge say nothing: the exposure of a device is taken times the judged share of its wakes */
  readonly ofJudged?: boolean
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
    ofJudged: true,
  },
  {
    name: 'verifiedWakesPerHour',
    words: 'verified wakes per hour',
    worse: 'lower',
    kind: 'count',
    ofHour: ({ confirmed, listeningMs }) => [confirmed, listeningMs / HOUR_MS],
    ofJudged: true,
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

/** @returns undefined when the gate knows no such signal */
export const signalOf = (name: string): Signal | undefined => BY_NAME.get(name)
