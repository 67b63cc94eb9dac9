import { bytesEqual } from '../bytes.ts'
import { type ContractError, contractError } from '../errors.ts'
import { err, ok, type Result } from '../result.ts'

/** How a patch begins:
 *
 *      0  2  magic "KP"
 *      2  1  version (1 or 2: they differ in how literals are coded)
 *      3  1  bits 0–2: method; bit 3: there is a base
 *      …     LEB128: bytes of the result, at most 2^32 - 1
 *      …     if there is a base, LEB128: its bytes; then the first 16 bytes of its SHA-256
 *      … 16  first 16 bytes of the result's SHA-256
 *
 *  and its payload follows. Halves of the hashes: they name base and result, and a second image for either would take 2^128 tries.
 *  What may be installed is decided by the signed hash of the whole image alone.
 */
export interface PatchHeader {
  readonly version: PatchVersion
  readonly method: PatchMethod
  /** what the patch reads; null for a compact full image */
  readonly base: PatchImage | null
  readonly result: PatchImage
}

/** An image as a patch names it. */
export interface PatchImage {
  readonly bytes: number
  /** first 16 bytes of its SHA-256 */
  readonly sha256Half: Uint8Array
}

/** `stored`: the result's bytes as they are. `numbers`, `bytes`: under a range coder, with runs of numbers or without, see
 *  patch-layout.ts. */
export const PATCH_METHODS = ['stored', 'numbers', 'bytes'] as const
export type PatchMethod = (typeof PATCH_METHODS)[number]

const MAGIC = [0x4b, 0x50] as const
/** What devices read: those of before version 2 only the first. */
export const PATCH_VERSIONS = [1, 2] as const
export type PatchVersion = (typeof PATCH_VERSIONS)[number]
const HASH_BYTES = 16
/** Longest header: 4 bytes, two lengths of 5, two hashes. */
export const PATCH_HEADER_BYTES_MAX = 4 + 2 * 5 + 2 * HASH_BYTES

export const sha256Half = (sha256: Uint8Array): Uint8Array => sha256.subarray(0, HASH_BYTES)

export function encodePatchHeader({ version, method, base, result }: PatchHeader): Uint8Array {
  const out: number[] = [...MAGIC, version, PATCH_METHODS.indexOf(method) | (base === null ? 0 : 8)]
  const length = (value: number): void => {
    let rest = value
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) out.push((rest % 0x80) | 0x80)
    out.push(rest)
  }
  length(result.bytes)
  if (base !== null) {
    length(base.bytes)
    out.push(...base.sha256Half)
  }
  out.push(...result.sha256Half)
  return Uint8Array.from(out)
}

/** Reads the header at the beginning of a patch.
 *  @param bytes at least PATCH_HEADER_BYTES_MAX of them, or the whole patch
 *  @returns the header and its own length, or `patch-malformed` | `patch-truncated` | `unknown-schema-version`
 */
export function readPatchHeader(
  bytes: Uint8Array,
): Result<{ readonly header: PatchHeader; readonly headerBytes: number }, ContractError> {
  const malformed = (what: string) => err(contractError('patch-malformed', what))
  const truncated = err(contractError('patch-truncated', `${bytes.length} bytes end within the header`))
  if (bytes.length < 4) return truncated
  if (bytes[0] !== MAGIC[0] || bytes[1] !== MAGIC[1]) return malformed('does not begin as a patch')
  const version = PATCH_VERSIONS.find((known) => known === bytes[2])
  if (version === undefined) {
    return err(
      contractError('unknown-schema-version', `patch version ${bytes[2]}, known: ${PATCH_VERSIONS.join(', ')}`),
    )
  }
  const method = PATCH_METHODS[bytes[3]! & 7]
  if (method === undefined || bytes[3]! > 15) return malformed(`method byte ${bytes[3]}`)
  let at = 4
  const length = (): number | undefined => {
    let value = 0
    for (let scale = 1; scale <= 0x80 ** 4; scale *= 0x80) {
      const byte = bytes[at++]
      if (byte === undefined) return undefined
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return byte === 0 && scale > 1 ? Number.NaN : value
    }
    return Number.NaN
  }
  const half = (): Uint8Array | undefined => {
    at += HASH_BYTES
    return at > bytes.length ? undefined : bytes.slice(at - HASH_BYTES, at)
  }
  const resultBytes = length()
  let base: PatchImage | null = null
  if (bytes[3]! & 8) {
    const baseBytes = length()
    const baseHash = half()
    if (baseBytes === undefined || baseHash === undefined) return truncated
    base = { bytes: baseBytes, sha256Half: baseHash }
  }
  const resultHash = half()
  if (resultBytes === undefined || resultHash === undefined) return truncated
  for (const value of [resultBytes, base?.bytes ?? 0]) {
    if (!(value <= 0xffff_ffff)) return malformed('a length that is no minimal 32-bit number')
  }
  return ok({
    header: { version, method, base, result: { bytes: resultBytes, sha256Half: resultHash } },
    headerBytes: at,
  })
}

/** Whether an image of these bytes and this hash is the one that a patch names. */
export const isPatchImage = (image: PatchImage, bytes: number, sha256: Uint8Array): boolean =>
  image.bytes === bytes && bytesEqual(image.sha256Half, sha256Half(sha256))
