import { present } from '../../contract/present.ts'
import { declaredGateable } from '../rollout/declared-signals.ts'
import { type DeclaredPlaces, declaredPlaces, type Signal, signalOf } from '../rollout/signals.ts'
import type { ReleaseRecord } from '../store/model-store.ts'
import { HOUR_MS } from '../store/telemetry-store.ts'

/** A histogram whose shape is followed. */
export interface FollowedHistogram {
  readonly name: string
  /** first of its bins in the numbers of an hour, and how many */
  readonly at: number
  readonly length: number
}

/** What drift follows of the devices on a model: every signal of hours for which somebody has said which direction harms, and the shape of
 *  every histogram. */
export interface Followed {
  readonly places: DeclaredPlaces
  readonly signals: readonly Signal[]
  readonly histograms: readonly FollowedHistogram[]
}

/** Of the time in which it listens: a device that is asked to listen less has not changed. */
const DUTY_CYCLE: Signal = {
  name: 'dutyCycle',
  words: 'duty cycle',
  worse: 'higher',
  kind: 'amount',
  ofHour: ({ activeMs, listeningMs }) => [activeMs / HOUR_MS, listeningMs / HOUR_MS],
}

/** What every model has. */
const FIXED: readonly Signal[] = [present(signalOf({ name: 'falseWakesPerHour' }), 'a signal of wakes'), DUTY_CYCLE]

/** @param release undefined: nothing is known of the model but that devices run it */
export function followedOf(release: ReleaseRecord | undefined): Followed {
  const places = declaredPlaces(release?.signals ?? [])
  const signals = declaredGateable(places).flatMap((metric) => signalOf(metric) ?? [])
  const histograms = [...places].flatMap(([name, { signal, at, length }]) =>
    signal.kind === 'histogram' ? [{ name, at, length }] : [],
  )
  return { places, signals: [...FIXED, ...signals], histograms }
}

/** For people. @returns undefined when it is one that gates know, or a bundle's own */
export const driftWords = (name: string): string | undefined =>
  name === NOISE_FLOOR ? 'noise floor' : FIXED.find((signal) => signal.name === name)?.words

/** The histogram that every model has: how loud it is where it listens, or how much it shakes. */
export const NOISE_FLOOR = 'noiseFloor'
