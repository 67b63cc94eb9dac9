import * as z from 'zod/mini'
import { boardField, nameField, sha256Field, uintField } from './fields.ts'
import { headFault, headSchema } from './head.ts'
import { LADDER_LEVELS } from './ladder-levels.ts'
import { type LevelMeasures, levelMeasuresSchema } from './level-measures.ts'
import { LIMITS } from './limits.ts'
import { finite, gateField, graphFields, hopFramesField, levelField, quantizationSchema } from './manifest-fields.ts'
import { err, ok, type Result } from './result.ts'
import { signalLength, signalSchema } from './signals.ts'

/** What a device senses and all pipelines of a bundle read. */
export const INPUT_KINDS = ['audio', 'vectors', 'image'] as const
const rate = z.number().check(z.gt(0), z.maximum(1_000_000))
const count = (most: number) => z.int().check(z.minimum(1), z.maximum(most))
const inputSchema = z.discriminatedUnion('kind', [
  /** mono, samples in [-1, 1) */
  z.strictObject({ kind: z.literal('audio'), sampleRateHz: rate }),
  /** vector after vector, as of an accelerometer */
  z.strictObject({ kind: z.literal('vectors'), channels: count(256), sampleRateHz: rate }),
  /** picture after picture, row by row, a pixel's channels beside each other, each a raw byte: 0 to 255 */
  z.strictObject({
    kind: z.literal('image'),
    width: count(4_096),
    height: count(4_096),
    channels: count(4),
    /** ms from one picture to the next */
    everyMs: z.number().check(z.gt(0), z.maximum(86_400_000)),
  }),
])
export type BundleInput = z.infer<typeof inputSchema>

const tensorName = z.string().check(z.minLength(1), z.maxLength(LIMITS.tensorNameLength))
const dimsField = z.array(count(LIMITS.bufferValues)).check(z.maxLength(LIMITS.tensorRank))

/** Ends of a graph that has more than one of a kind, or leaves shapes open. */
const endsSchema = z.strictObject({
  /** what a window goes into; `dims` where the file leaves more than the batch open */
  input: z.strictObject({ name: tensorName, dims: z.nullable(dimsField) }),
  /** what the result comes from */
  output: tensorName,
  /** what is fed back: an output of one window is the input of the next, and zeros at the beginning */
  states: z
    .array(z.strictObject({ input: tensorName, output: tensorName, dims: dimsField }))
    .check(z.maxLength(LIMITS.graphEnds)),
  /** inputs that stay as they are, such as a sample rate */
  constants: z
    .array(
      z.strictObject({ input: tensorName, dims: dimsField, values: z.array(finite).check(z.maxLength(LIMITS.labels)) }),
    )
    .check(z.maxLength(LIMITS.graphEnds)),
})
/** Ends of a graph as a bundle states them. */
export type GraphEnds = z.infer<typeof endsSchema>

const graphSchema = z.strictObject({
  ...graphFields,
  /** false: the planner does not know all of its operators, and the figures are what its packer states */
  planned: z.boolean(),
  ends: z.nullable(endsSchema),
})

/** What lies between two graphs: the newest rows of what the first gives are the window of the second. */
const linkSchema = z.strictObject({
  /** values of a row, and rows that a run of the graph before gives */
  rowValues: count(LIMITS.bufferValues),
  rowsPerRun: count(LIMITS.bufferRows),
  /** rows of a window, and new ones from one window to the next */
  rows: count(LIMITS.bufferRows),
  step: count(LIMITS.bufferRows),
  /** each value on its way, in float32: value / divisor + offset */
  divisor: z.number().check(z.refine((value) => value !== 0, 'a divisor that is not 0')),
  offset: finite,
  /** null: the first window waits until its rows have come; otherwise rows of this value stand in for those */
  fill: z.nullable(finite),
})
export type PipelineLink = z.infer<typeof linkSchema>

/** Definition of a front end, `FeatureDefinition` of model/features; the contract only carries and hashes it. */
const featuresSchema = z.record(
  z.string().check(z.maxLength(LIMITS.nameLength)),
  z.union([z.string(), z.number(), z.boolean(), z.array(z.number()).check(z.maxLength(256))]),
)
export type FeatureRecord = z.infer<typeof featuresSchema>

const pipelineSchema = z.strictObject({
  id: nameField,
  features: featuresSchema,
  /** of the window of the front end that a wake carries and golden inputs are stored as */
  featureQuantization: quantizationSchema,
  /** between its graphs, so one less than these */
  links: z.array(z.nullable(linkSchema)).check(z.maxLength(LIMITS.pipelineGraphs - 1)),
  head: headSchema,
  signals: z.array(signalSchema).check(z.maxLength(LIMITS.signals)),
})
export type Pipeline = z.infer<typeof pipelineSchema>

/** What a pipeline runs with at a level; null: it is off. */
const runSchema = z.nullable(
  z.strictObject({
    /** one after the other */
    graphs: z.array(nameField).check(z.minLength(1), z.maxLength(LIMITS.pipelineGraphs)),
    /** frames of its front end between windows */
    hopFrames: hopFramesField,
    gate: gateField,
  }),
)
export type PipelineRun = NonNullable<z.infer<typeof runSchema>>

const goldenCount = count(LIMITS.goldenVectors)
export const manifestV2Schema = z.strictObject({
  v: z.literal(2),
  name: nameField,
  version: uintField,
  /** sha256 of the bundle this model was trained from, or null */
  parent: z.nullable(sha256Field),
  securityCounter: uintField,
  input: inputSchema,
  graphs: z.array(graphSchema).check(z.minLength(1), z.maxLength(LIMITS.graphs)),
  pipelines: z.array(pipelineSchema).check(z.minLength(1), z.maxLength(LIMITS.pipelines)),
  /** best level first, with a run for each pipeline; `hibernate` needs no entry */
  ladder: z
    .array(
      z.strictObject({
        level: levelField,
        runs: z.array(runSchema).check(z.maxLength(LIMITS.pipelines)),
        /** what each pipeline was measured to do; null: not measured */
        measured: z.optional(z.array(z.nullable(levelMeasuresSchema)).check(z.maxLength(LIMITS.pipelines))),
      }),
    )
    .check(z.minLength(1), z.maxLength(LIMITS.ladderLevels)),
  boards: z.array(boardField).check(z.maxLength(LIMITS.boards)),
  golden: z.strictObject({
    /** windows of front ends, which several pipelines may share */
    inputs: z
      .array(z.strictObject({ count: goldenCount, inputLength: count(LIMITS.windowValues) }))
      .check(z.minLength(1), z.maxLength(LIMITS.pipelines)),
    /** a pipeline's windows in a row, from the beginning of what it remembers, and what comes out of its last graph */
    runs: z
      .array(
        z.strictObject({
          pipeline: z.int().check(z.minimum(0), z.maximum(LIMITS.pipelines - 1)),
          input: z.int().check(z.minimum(0), z.maximum(LIMITS.pipelines - 1)),
          graphs: z.array(nameField).check(z.minLength(1), z.maxLength(LIMITS.pipelineGraphs)),
          results: count(LIMITS.goldenResults),
          outputLength: count(LIMITS.windowValues),
        }),
      )
      .check(z.minLength(1), z.maxLength(LIMITS.pipelines)),
    /** largest accepted difference of any output, real units */
    tolerance: finite,
  }),
})
/** A manifest as version 2 writes it. */
export type PipelineManifest = z.infer<typeof manifestV2Schema>

/** What the schema cannot say. @returns the fault in words */
export function checkManifestV2(manifest: PipelineManifest): Result<void, string> {
  const { graphs, pipelines, ladder, golden, input } = manifest
  if (input.kind === 'image' && input.width * input.height * input.channels > LIMITS.windowValues)
    return err(`pictures of more than ${LIMITS.windowValues} values`)
  const ids = new Set(graphs.map(({ id }) => id))
  if (ids.size !== graphs.length) return err('two graphs have one id')
  if (new Set(pipelines.map(({ id }) => id)).size !== pipelines.length) return err('two pipelines have one id')
  let numbers = 0
  for (const pipeline of pipelines) {
    const fault = headFault(pipeline.head, pipeline.signals) ?? linkFault(pipeline.links)
    if (fault !== undefined) return err(`pipeline "${pipeline.id}": ${fault}`)
    numbers += pipeline.signals.reduce((sum, signal) => sum + signalLength(signal), 0)
  }
  if (numbers > LIMITS.signalNumbers)
    return err(`the signals take ${numbers} numbers of a report, at most ${LIMITS.signalNumbers}`)
  const order = ladder.map(({ level }) => LADDER_LEVELS.indexOf(level))
  if (order.some((level, i) => level <= (order[i - 1] ?? -1))) return err('ladder levels are not in descending order')
  /** @returns the fault of graphs that are to run in a pipeline */
  const chainFault = (index: number, chain: readonly string[]): string | undefined => {
    const pipeline = pipelines[index]
    if (pipeline === undefined) return `there is no pipeline ${index}`
    const unknown = chain.find((id) => !ids.has(id))
    if (unknown !== undefined) return `pipeline "${pipeline.id}" names an unknown graph "${unknown}"`
    if (new Set(chain).size !== chain.length) return `pipeline "${pipeline.id}" runs a graph twice`
    const wanted = pipeline.links.length + 1
    return chain.length === wanted
      ? undefined
      : `pipeline "${pipeline.id}" runs ${chain.length} graphs, its links join ${wanted}`
  }
  for (const { level, runs, measured } of ladder) {
    if (runs.length !== pipelines.length)
      return err(`level ${level} has runs of ${runs.length} pipelines, there are ${pipelines.length}`)
    if (runs.every((run) => run === null)) return err(`level ${level} runs no pipeline`)
    for (const [index, run] of runs.entries()) {
      const fault = run === null ? undefined : chainFault(index, run.graphs)
      if (fault !== undefined) return err(`level ${level}: ${fault}`)
    }
    const fault = measured === undefined ? undefined : measuresFault(runs, measured, manifest.boards)
    if (fault !== undefined) return err(`level ${level}: ${fault}`)
  }
  for (const run of golden.runs) {
    const fault = chainFault(run.pipeline, run.graphs)
    if (fault !== undefined) return err(`golden vectors: ${fault}`)
    if (golden.inputs[run.input] === undefined) return err(`golden vectors: there is no input ${run.input}`)
  }
  const silent = pipelines.find((_, index) => !golden.runs.some((run) => run.pipeline === index))
  return silent === undefined ? ok(undefined) : err(`pipeline "${silent.id}" has no golden vectors`)
}

function measuresFault(
  runs: PipelineManifest['ladder'][number]['runs'],
  measured: readonly (LevelMeasures | null)[],
  boards: readonly string[],
): string | undefined {
  if (measured.length !== runs.length) return `measures of ${measured.length} pipelines, there are ${runs.length}`
  for (const [index, own] of measured.entries()) {
    if (own === null) continue
    if (runs[index] === null) return `measures of pipeline ${index}, which is off`
    if (own.heard > own.words) return `${own.heard} of ${own.words} words heard`
    if (boards.length > 0 && !boards.includes(own.board))
      return `energy on ${own.board}, which the bundle does not list`
  }
  return undefined
}

function linkFault(links: Pipeline['links']): string | undefined {
  for (const link of links) {
    if (link === null) continue
    if (link.rows * link.rowValues > LIMITS.bufferValues)
      return `a buffer of ${link.rows} rows of ${link.rowValues} values, at most ${LIMITS.bufferValues} values`
  }
  return undefined
}
