import { sourceOf, sourcesOf } from '../../../contract/head.ts'
import type { BundleManifest } from '../../../contract/manifest.ts'
import { addToSignal, type SignalPlace, signalPlaces } from '../../../contract/signals.ts'

/** Where the signals of a bundle get their numbers from. */
export interface PipelineSignals {
  /** numbers of a report */
  readonly length: number
  /** Adds what a window says. @param values of the head's sources, in order */
  addWindow(numbers: number[], pipeline: number, values: readonly number[]): void
  /** Adds a wake or an alarm. */
  addEvent(numbers: number[], pipeline: number): void
}

export function pipelineSignals({ pipelines }: Pick<BundleManifest, 'pipelines'>): PipelineSignals {
  const places = signalPlaces(pipelines.map(({ signals }) => signals))
  /** by pipeline: places of its events, and of each value with its index */
  const fed = pipelines.map(({ head }, pipeline) => {
    const sources = sourcesOf(head)
    const events: SignalPlace[] = []
    const values: { readonly place: SignalPlace; readonly index: number }[] = []
    for (const place of places) {
      if (place.pipeline !== pipeline || place.length === 0) continue
      const source = sourceOf(place.signal, sources)
      if (source === undefined) continue
      if (source === sources.events) events.push(place)
      else values.push({ place, index: sources.values.indexOf(source) })
    }
    return { events, values }
  })
  return {
    length: places.reduce((sum, { length }) => sum + length, 0),
    addWindow(numbers, pipeline, given) {
      for (const { place, index } of fed[pipeline]?.values ?? []) {
        addToSignal(place, numbers, given[index] ?? Number.NaN)
      }
    },
    addEvent(numbers, pipeline) {
      for (const place of fed[pipeline]?.events ?? []) addToSignal(place, numbers, 1)
    },
  }
}
