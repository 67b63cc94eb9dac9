import * as z from 'zod'
import { LADDER_LEVELS } from '../../contract/ladder-levels.ts'
import { LIMITS } from '../../contract/limits.ts'
import { signalSchema } from '../../contract/signals.ts'
import { BOARDS } from '../../model/boards.ts'
import { namedField, quantizationField } from './pack-spec.ts'

/** A pack file of pipelines: what a person decides, and defaults for the rest. `docs/bundle.md` explains each field. */

const rate = z.number().positive()
const inputSchema = z
  .strictObject({
    audio: rate.optional(),
    vectors: z.strictObject({ channels: z.int().min(1).max(256), rate }).optional(),
    image: z
      .strictObject({
        width: z.int().positive(),
        height: z.int().positive(),
        channels: z.int().min(1).max(4),
        everyMs: z.number().positive(),
      })
      .optional(),
  })
  .refine(
    (input) => Object.keys(input).length === 1,
    'an input is one of audio: RATE, vectors: {channels, rate}, image: {width, height, channels, everyMs}',
  )

/** Windows of the input as it comes. */
const windowSchema = z.strictObject({
  /** samples or vectors of a window, and from one to the next */
  length: z.int().positive(),
  every: z.int().positive(),
  /** of zeros that stand before the first */
  lead: z.int().nonnegative().default(0),
  /** what is taken from each value before that, of pictures 127.5 where the network reads -1 to 1 */
  offset: z.number().default(0),
  /** what each value is multiplied by: 32768 for networks that read 16-bit sound */
  gain: z.number().positive().default(1),
})

const dims = z.array(z.int().positive()).max(LIMITS.tensorRank)
const graphSchema = z
  .union([
    z
      .string()
      .min(1)
      .transform((file) => ({ file })),
    z.looseObject({ file: z.string().min(1) }),
  ])
  .pipe(
    z.strictObject({
      file: z.string(),
      /** default: made of the file's name */
      id: namedField('the id of a graph').optional(),
      /** of what the graph before gives: rows that are its window; default: that as it is */
      rows: z.int().positive().optional(),
      step: z.int().positive().optional(),
      divisor: z.number().default(1),
      offset: z.number().default(0),
      fill: z.number().nullable().default(null),
      /** ends, where the file alone does not say which is which */
      input: z.string().optional(),
      inputDims: dims.optional(),
      output: z.string().optional(),
      states: z.record(z.string(), z.string()).optional(),
      stateDims: dims.optional(),
      constants: z.record(z.string(), z.union([z.number(), z.array(z.number())])).optional(),
      inputQuantization: quantizationField.nullable().default(null),
      outputQuantization: quantizationField.nullable().default(null),
      /** of a graph that nobody can plan: what it may take */
      ramBytes: z.int().positive().optional(),
      macs: z.int().nonnegative().optional(),
    }),
  )

const gate = z.strictObject({ marginDb: z.number(), hangoverMs: z.int().nonnegative() }).nullable()
const hopFrames = z.int().positive()
const label = z.string().min(1).max(LIMITS.labelLength)
const smoothingWindows = z.int().min(1).max(32).default(1)
const milliseconds = (default_: number) => z.int().nonnegative().default(default_)
/** Chosen: nobody says a word twice within two seconds, or wants a device to wait for more than five. */
const REFRACTORY_MS = 2_000
const HOLD_MS = 5_000

const heads = {
  wake: z
    .strictObject({
      labels: z.array(label).min(1),
      threshold: z.union([z.number().min(0).max(1), z.array(z.number().min(0).max(1))]).default(0.5),
      smoothingWindows,
      refractoryMs: milliseconds(REFRACTORY_MS),
      wakeHoldMs: milliseconds(HOLD_MS),
      ignoreLabels: z.array(label).default([]),
    })
    .optional(),
  classification: z.strictObject({ labels: z.array(label).min(1), smoothingWindows }).optional(),
  anomaly: z
    .strictObject({
      threshold: z.number().positive(),
      /** default: nine tenths of the threshold */
      rearm: z.number().positive().optional(),
      score: z.enum(['reconstruction', 'output']).default('reconstruction'),
      smoothingWindows,
      refractoryMs: milliseconds(REFRACTORY_MS),
      holdMs: milliseconds(HOLD_MS),
    })
    .optional(),
  regression: z
    .strictObject({
      unit: z.string().max(LIMITS.nameLength),
      range: z.tuple([z.number(), z.number()]),
      scale: z.number().default(1),
      offset: z.number().default(0),
      smoothingWindows,
    })
    .optional(),
}
export const HEADS = ['wake', 'classification', 'anomaly', 'regression'] as const

const pipelineSchema = z
  .strictObject({
    id: namedField('the id of a pipeline'),
    /** default: windows, or MLPerf Tiny's keyword-spotting MFCC; of pictures these */
    features: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.number())])).optional(),
    window: windowSchema.optional(),
    /** default: what holds the golden windows */
    featureQuantization: quantizationField.optional(),
    graphs: z.array(graphSchema).min(1, 'a pipeline needs a graph').max(LIMITS.pipelineGraphs),
    hopFrames: hopFrames.optional(),
    gate: gate.default(null),
    signals: z.array(signalSchema).max(LIMITS.signals).optional(),
    ...heads,
  })
  .refine(
    (pipeline) => HEADS.filter((head) => pipeline[head] !== undefined).length === 1,
    `a pipeline has one head: ${HEADS.join(', ')}`,
  )
  .refine(
    (pipeline) => pipeline.features === undefined || pipeline.window === undefined,
    'features and window are two front ends: give one',
  )

const runSchema = z.union([
  z.literal('off'),
  z.strictObject({
    graphs: z.array(graphSchema).min(1).optional(),
    hopFrames: hopFrames.optional(),
    gate: gate.optional(),
  }),
])

export const pipelineFileSchema = z
  .strictObject({
    name: namedField('a name'),
    version: z.int().positive(),
    parent: z.string().nullable().default(null),
    securityCounter: z.int().nonnegative().default(0),
    input: inputSchema.default({ audio: 16_000 }),
    pipelines: z.array(pipelineSchema).min(1).max(LIMITS.pipelines),
    /** default: one level at which all run as they are; a pipeline that a level does not name runs as it is */
    ladder: z
      .array(
        z.strictObject({
          level: z.enum(LADDER_LEVELS),
          pipelines: z.record(z.string(), runSchema).default({}),
        }),
      )
      .min(1)
      .default([{ level: 'full', pipelines: {} }]),
    boards: z.array(z.string()).default([]),
    golden: z
      .strictObject({
        audio: z.string().optional(),
        count: z.int().positive().max(LIMITS.goldenVectors).optional(),
        tolerance: z.number().nonnegative().optional(),
      })
      .default({}),
    /** folder of labelled recordings that the levels are measured on, as `kinglet model curve` reads it */
    measure: z.string().optional(),
    card: z.string().optional(),
  })
  .superRefine((spec, context) => {
    const refuse = (message: string, ...path: (string | number)[]) =>
      context.addIssue({ code: 'custom', message, path })
    const ids = spec.pipelines.map(({ id }) => id)
    for (const [at, id] of ids.entries())
      if (ids.indexOf(id) !== at) refuse(`two pipelines have the id "${id}"`, 'pipelines', at, 'id')
    for (const [at, { level, pipelines }] of spec.ladder.entries()) {
      if (spec.ladder.findIndex((other) => other.level === level) !== at)
        refuse(`level ${level} is there twice`, 'ladder', at, 'level')
      for (const id of Object.keys(pipelines)) {
        if (!ids.includes(id))
          refuse(
            `level ${level} names the pipeline "${id}"; this file's are ${ids.join(', ')}`,
            'ladder',
            at,
            'pipelines',
            id,
          )
      }
    }
    for (const [at, { wake }] of spec.pipelines.entries()) {
      if (wake === undefined) continue
      if (Array.isArray(wake.threshold) && wake.threshold.length !== wake.labels.length)
        refuse(
          `${wake.threshold.length} thresholds for ${wake.labels.length} labels`,
          'pipelines',
          at,
          'wake',
          'threshold',
        )
      const stray = wake.ignoreLabels.find((one) => !wake.labels.includes(one))
      if (stray !== undefined)
        refuse(`"${stray}" is no label; labels are ${wake.labels.join(', ')}`, 'pipelines', at, 'wake', 'ignoreLabels')
    }
    for (const [at, board] of spec.boards.entries()) {
      if (BOARDS.some((known) => known.name === board)) continue
      refuse(`no board "${board}"; boards are ${BOARDS.map((known) => known.name).join(', ')}`, 'boards', at)
    }
  })
export type PipelineFile = z.infer<typeof pipelineFileSchema>
export type PipelineSpec = PipelineFile['pipelines'][number]
export type GraphSpec = PipelineSpec['graphs'][number]
