import * as z from 'zod/mini'
import { boardField, nameField, sha256Field, uintField } from './fields.ts'
import { LADDER_LEVELS } from './ladder-levels.ts'
import { LIMITS } from './limits.ts'
import {
  finite,
  gateField,
  graphFields,
  hopFramesField,
  labelsField,
  levelField,
  quantizationSchema,
  wakePolicySchema,
} from './manifest-fields.ts'
import type { PipelineManifest } from './manifest-v2.ts'
import { err, ok, type Result } from './result.ts'

/** One level of the degradation ladder. */
const levelSchema = z.strictObject({
  level: levelField,
  graph: z.nullable(nameField),
  /** front-end frames between windows */
  hopFrames: hopFramesField,
  gate: gateField,
})

/** Feature definition, for example `MfccDefinition` of model/features; the contract only carries and hashes it. */
const featuresSchema = z.record(
  z.string().check(z.maxLength(LIMITS.nameLength)),
  z.union([z.string(), z.number(), z.boolean()]),
)

/** A manifest of one front end, one graph a level and one list of labels: what every bundle was before pipelines. */
export const manifestV1Schema = z.strictObject({
  v: z.literal(1),
  name: nameField,
  version: uintField,
  /** sha256 of the bundle this model was trained from, or null */
  parent: z.nullable(sha256Field),
  securityCounter: uintField,
  labels: labelsField,
  features: featuresSchema,
  /** quantization of the feature map that a wake carries and that int8 graphs read */
  featureQuantization: quantizationSchema,
  graphs: z.array(z.strictObject(graphFields)).check(z.minLength(1), z.maxLength(LIMITS.graphs)),
  /** best level first; `hibernate` needs no entry */
  ladder: z.array(levelSchema).check(z.minLength(1), z.maxLength(LIMITS.ladderLevels)),
  policy: wakePolicySchema,
  boards: z.array(boardField).check(z.maxLength(LIMITS.boards)),
  golden: z.strictObject({
    graph: nameField,
    count: z.int().check(z.minimum(1), z.maximum(LIMITS.goldenVectors)),
    inputLength: z.int().check(z.minimum(1), z.maximum(LIMITS.featureBytes)),
    outputLength: z.int().check(z.minimum(1), z.maximum(LIMITS.labels)),
    /** largest accepted difference of any output, real units */
    tolerance: finite,
  }),
})
export type ManifestV1 = z.infer<typeof manifestV1Schema>

/** What the schema cannot say. @returns the fault in words */
export function checkManifestV1(manifest: ManifestV1): Result<void, string> {
  const ids = new Set(manifest.graphs.map(({ id }) => id))
  if (ids.size !== manifest.graphs.length) return err('two graphs have one id')
  for (const { level, graph } of manifest.ladder) {
    if (graph !== null && !ids.has(graph)) return err(`level ${level} names an unknown graph "${graph}"`)
  }
  const order = manifest.ladder.map(({ level }) => LADDER_LEVELS.indexOf(level))
  if (order.some((level, i) => level <= (order[i - 1] ?? -1))) return err('ladder levels are not in descending order')
  for (const label of manifest.policy.ignoreLabels) {
    if (!manifest.labels.includes(label)) return err(`ignored label "${label}" is not a label`)
  }
  if (!ids.has(manifest.golden.graph)) return err(`golden vectors name an unknown graph "${manifest.golden.graph}"`)
  if (manifest.golden.outputLength !== manifest.labels.length) return err('golden outputs and labels differ in number')
  return ok(undefined)
}

/** The same bundle as one pipeline: what everything but the parser and the packer knows. */
export function pipelinesOfV1(manifest: ManifestV1): Omit<PipelineManifest, 'v'> & { readonly v: 1 } {
  const { v, name, version, parent, securityCounter, boards, labels, features, featureQuantization, policy } = manifest
  const { sampleRateHz } = features
  const { graph, count, inputLength, outputLength, tolerance } = manifest.golden
  return {
    ...{ v, name, version, parent, securityCounter, boards },
    input: { kind: 'audio', sampleRateHz: typeof sampleRateHz === 'number' ? sampleRateHz : 0 },
    graphs: manifest.graphs.map((claim) => ({ ...claim, planned: true, ends: null })),
    pipelines: [
      {
        id: 'main',
        ...{ features, featureQuantization, links: [] },
        head: { kind: 'wake', labels, policy, cutoffs: null },
        // A report of such a bundle has fixed counters and no list.
        signals: [],
      },
    ],
    ladder: manifest.ladder.map(({ level, graph: id, hopFrames, gate }) => ({
      level,
      runs: [id === null ? null : { graphs: [id], hopFrames, gate }],
    })),
    golden: {
      inputs: [{ count, inputLength }],
      runs: [{ pipeline: 0, input: 0, graphs: [graph], results: count, outputLength }],
      tolerance,
    },
  }
}
