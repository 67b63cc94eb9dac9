import { decodeBundle } from '../contract/bundle.ts'
import { type ContractError, contractError } from '../contract/errors.ts'
import { type BundleManifest, featuresSha256, parseManifest } from '../contract/manifest.ts'
import { err, ok, type Result } from '../contract/result.ts'
import type { Engine, EngineSession } from './engine/engine.ts'
import { openBundle } from './opened-bundle.ts'
import type { WakeVerifier } from './wake-judge.ts'

function manifestOf(bundle: Uint8Array): Result<BundleManifest, ContractError> {
  const sections = decodeBundle(bundle)
  return sections.ok ? parseManifest(sections.value) : sections
}

/** Whether one bundle can judge wakes of another: it reads what they carry, and knows a word that wakes by its name.
 *  @returns `contradicts-release` with what is wanting, or the codes of decodeBundle and parseManifest */
export function verifierFits(verifier: Uint8Array, release: Uint8Array): Result<void, ContractError> {
  const [judges, judged] = [manifestOf(verifier), manifestOf(release)]
  if (!judges.ok) return err({ ...judges.error, detail: `the verifier: ${judges.error.detail}` })
  if (!judged.ok) return judged
  const { labels, features, policy, name } = judged.value
  if (featuresSha256(judges.value.features) !== featuresSha256(features)) {
    return err(
      contractError('contradicts-release', `the verifier has another front end than ${name}, whose wakes it would get`),
    )
  }
  const waking = labels.filter((label) => !policy.ignoreLabels.includes(label))
  if (waking.some((label) => judges.value.labels.includes(label))) return ok(undefined)
  return err(
    contractError('contradicts-release', `the verifier knows no label of ${name} that wakes (${waking.join(', ')})`),
  )
}

/** A verifier and its network. */
export interface OpenedVerifier extends WakeVerifier {
  readonly session: EngineSession
  close(): Promise<void>
}

/** Opens a bundle as a verifier: the network of its best level, whatever is below.
 *  @returns the codes of openBundle */
export async function openVerifier(bundle: Uint8Array, engine: Engine): Promise<Result<OpenedVerifier, ContractError>> {
  // A gateway or a cloud, whose memory is not a board's.
  const opened = await openBundle(bundle, engine, Number.POSITIVE_INFINITY)
  if (!opened.ok) return opened
  const { manifest, sessions } = opened.value
  const session = sessions.get(manifest.ladder.find(({ graph }) => graph !== null)?.graph ?? '')
  if (session === undefined) {
    await opened.value.dispose()
    return err(contractError('bundle-bad-manifest', 'the verifier has no level with a graph'))
  }
  return ok({
    labels: manifest.labels,
    session,
    featuresSha256: featuresSha256(manifest.features),
    close: () => opened.value.dispose(),
  })
}
