import * as z from 'zod/mini'
import { nameField } from './fields.ts'
import { LIMITS } from './limits.ts'

/** What a pipeline of a model counts, as its bundle declares it. A report carries the numbers of all pipelines in one list, cumulative per
 *  boot, in the order of the bundle: each signal takes `signalLength` numbers of it. So whoever only adds up need not know the bundle,
 *  and whoever reads the sums asks it what they mean. */

const shared = {
  name: nameField,
  /** for people: `wakes`, `°C`, `permille` */
  unit: z.string().check(z.maxLength(LIMITS.nameLength)),
  /** the direction that harms; null: neither */
  harm: z.nullable(z.enum(['higher', 'lower'])),
}
const edge = z.number().check(z.refine(Number.isFinite, 'a finite number'))

const numeric = [
  /** Events over an exposure. A number of its own, or, with `verdict`, what a verifier said of the pipeline's events: then the device sends
   *  none, since the gateway counts them. */
  z.strictObject({
    ...shared,
    kind: z.literal('count'),
    per: z.enum(['listening-hour', 'hour', 'inference']),
    verdict: z.optional(z.enum(['confirmed', 'rejected', 'unjudged'])),
  }),
  /** Two numbers: of how many, and how many of them. */
  z.strictObject({ ...shared, kind: z.literal('ratio') }),
  /** Two numbers: of how many, and their sum, in steps of `step` above `lowest`: what is below counts as `lowest`. */
  z.strictObject({ ...shared, kind: z.literal('mean'), lowest: edge, step: z.number().check(z.gt(0)) }),
] as const

/** Of which there is one number: a rate, a share or a mean. */
export const numericSignalSchema = z.discriminatedUnion('kind', numeric)

export const signalSchema = z.discriminatedUnion('kind', [
  ...numeric,
  /** A number a bin: up to and with each edge, rising, and above the last. */
  z.strictObject({
    ...shared,
    kind: z.literal('histogram'),
    edges: z
      .array(edge)
      .check(z.minLength(1), z.maxLength(LIMITS.histogramBins - 1))
      .check(z.refine((edges) => edges.every((value, i) => i === 0 || value > (edges[i - 1] ?? 0)), 'edges that rise')),
  }),
])
export type Signal = z.infer<typeof signalSchema>

/** Numbers that a signal takes in a report. */
export function signalLength(signal: Signal): number {
  switch (signal.kind) {
    case 'count':
      return signal.verdict === undefined ? 1 : 0
    case 'ratio':
    case 'mean':
      return 2
    case 'histogram':
      return signal.edges.length + 1
  }
}

/** Where a signal's numbers are. */
export interface SignalPlace {
  /** index of the pipeline in its bundle */
  readonly pipeline: number
  readonly signal: Signal
  /** first of its numbers in a report's list; `length` 0: a verifier's, nowhere in it */
  readonly at: number
  readonly length: number
}

/** @param pipelines signals of each pipeline, in the order of the bundle */
export function signalPlaces(pipelines: readonly (readonly Signal[])[]): readonly SignalPlace[] {
  let at = 0
  return pipelines.flatMap((signals, pipeline) =>
    signals.map((signal) => {
      const length = signalLength(signal)
      const place = { pipeline, signal, at, length }
      at += length
      return place
    }),
  )
}

/** Adds what one event or window says to a report's numbers.
 *  @param numbers of the whole report, changed in place
 *  @param value of a count: how many; of a ratio: 1 where it is one of them, or else 0; of the others: the value itself. What is no finite
 *    number is not counted: a broken network must not stop a report */
export function addToSignal({ signal, at, length }: SignalPlace, numbers: number[], value: number): void {
  if (length === 0 || !Number.isFinite(value)) return
  const add = (index: number, by: number): void => {
    numbers[at + index] = Math.min(LIMITS.signalNumber, (numbers[at + index] ?? 0) + by)
  }
  switch (signal.kind) {
    case 'count':
      add(0, Math.max(0, Math.round(value)))
      break
    case 'ratio':
      add(0, 1)
      if (value > 0) add(1, 1)
      break
    case 'mean': {
      const steps = Math.max(0, Math.round((value - signal.lowest) / signal.step))
      // Together, or the mean would sink once one of them is at its bound.
      if ((numbers[at + 1] ?? 0) + steps > LIMITS.signalNumber) break
      add(0, 1)
      add(1, steps)
      break
    }
    case 'histogram': {
      const bin = signal.edges.findIndex((most) => value <= most)
      add(bin < 0 ? signal.edges.length : bin, 1)
      break
    }
  }
}
