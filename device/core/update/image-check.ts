import { bytesToHex, sha256 } from '../../../contract/bytes.ts'
import { type ContractError, contractError } from '../../../contract/errors.ts'
import { requirementSha256 } from '../../../contract/manifest.ts'
import type { Release } from '../../../contract/release.ts'
import { err, ok, type Result } from '../../../contract/result.ts'
import type { Engine } from '../../../model/engine/engine.ts'
import { checkGolden, openBundle } from '../../../model/opened-bundle.ts'

/** Everything that must hold before an image is tried, judged on the bytes as read back from flash.
 *  @param data the image, `release.bytes` long, from the slot and not from the download
 *  @returns `hash-mismatch` | `contradicts-release` | a bundle, budget, engine or `golden-mismatch` code
 */
export async function checkImage(
  data: Uint8Array,
  release: Release,
  engine: Engine,
  ramBytes: number,
): Promise<Result<void, ContractError>> {
  const found = bytesToHex(sha256(data))
  if (found !== release.sha256) {
    return err(
      contractError('hash-mismatch', `slot has ${found.slice(0, 16)}…, release says ${release.sha256.slice(0, 16)}…`),
    )
  }
  const opened = await openBundle(data, engine, ramBytes)
  if (!opened.ok) return opened
  const { manifest, dispose } = opened.value
  try {
    const agrees =
      manifest.name === release.name &&
      manifest.version === release.version &&
      manifest.securityCounter === release.securityCounter &&
      requirementSha256(manifest) === release.featuresSha256
    if (!agrees) {
      const detail = `bundle is ${manifest.name} ${manifest.version}, release ${release.name} ${release.version}`
      return err(contractError('contradicts-release', detail))
    }
    const golden = await checkGolden(opened.value)
    return golden.ok ? ok(undefined) : golden
  } finally {
    await dispose()
  }
}
