import type { ContractError } from '../contract/errors.ts'
import { featuresSha256, labelsOfPipeline, readManifest } from '../contract/manifest.ts'
import { ok, type Result } from '../contract/result.ts'
import { dequantizeFeatures, type Quantization } from './features/quantize.ts'

/** How wakes of a model are read. */
export interface WakeFormat {
  /** in the order of the model's own posteriors, which a wake's label is an index into */
  readonly labels: readonly string[]
  /** of the features that a wake carries */
  readonly featureQuantization: Quantization
  /** of the front end that they come from; undefined: not known */
  readonly featuresSha256?: string | undefined
}

/** What a verifier is beside its network. */
export interface WakeVerifier {
  /** in the order of the network's posteriors */
  readonly labels: readonly string[]
  /** a wake is confirmed when the posterior of its label is at least this; default 0.5 */
  readonly threshold?: number | undefined
  /** of the front end whose features it reads; undefined: it reads any of the right size */
  readonly featuresSha256?: string | undefined
}

const THRESHOLD = 0.5

/** Reads from a bundle how the wakes of each of its pipelines are read. @returns the codes of a bundle or manifest that is none */
export function wakeFormatsOf(bundle: Uint8Array): Result<readonly WakeFormat[], ContractError> {
  const manifest = readManifest(bundle)
  if (!manifest.ok) return manifest
  return ok(
    manifest.value.pipelines.map(({ featureQuantization, features }, pipeline) => ({
      labels: labelsOfPipeline(manifest.value, pipeline),
      featureQuantization,
      featuresSha256: featuresSha256(features),
    })),
  )
}

/** The network's window of a wake's features. @param features int8, as sent */
export const windowOf = (features: Uint8Array, quantization: Quantization): Float32Array =>
  dequantizeFeatures(
    new Int8Array(features.buffer, features.byteOffset, features.length),
    quantization,
    new Float32Array(features.length),
  )

/** Judges a wake: the same at a gateway and at the cloud that judges some of its wakes again.
 *  @param elements of the network's window
 *  @param posteriorsOf runs the network; undefined: it failed
 *  @returns undefined when the wake cannot be judged: it comes from another front end or has another size than the network reads, or a label whose name nobody or only
 *    the device knows */
export async function judgeWake(
  wake: { readonly label: number; readonly features: Uint8Array },
  format: WakeFormat,
  { labels, threshold = THRESHOLD, featuresSha256: reads }: WakeVerifier,
  elements: number,
  posteriorsOf: (features: Uint8Array, quantization: Quantization) => Promise<Float32Array | undefined>,
): Promise<boolean | undefined> {
  const name = format.labels[wake.label]
  const label = name === undefined ? -1 : labels.indexOf(name)
  if (label < 0 || wake.features.length !== elements) return undefined
  if (reads !== undefined && format.featuresSha256 !== undefined && reads !== format.featuresSha256) return undefined
  const posterior = (await posteriorsOf(wake.features, format.featureQuantization))?.[label]
  return posterior === undefined ? undefined : posterior >= threshold
}
