import canonicalize from 'canonicalize'
import * as z from 'zod/mini'
import { sha256Hex } from './bytes.ts'
import { type ContractError, contractError } from './errors.ts'
import { boardField, nameField, sha256Field, uintField } from './fields.ts'
import { LIMITS } from './limits.ts'
import { LADDER_LEVELS } from './messages.ts'
import { parseContent } from './release.ts'
import { err, ok, type Result } from './result.ts'

/** Section names of a bundle. Graphs are `graph/<id>`. */
export const SECTIONS = { manifest: 'manifest.json', golden: 'golden.bin', card: 'card.json' } as const
export const graphSection = (id: string): string => `graph/${id}`

const shortText = z.string().check(z.maxLength(LIMITS.nameLength))
const permille = z.int().check(z.minimum(0), z.maximum(1000))
const finite = z.number()

/** sha256 of the canonical feature definition (RFC 8785, since definitions have fractions and signed metadata does not): a device refuses a bundle whose definition it does not implement. */
export const featuresSha256 = (definition: unknown): string =>
  sha256Hex(new TextEncoder().encode(canonicalize(definition)))

/** real = scale × (q − zeroPoint) */
const quantizationSchema = z.strictObject({ scale: finite, zeroPoint: z.int() })

const graphSchema = z.strictObject({
  id: nameField,
  /** quantization of integer ends where the graph itself does not tell it; null: read from the graph */
  input: z.nullable(quantizationSchema),
  output: z.nullable(quantizationSchema),
  /** the planner's figures for this graph; a packer measures them, a device checks them again before load */
  arenaBytes: uintField,
  /** arena, persistent records and kernel scratch: what the board must have free */
  ramBytes: uintField,
  constantBytes: uintField,
  macs: uintField,
})

/** One level of the degradation ladder. */
const levelSchema = z.strictObject({
  level: z.enum(LADDER_LEVELS),
  graph: z.nullable(nameField),
  /** front-end frames between windows */
  hopFrames: z.int().check(z.minimum(1), z.maximum(500)),
  /** null: every window is inferred; otherwise only while the frame energy exceeds the tracked noise floor */
  gate: z.nullable(z.strictObject({ marginDb: finite, hangoverMs: uintField })),
})
export type LadderStep = z.infer<typeof levelSchema>

export const wakePolicySchema = z.strictObject({
  /** windows the posterior is averaged over */
  smoothingWindows: z.int().check(z.minimum(1), z.maximum(32)),
  thresholdPermille: permille,
  refractoryMs: uintField,
  /** how long the device stays awake after a wake, waiting for the application */
  wakeHoldMs: uintField,
  /** labels that never wake */
  ignoreLabels: z.array(shortText).check(z.maxLength(LIMITS.labels)),
})
export type WakePolicy = z.infer<typeof wakePolicySchema>

/** Feature definition, for example `MfccDefinition` of model/features; the contract only carries and hashes it. */
const featuresSchema = z.record(
  z.string().check(z.maxLength(LIMITS.nameLength)),
  z.union([z.string(), z.number(), z.boolean()]),
)
export type FeatureRecord = z.infer<typeof featuresSchema>

export const bundleManifestSchema = z.strictObject({
  v: z.literal(1),
  name: nameField,
  version: uintField,
  /** sha256 of the bundle this model was trained from, or null */
  parent: z.nullable(sha256Field),
  securityCounter: uintField,
  labels: z.array(z.string().check(z.maxLength(LIMITS.labelLength))).check(z.minLength(1), z.maxLength(LIMITS.labels)),
  features: featuresSchema,
  /** quantization of the feature map that a wake carries and that int8 graphs read */
  featureQuantization: quantizationSchema,
  graphs: z.array(graphSchema).check(z.minLength(1), z.maxLength(LIMITS.graphs)),
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
export type BundleManifest = z.infer<typeof bundleManifestSchema>

/** Parses and cross-checks the manifest of a decoded bundle.
 *  @returns `bundle-bad-manifest` | `unknown-schema-version` | `too-large`
 */
export function parseManifest(sections: ReadonlyMap<string, Uint8Array>): Result<BundleManifest, ContractError> {
  const bad = (detail: string) => err(contractError('bundle-bad-manifest', detail))
  const data = sections.get(SECTIONS.manifest)
  if (data === undefined) return bad('the bundle has no manifest')
  if (data.length > LIMITS.manifestBytes) return err(contractError('too-large', `manifest of ${data.length} bytes`))
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data))
  } catch {
    return bad('the manifest is not JSON')
  }
  const parsed = parseContent(bundleManifestSchema, json, 'manifest')
  if (!parsed.ok) return parsed.error.code === 'malformed' ? bad(parsed.error.detail) : parsed
  const manifest = parsed.value
  const ids = new Set(manifest.graphs.map(({ id }) => id))
  if (ids.size !== manifest.graphs.length) return bad('two graphs have one id')
  for (const id of ids) if (!sections.has(graphSection(id))) return bad(`graph "${id}" has no section`)
  const named = new Set<string>([...Object.values(SECTIONS), ...manifest.graphs.map(({ id }) => graphSection(id))])
  for (const name of sections.keys()) if (!named.has(name)) return bad(`section "${name}" is named by nobody`)
  for (const { level, graph } of manifest.ladder) {
    if (graph !== null && !ids.has(graph)) return bad(`level ${level} names an unknown graph "${graph}"`)
  }
  const order = manifest.ladder.map(({ level }) => LADDER_LEVELS.indexOf(level))
  if (order.some((level, i) => level <= (order[i - 1] ?? -1))) return bad('ladder levels are not in descending order')
  for (const label of manifest.policy.ignoreLabels) {
    if (!manifest.labels.includes(label)) return bad(`ignored label "${label}" is not a label`)
  }
  if (!ids.has(manifest.golden.graph)) return bad(`golden vectors name an unknown graph "${manifest.golden.graph}"`)
  const golden = sections.get(SECTIONS.golden)
  const { count, inputLength, outputLength } = manifest.golden
  const expected = count * (inputLength + 4 * outputLength)
  if (golden?.length !== expected) return bad(`golden vectors have ${golden?.length ?? 0} bytes, expected ${expected}`)
  if (outputLength !== manifest.labels.length) return bad('golden outputs and labels differ in number')
  return ok(manifest)
}

export interface GoldenVector {
  /** quantized features, int8, frame-major */
  readonly input: Int8Array
  /** posteriors, one a label */
  readonly output: Float32Array
}

/** Golden vectors are raw: int8 inputs, then little-endian float32 outputs, vector by vector. */
export function encodeGolden(vectors: readonly GoldenVector[]): Uint8Array {
  const { input, output } = vectors[0] ?? { input: new Int8Array(0), output: new Float32Array(0) }
  const stride = input.length + 4 * output.length
  const out = new Uint8Array(vectors.length * stride)
  const view = new DataView(out.buffer)
  vectors.forEach((vector, i) => {
    out.set(new Uint8Array(vector.input.buffer, vector.input.byteOffset, vector.input.length), i * stride)
    vector.output.forEach((value, j) => {
      view.setFloat32(i * stride + input.length + 4 * j, value, true)
    })
  })
  return out
}

/** @param data golden section whose length parseManifest has checked */
export function decodeGolden(data: Uint8Array, shape: BundleManifest['golden']): readonly GoldenVector[] {
  const stride = shape.inputLength + 4 * shape.outputLength
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  return Array.from({ length: shape.count }, (_, i) => ({
    input: Int8Array.from(data.subarray(i * stride, i * stride + shape.inputLength), (byte) => (byte << 24) >> 24),
    output: Float32Array.from({ length: shape.outputLength }, (_, j) =>
      view.getFloat32(i * stride + shape.inputLength + 4 * j, true),
    ),
  }))
}
