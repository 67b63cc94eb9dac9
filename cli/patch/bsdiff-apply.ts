import { Bzip2Error, bunzip2 } from './bunzip2.ts'

/** How the patches of bsdiff begin. */
export const BSDIFF_MAGIC = 'BSDIFF40'
const HEADER_BYTES = 32
const STEP_BYTES = 24
/** Chosen: 2.8 million steps. bsdiff makes one for some dozens of bytes that differ, and a bomb makes as many as it can. */
const STEPS_BYTES_MAX = 64 * 1024 ** 2

/** Why a BSDIFF40 patch cannot be applied; for people. */
export class BsdiffError extends Error {
  override readonly name = 'BsdiffError'
}

/** Applies a classic bsdiff patch. The header has the sizes of three bzip2 streams: steps (bytes to add to the old file, bytes to
 *  insert, bytes to skip in the old file), what is added, what is inserted. Every length is checked before it is used: programs of this
 *  kind have been made to write outside their memory by negative ones (CVE-2014-9862).
 *  @param maxBytes largest new file
 *  @throws BsdiffError for a patch that is damaged, is for no such file, or makes too much. It names neither file, so a patch for another
 *    old file of the same size is applied, to something else */
export function applyBsdiff(old: Uint8Array, patch: Uint8Array, maxBytes: number): Uint8Array {
  const newBytes = bsdiffResultBytes(patch)
  const [stepBytes, addedBytes] = [lengthAt(patch, 8), lengthAt(patch, 16)]
  if (newBytes > maxBytes) throw new BsdiffError(`it makes ${newBytes} bytes, at most ${maxBytes}`)
  if (stepBytes + addedBytes > patch.length - HEADER_BYTES) throw new BsdiffError('it is shorter than its header says')
  const [second, third] = [HEADER_BYTES + stepBytes, HEADER_BYTES + stepBytes + addedBytes]
  const out = new Uint8Array(newBytes)
  try {
    const steps = bunzip2(patch.subarray(HEADER_BYTES, second), STEPS_BYTES_MAX)
    fill(out, old, steps, bunzip2(patch.subarray(second, third), newBytes), bunzip2(patch.subarray(third), newBytes))
  } catch (cause) {
    throw cause instanceof Bzip2Error ? new BsdiffError(cause.message, { cause }) : cause
  }
  return out
}

/** Bytes of the new file, as the header says.
 *  @throws BsdiffError when there is no whole header */
export function bsdiffResultBytes(patch: Uint8Array): number {
  if (patch.length < HEADER_BYTES) throw new BsdiffError('it ends within its header')
  return lengthAt(patch, 24)
}

function fill(out: Uint8Array, old: Uint8Array, steps: Uint8Array, added: Uint8Array, inserted: Uint8Array): void {
  let [made, from, addedAt, insertedAt] = [0, 0, 0, 0]
  for (let at = 0; at + STEP_BYTES <= steps.length && made < out.length; at += STEP_BYTES) {
    const add = lengthAt(steps, at)
    const insert = lengthAt(steps, at + 8)
    if (add > out.length - made || add > added.length - addedAt) throw new BsdiffError('a step adds more than there is')
    // Outside of the old file there is nothing to add to.
    for (let i = 0; i < add; i++) out[made + i] = (added[addedAt + i] ?? 0) + (old[from + i] ?? 0)
    made += add
    addedAt += add
    if (insert > out.length - made || insert > inserted.length - insertedAt) {
      throw new BsdiffError('a step inserts more than there is')
    }
    out.set(inserted.subarray(insertedAt, insertedAt + insert), made)
    made += insert
    insertedAt += insert
    from += add + signedAt(steps, at + 16)
    if (!Number.isSafeInteger(from)) throw new BsdiffError('a step leads nowhere')
  }
  if (made !== out.length) throw new BsdiffError(`its steps make ${made} bytes of ${out.length}`)
}

/** Sign and magnitude, 64 bits, little-endian; beyond 2^53 nothing here is meant. */
function signedAt(bytes: Uint8Array, at: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, 8)
  const high = view.getUint32(4, true)
  const value = (high & 0x7fff_ffff) * 2 ** 32 + view.getUint32(0, true)
  return high >= 0x8000_0000 ? -value : value
}

function lengthAt(bytes: Uint8Array, at: number): number {
  const length = signedAt(bytes, at)
  if (length < 0 || !Number.isSafeInteger(length)) throw new BsdiffError('it has a negative or endless length')
  return length
}
