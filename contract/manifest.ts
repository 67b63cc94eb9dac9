import canonicalize from 'canonicalize'
import { decodeBundle } from './bundle.ts'
import { sha256Hex } from './bytes.ts'
import { type ContractError, contractError } from './errors.ts'
import { labelsOf } from './head.ts'
import { LIMITS } from './limits.ts'
import { checkManifestV1, manifestV1Schema, pipelinesOfV1 } from './manifest-v1.ts'
import { type BundleInput, checkManifestV2, manifestV2Schema, type PipelineManifest } from './manifest-v2.ts'
import { present } from './present.ts'
import { parseContent } from './release.ts'
import { err, ok, type Result } from './result.ts'

/** Section names of a bundle. Graphs are `graph/<id>`. */
export const SECTIONS = { manifest: 'manifest.json', golden: 'golden.bin', card: 'card.json' } as const
export const graphSection = (id: string): string => `graph/${id}`

/** A manifest of either version in one form: pipelines on one input. A bundle of version 1 is one that listens for words with one graph. */
export type BundleManifest = Omit<PipelineManifest, 'v'> & {
  /** as it was written */
  readonly v: 1 | 2
}
export type GraphClaim = BundleManifest['graphs'][number]
export type LadderStep = BundleManifest['ladder'][number]

/** sha256 of the canonical feature definition (RFC 8785, since definitions have fractions and signed metadata does not): a device refuses a bundle whose definition it does not implement. */
export const featuresSha256 = (definition: unknown): string =>
  sha256Hex(new TextEncoder().encode(canonicalize(definition)))

/** What a device must implement for a bundle of pipelines, before it looks into it: every front end, head and link that version 2 names, on
 *  this kind of input. What a later agent learns beside has another number. */
export const pipelinesRequirement = (input: BundleInput['kind']) => ({ manifest: 2, pipelines: 1, input })

/** What a release says that a bundle requires: of version 1 its front end. */
export const requirementSha256 = ({ v, pipelines, input }: Pick<BundleManifest, 'v' | 'pipelines' | 'input'>): string =>
  featuresSha256(v === 1 ? present(pipelines[0], 'a pipeline').features : pipelinesRequirement(input.kind))

/** Labels of a pipeline's wakes, by the number that a wake message has. */
export const labelsOfPipeline = ({ pipelines }: BundleManifest, pipeline = 0): readonly string[] => {
  const head = pipelines[pipeline]?.head
  return head === undefined ? [] : labelsOf(head)
}

/** Parses and cross-checks the manifest of a decoded bundle, of either version.
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
  const read = readVersion(json)
  if (!read.ok) return read.error.code === 'malformed' ? bad(read.error.detail) : read
  const manifest = read.value
  const ids = new Set(manifest.graphs.map(({ id }) => id))
  for (const id of ids) if (!sections.has(graphSection(id))) return bad(`graph "${id}" has no section`)
  const named = new Set<string>([...Object.values(SECTIONS), ...manifest.graphs.map(({ id }) => graphSection(id))])
  for (const name of sections.keys()) if (!named.has(name)) return bad(`section "${name}" is named by nobody`)
  const golden = sections.get(SECTIONS.golden)
  const expected = goldenBytes(manifest.golden)
  if (golden?.length !== expected) return bad(`golden vectors have ${golden?.length ?? 0} bytes, expected ${expected}`)
  return ok(manifest)
}

/** The manifest of a bundle file. @returns the codes of decodeBundle and parseManifest */
export function readManifest(bundle: Uint8Array): Result<BundleManifest, ContractError> {
  const sections = decodeBundle(bundle)
  return sections.ok ? parseManifest(sections.value) : sections
}

/** Schema and cross-checks of the version that it says it has. @returns `malformed` | `unknown-schema-version` */
function readVersion(json: unknown): Result<BundleManifest, ContractError> {
  const bad = (detail: string) => err(contractError('malformed', detail))
  if ((json as { v?: unknown } | null)?.v === 2) {
    const parsed = parseContent(manifestV2Schema, json, 'manifest', 2)
    if (!parsed.ok) return parsed
    const checked = checkManifestV2(parsed.value)
    return checked.ok ? parsed : bad(checked.error)
  }
  const parsed = parseContent(manifestV1Schema, json, 'manifest')
  if (!parsed.ok) return parsed
  const checked = checkManifestV1(parsed.value)
  return checked.ok ? ok(pipelinesOfV1(parsed.value)) : bad(checked.error)
}

/** Golden vectors: a run of windows for each pipeline, and what its last graph gave. */
export interface Golden {
  /** by number: quantized windows of a front end, in a row */
  readonly inputs: readonly (readonly Int8Array[])[]
  /** in the order of the manifest's runs: results in a row, real units */
  readonly runs: readonly (readonly Float32Array[])[]
}

type GoldenShape = BundleManifest['golden']

const goldenBytes = ({ inputs, runs }: GoldenShape): number =>
  inputs.reduce((sum, { count, inputLength }) => sum + count * inputLength, 0) +
  runs.reduce((sum, { results, outputLength }) => sum + 4 * results * outputLength, 0)

/** Where the parts of golden vectors lie: windows as int8, results as little-endian float32. Version 1 writes window and result, one pair
 *  after the other; version 2 all windows of all inputs, then all results of all runs. */
function goldenPlaces(v: BundleManifest['v'], { inputs, runs }: GoldenShape) {
  const [{ inputLength: first } = { inputLength: 0 }] = inputs
  const [{ outputLength: last } = { outputLength: 0 }] = runs
  const stride = first + 4 * last
  const allInputs = inputs.reduce((sum, { count, inputLength }) => sum + count * inputLength, 0)
  const before = <T>(list: readonly T[], index: number, bytes: (one: T) => number): number =>
    list.slice(0, index).reduce((sum, one) => sum + bytes(one), 0)
  return {
    input: (index: number, window: number): number =>
      v === 1
        ? window * stride
        : before(inputs, index, ({ count, inputLength }) => count * inputLength) +
          window * (inputs[index]?.inputLength ?? 0),
    result: (index: number, result: number): number =>
      v === 1
        ? result * stride + first
        : allInputs +
          before(runs, index, ({ results, outputLength }) => 4 * results * outputLength) +
          4 * result * (runs[index]?.outputLength ?? 0),
  }
}

/** Writes golden vectors whose numbers are those of the shape. */
export function encodeGolden(golden: Golden, shape: GoldenShape, v: BundleManifest['v']): Uint8Array {
  const out = new Uint8Array(goldenBytes(shape))
  const view = new DataView(out.buffer)
  const places = goldenPlaces(v, shape)
  for (const [index, windows] of golden.inputs.entries()) {
    for (const [number, window] of windows.entries()) {
      out.set(new Uint8Array(window.buffer, window.byteOffset, window.length), places.input(index, number))
    }
  }
  for (const [index, results] of golden.runs.entries()) {
    for (const [number, result] of results.entries()) {
      result.forEach((value, j) => {
        view.setFloat32(places.result(index, number) + 4 * j, value, true)
      })
    }
  }
  return out
}

/** @param data golden section whose length parseManifest has checked */
export function decodeGolden(data: Uint8Array, { v, golden: shape }: Pick<BundleManifest, 'v' | 'golden'>): Golden {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const places = goldenPlaces(v, shape)
  return {
    inputs: shape.inputs.map(({ count, inputLength }, index) =>
      Array.from({ length: count }, (_, window) => {
        const at = places.input(index, window)
        return Int8Array.from(data.subarray(at, at + inputLength), (byte) => (byte << 24) >> 24)
      }),
    ),
    runs: shape.runs.map(({ results, outputLength }, index) =>
      Array.from({ length: results }, (_, result) => {
        const at = places.result(index, result)
        return Float32Array.from({ length: outputLength }, (_, j) => view.getFloat32(at + 4 * j, true))
      }),
    ),
  }
}
