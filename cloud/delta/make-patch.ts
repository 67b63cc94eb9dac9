import { sha256 } from '../../contract/bytes.ts'
import { encodePatchHeader, type PatchImage, sha256Half } from '../../contract/patch/patch-header.ts'

const imageOf = (bytes: Uint8Array): PatchImage => ({ bytes: bytes.length, sha256Half: sha256Half(sha256(bytes)) })

/** Makes the patch that turns `base` into `result`; with no base a compact full image.
 *  @param base up to 4 GiB; null for none
 */
export function makePatch(base: Uint8Array | null, result: Uint8Array): Uint8Array {
  const header = encodePatchHeader({
    method: 'stored',
    base: base === null ? null : imageOf(base),
    result: imageOf(result),
  })
  const patch = new Uint8Array(header.length + result.length)
  patch.set(header)
  patch.set(result, header.length)
  return patch
}
