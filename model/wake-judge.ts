import { decodeBundle } from '../contract/bundle.ts'
import { type ContractError, contractError } from '../contract/errors.ts'
import { labelsOfPipeline, parseManifest } from '../contract/manifest.ts'
import { err, ok, type Result } from '../contract/result.ts'
import { dequantizeFeatures, type Quantization } from './features/quantize.ts'

/** How wakes of a model are read. */
export interface WakeFormat {
  /** in the order of the model's own posteriors, which a wake's label is an index into */
  readonly labels: readonly string[]
  /** of the features that a wake carries */
  readonly featureQuantization: Quantization
}

/** What a verifier is beside its network. */
export interface WakeVerifier {
  /** in the order of the network's posteriors */
  readonly labels: readonly string[]
  /** a wake is confirmed when the posterior of its label is at least this; default 0.5 */
  readonly threshold?: number | undefined
}

const THRESHOLD = 0.5

/** Reads from a bundle how the wakes of one of its pipelines are read, in place of the first's.
 *  @returns the codes of a bundle or manifest that is none, `bundle-bad-manifest` for a pipeline that it does not have */
export function wakeFormatOf(bundle: Uint8Array, pipeline = 0): Result<WakeFormat, ContractError> {
  const sections = decodeBundle(bundle)
  if (!sections.ok) return sections
  const manifest = parseManifest(sections.value)
  if (!manifest.ok) return manifest
  const found = manifest.value.pipelines[pipeline]
  if (found === undefined) {
    return err(contractError('bundle-bad-manifest', `${manifest.value.name} has no pipeline ${pipeline}`))
  }
  return ok({ labels: labelsOfPipeline(manifest.value, pipeline), featureQuantization: found.featureQuantization })
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
 *  @returns undefined when the wake cannot be judged: it has another feature size than the network, or a label whose name nobody or only
 *    the device knows */
export async function judgeWake(
  wake: { readonly label: number; readonly features: Uint8Array },
  format: WakeFormat,
  { labels, threshold = THRESHOLD }: WakeVerifier,
  elements: number,
  posteriorsOf: (features: Uint8Array, quantization: Quantization) => Promise<Float32Array | undefined>,
): Promise<boolean | undefined> {
  const name = format.labels[wake.label]
  const label = name === undefined ? -1 : labels.indexOf(name)
  if (label < 0 || wake.features.length !== elements) return undefined
  const posterior = (await posteriorsOf(wake.features, format.featureQuantization))?.[label]
  return posterior === undefined ? undefined : posterior >= threshold
}
