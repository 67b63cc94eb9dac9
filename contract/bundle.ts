import { decode as cborDecode, encode as cborEncode } from 'cborg'
import { bytesEqual, sha256 } from './bytes.ts'
import { type ContractError, contractError } from './errors.ts'
import { LIMITS } from './limits.ts'
import { err, ok, type Result } from './result.ts'

/** Bundle container, version 1, little endian:
 *
 *      0  4  magic "KNGL"
 *      4  2  container version (1)
 *      6  2  number of sections
 *      8  4  bytes of the table of contents
 *     12  4  bytes of the whole bundle
 *     16 16  reserved, zero
 *     32  …  table of contents: CBOR array of [name, offset, length, sha256]
 *      …  …  sections, each at a multiple of 16, zero padding between, nothing after the last
 *
 *  The same sections in the same order give the same bytes. Sections are raw, so that a graph can be read in place from
 *  memory-mapped flash.
 */
const MAGIC = Uint8Array.of(0x4b, 0x4e, 0x47, 0x4c)
const CONTAINER_VERSION = 1
const HEADER_BYTES = 32
const ALIGN_BYTES = 16

export interface BundleSection {
  readonly name: string
  readonly data: Uint8Array
}

const SECTION_NAME = /^[a-z0-9][a-z0-9./-]{0,47}$/
const align = (offset: number): number => Math.ceil(offset / ALIGN_BYTES) * ALIGN_BYTES

/** Writes a bundle. Throws a RangeError when a bound of LIMITS or a name is violated: the packer has a bug. */
export function encodeBundle(sections: readonly BundleSection[]): Uint8Array {
  if (sections.length === 0 || sections.length > LIMITS.bundleSections) {
    throw new RangeError(`a bundle has 1 to ${LIMITS.bundleSections} sections, not ${sections.length}`)
  }
  const names = new Set(sections.map(({ name }) => name))
  if (names.size !== sections.length) throw new RangeError('section names must be unique')
  for (const name of names) if (!SECTION_NAME.test(name)) throw new RangeError(`section name "${name}"`)

  // The table's own length moves the offsets inside it: iterate to the fixed point, usually two or three rounds. Longer
  // tables move offsets up only, so rounds end; the bound is five lengths of a CBOR integer a section.
  let tocBytes = 0
  let toc = new Uint8Array(0)
  for (let round = 0; round < 5 * LIMITS.bundleSections; round++) {
    let offset = align(HEADER_BYTES + tocBytes)
    const rows = sections.map(({ name, data }) => {
      const row = [name, offset, data.length, sha256(data)]
      offset = align(offset + data.length)
      return row
    })
    toc = cborEncode(rows)
    if (toc.length === tocBytes) break
    tocBytes = toc.length
  }
  if (toc.length > LIMITS.bundleTocBytes) throw new RangeError(`table of contents of ${toc.length} bytes`)

  let totalBytes = HEADER_BYTES + toc.length
  const placed = sections.map(({ data }) => {
    const offset = align(totalBytes)
    totalBytes = offset + data.length
    return { offset, data }
  })
  if (totalBytes > LIMITS.bundleBytes)
    throw new RangeError(`bundle of ${totalBytes} bytes, limit ${LIMITS.bundleBytes}`)

  const out = new Uint8Array(totalBytes)
  const view = new DataView(out.buffer)
  out.set(MAGIC)
  view.setUint16(4, CONTAINER_VERSION, true)
  view.setUint16(6, sections.length, true)
  view.setUint32(8, toc.length, true)
  view.setUint32(12, totalBytes, true)
  out.set(toc, HEADER_BYTES)
  for (const { offset, data } of placed) out.set(data, offset)
  return out
}

/** @returns whether a file begins as a bundle does; nothing else about it is known then */
export const hasBundleMagic = (data: Uint8Array): boolean =>
  data.length >= MAGIC.length && bytesEqual(data.subarray(0, MAGIC.length), MAGIC)

/** Reads and checks a whole bundle: bounds first, then structure, padding and the hash of every section. Sections are
 *  views into `data`, not copies.
 *  @param data exactly one bundle; trailing bytes are refused
 *  @returns sections by name, or `too-large` | `bundle-bad-magic` | `unknown-schema-version` | `bundle-truncated` |
 *    `bundle-bad-toc` | `bundle-bad-section` | `bundle-section-hash`
 */
export function decodeBundle(data: Uint8Array): Result<ReadonlyMap<string, Uint8Array>, ContractError> {
  if (data.length > LIMITS.bundleBytes) {
    return err(contractError('too-large', `bundle of ${data.length} bytes, limit ${LIMITS.bundleBytes}`))
  }
  const head = Math.min(data.length, MAGIC.length)
  if (head === 0 || !bytesEqual(data.subarray(0, head), MAGIC.subarray(0, head))) {
    return err(contractError('bundle-bad-magic', 'the file does not begin with "KNGL": not a Kinglet bundle'))
  }
  if (data.length < HEADER_BYTES) return err(contractError('bundle-truncated', `header has ${data.length} of 32 bytes`))
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const version = view.getUint16(4, true)
  if (version !== CONTAINER_VERSION) {
    return err(contractError('unknown-schema-version', `bundle version ${version}, known: ${CONTAINER_VERSION}`))
  }
  const count = view.getUint16(6, true)
  const tocBytes = view.getUint32(8, true)
  const totalBytes = view.getUint32(12, true)
  if (totalBytes > data.length) {
    return err(contractError('bundle-truncated', `${data.length} of ${totalBytes} bytes are there`))
  }
  if (totalBytes < data.length) {
    return err(contractError('bundle-bad-section', `${data.length - totalBytes} bytes after the bundle's end`))
  }
  if (count < 1 || count > LIMITS.bundleSections || tocBytes > LIMITS.bundleTocBytes) {
    return err(contractError('bundle-bad-toc', `${count} sections, table of ${tocBytes} bytes`))
  }
  for (let i = 16; i < HEADER_BYTES; i++) {
    if (data[i] !== 0) return err(contractError('bundle-bad-toc', 'reserved header bytes are not zero'))
  }
  if (HEADER_BYTES + tocBytes > totalBytes)
    return err(contractError('bundle-truncated', 'table of contents is cut off'))
  const rows = readToc(data.subarray(HEADER_BYTES, HEADER_BYTES + tocBytes), count)
  if (rows === undefined)
    return err(contractError('bundle-bad-toc', 'table of contents is not [name, offset, length, sha256]…'))

  const sections = new Map<string, Uint8Array>()
  let end = HEADER_BYTES + tocBytes
  for (const [name, offset, length, hash] of rows) {
    if (sections.has(name)) return err(contractError('bundle-bad-section', `section "${name}" appears twice`))
    if (offset !== align(end) || offset + length > totalBytes) {
      return err(contractError('bundle-bad-section', `section "${name}" at ${offset}, ${length} bytes`))
    }
    for (let i = end; i < offset; i++) {
      if (data[i] !== 0) return err(contractError('bundle-bad-section', `padding before "${name}" is not zero`))
    }
    const section = data.subarray(offset, offset + length)
    if (!bytesEqual(sha256(section), hash)) {
      return err(contractError('bundle-section-hash', `section "${name}" does not have its hash`))
    }
    sections.set(name, section)
    end = offset + length
  }
  if (end !== totalBytes)
    return err(contractError('bundle-bad-section', `${totalBytes - end} bytes belong to no section`))
  return ok(sections)
}

type TocRow = readonly [name: string, offset: number, length: number, sha256: Uint8Array]

function readToc(toc: Uint8Array, count: number): readonly TocRow[] | undefined {
  let value: unknown
  try {
    value = cborDecode(toc, { strict: true, allowIndefinite: false, allowBigInt: false })
  } catch {
    return undefined
  }
  if (!Array.isArray(value) || value.length !== count) return undefined
  const isRow = (row: unknown): row is TocRow =>
    Array.isArray(row) &&
    row.length === 4 &&
    typeof row[0] === 'string' &&
    SECTION_NAME.test(row[0]) &&
    Number.isInteger(row[1]) &&
    row[1] >= 0 &&
    Number.isInteger(row[2]) &&
    row[2] >= 0 &&
    row[3] instanceof Uint8Array &&
    row[3].length === 32
  return value.every(isRow) ? value : undefined
}
