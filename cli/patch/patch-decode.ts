import { type ContractError, contractError } from '../../contract/errors.ts'
import { PatchDecoder } from '../../contract/patch/patch-decoder.ts'
import { isPatchImage } from '../../contract/patch/patch-header.ts'
import type { PatchDecoderOptions } from '../../contract/patch/patch-state.ts'
import { present } from '../../contract/present.ts'
import { err, ok, type Result } from '../../contract/result.ts'

/** What is known of a base that lies in memory. */
export interface MemoryBase {
  readonly image: Uint8Array
  readonly sha256: Uint8Array
}

/** Applies a whole patch from memory to memory, through the decoder that devices run.
 *  @param into as many bytes as the result has
 *  @param hash SHA-256 of what was made
 *  @param blockBytes of the patch at a time
 *  @returns what the decoder refuses, or `hash-mismatch` */
export function decodePatch(
  patch: Uint8Array,
  base: MemoryBase | null,
  into: Uint8Array,
  hash: (image: Uint8Array) => Uint8Array,
  { pageBytes, blockBytes }: { readonly pageBytes: number; readonly blockBytes: number },
): Result<void, ContractError> {
  const options: PatchDecoderOptions = {
    pageBytes,
    maxResultBytes: into.length,
    base: base && { bytes: base.image.length, sha256: base.sha256 },
  }
  const decoder = new PatchDecoder(options, {
    readBase: (offset, part) =>
      part.set(present(base, 'the base of a patch that reads it').image.subarray(offset, offset + part.length)),
    readResult: (offset, part) => part.set(into.subarray(offset, offset + part.length)),
    writePage: (offset, page) => {
      into.set(page, offset)
      return ok(undefined)
    },
  })
  for (let at = 0; at < patch.length; at += blockBytes) {
    const pushed = decoder.push(patch.subarray(at, at + blockBytes), at + blockBytes >= patch.length)
    if (!pushed.ok) return pushed
  }
  const { header } = decoder
  if (header !== undefined && isPatchImage(header.result, into.length, hash(into))) return ok(undefined)
  return err(contractError('hash-mismatch', 'what the patch makes is not the image that it names'))
}
