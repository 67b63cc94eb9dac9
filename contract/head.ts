import * as z from 'zod/mini'
import { uintField } from './fields.ts'
import { LIMITS } from './limits.ts'
import { finite, labelsField, permille, wakePolicySchema } from './manifest-fields.ts'
import type { Signal } from './signals.ts'

/** What a pipeline's last graph says, and what is made of it. */

const positive = z.number().check(z.gt(0))
const smoothingWindows = z.int().check(z.minimum(1), z.maximum(32))

export const headSchema = z.discriminatedUnion('kind', [
  /** One or several words, by a posterior each. */
  z.strictObject({
    kind: z.literal('wake'),
    labels: labelsField,
    policy: wakePolicySchema,
    /** one a label, in place of the policy's threshold; null: that one for all */
    cutoffs: z.nullable(z.array(permille).check(z.maxLength(LIMITS.labels))),
  }),
  /** The best label of a mean over the newest windows. Sends nothing but its signals. */
  z.strictObject({ kind: z.literal('classification'), labels: labelsField, smoothingWindows }),
  /** A score against a threshold. */
  z.strictObject({
    kind: z.literal('anomaly'),
    /** `reconstruction`: mean squared difference of the last graph's output and its input; `output`: its one output */
    score: z.enum(['reconstruction', 'output']),
    /** the mean over the newest windows that alarms, and below which the next alarm is armed */
    threshold: positive,
    rearm: positive,
    smoothingWindows,
    refractoryMs: uintField,
    /** how long the device stays awake after an alarm */
    holdMs: uintField,
  }),
  /** A number: scale × output + offset, as a mean over the newest windows. */
  z.strictObject({
    kind: z.literal('regression'),
    unit: z.string().check(z.maxLength(LIMITS.nameLength)),
    scale: finite,
    offset: finite,
    /** what it can come to, for its mean in reports */
    lowest: finite,
    highest: finite,
    smoothingWindows,
  }),
])
export type Head = z.infer<typeof headSchema>

/** What a wake message's label is an index into. */
export const labelsOf = (head: Head): readonly string[] => {
  switch (head.kind) {
    case 'wake':
    case 'classification':
      return head.labels
    case 'anomaly':
      return ['anomaly']
    case 'regression':
      return []
  }
}

/** ms that an event of this head keeps the device awake. */
export const holdMsOf = (head: Head): number =>
  head.kind === 'wake' ? head.policy.wakeHoldMs : head.kind === 'anomaly' ? head.holdMs : 0

/** A label as a part of a signal's name. */
const slug = (label: string): string =>
  label
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 24)

/** Name of the source that tells whether a window's best label is this one. */
const shareOf = (labels: readonly string[], index: number): string => {
  const slugs = labels.map(slug)
  const own = slugs[index] ?? ''
  return `share-${own === '' || slugs.filter((other) => other === own).length > 1 ? index : own}`
}

/** What a head can count. `events` are the wakes and alarms that were sent, `values` come of each window. */
export interface HeadSources {
  readonly events: string | undefined
  /** in the order of what a head says of a window */
  readonly values: readonly string[]
}

export function sourcesOf(head: Head): HeadSources {
  switch (head.kind) {
    case 'wake':
      /** smoothed posterior of the best word, permille */
      return { events: 'wakes', values: ['posterior'] }
    case 'classification':
      /** smoothed posterior of the best label, permille; then of each label whether it is the best */
      return { events: undefined, values: ['confidence', ...head.labels.map((_, i) => shareOf(head.labels, i))] }
    case 'anomaly':
      /** smoothed, in its own unit */
      return { events: 'alarms', values: ['score'] }
    case 'regression':
      return { events: undefined, values: ['value'] }
  }
}

/** The source that a signal counts, by its name: the source's own, or with more behind a dash, where several look at one source.
 *  @returns undefined: none of this head */
export function sourceOf(signal: Signal, { events, values }: HeadSources): string | undefined {
  const all = events === undefined ? values : [events, ...values]
  return all
    .filter((source) => signal.name === source || signal.name.startsWith(`${source}-`))
    .sort((a, b) => b.length - a.length)[0]
}

/** @returns the fault of a head and what it is to count, in words */
export function headFault(head: Head, signals: readonly Signal[]): string | undefined {
  if (head.kind === 'wake') {
    const stray = head.policy.ignoreLabels.find((label) => !head.labels.includes(label))
    if (stray !== undefined) return `ignored label "${stray}" is not a label`
    if (head.cutoffs !== null && head.cutoffs.length !== head.labels.length)
      return `${head.cutoffs.length} cutoffs for ${head.labels.length} labels`
  }
  if (head.kind === 'anomaly' && head.rearm > head.threshold) return 'it would be armed above its threshold'
  if (head.kind === 'regression' && !(head.lowest < head.highest)) return 'its lowest value is not below its highest'
  if (new Set(signals.map(({ name }) => name)).size !== signals.length) return 'two signals have one name'
  const sources = sourcesOf(head)
  for (const signal of signals) {
    if (signal.kind === 'count' && signal.verdict !== undefined) {
      if (sources.events === undefined) return `signal "${signal.name}": no verifier judges a ${head.kind} head`
      continue
    }
    const source = sourceOf(signal, sources)
    const known = [...(sources.events === undefined ? [] : [sources.events]), ...sources.values].join(', ')
    if (source === undefined) return `signal "${signal.name}" counts nothing: a ${head.kind} head has ${known}`
    if ((source === sources.events) !== (signal.kind === 'count'))
      return `signal "${signal.name}": ${source} ${source === sources.events ? 'are events and make a count' : 'is a value and makes no count'}`
  }
  return undefined
}

/** Chosen: steps of a mean. A report's number ends at 2^32, which is 21 million windows of the highest value: eight months of one a second. */
const MEAN_STEPS = 200

/** What a head counts when its packer says nothing. Histograms have few bins, so that four pipelines fit a report of 400 bytes. */
export function defaultSignals(head: Head): readonly Signal[] {
  const events = (name: string): Signal[] => [
    { kind: 'count', name, unit: name, harm: null, per: 'listening-hour' },
    { kind: 'count', name: `false-${name}`, unit: name, harm: 'higher', per: 'listening-hour', verdict: 'rejected' },
    { kind: 'count', name: `true-${name}`, unit: name, harm: 'lower', per: 'listening-hour', verdict: 'confirmed' },
  ]
  switch (head.kind) {
    case 'wake':
      return [
        ...events('wakes'),
        { kind: 'histogram', name: 'posterior', unit: 'permille', harm: null, edges: [100, 400, 750, 900] },
      ]
    case 'classification': {
      const shares = head.labels.map(
        (_, i): Signal => ({ kind: 'ratio', name: shareOf(head.labels, i), unit: 'windows', harm: null }),
      )
      const confidence: Signal = {
        ...{ kind: 'mean', name: 'confidence', unit: 'permille', harm: 'lower', lowest: 0, step: 1_000 / MEAN_STEPS },
      }
      // More labels than a head may count: which is told by its mean confidence alone.
      return shares.length < LIMITS.signals ? [...shares, confidence] : [confidence]
    }
    case 'anomaly': {
      const { threshold } = head
      const edges = [0.25, 0.5, 0.75, 1].map((share) => share * threshold)
      return [...events('alarms'), { kind: 'histogram', name: 'score', unit: 'score', harm: null, edges }]
    }
    case 'regression':
      return [
        {
          ...{ kind: 'mean', name: 'value', unit: head.unit, harm: null },
          ...{ lowest: head.lowest, step: (head.highest - head.lowest) / MEAN_STEPS },
        },
      ]
  }
}
