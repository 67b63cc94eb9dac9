import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { createDeflateRaw, deflateRawSync, inflateRawSync } from 'node:zlib'

/** chosen: what one reading's inputs may take when they are unpacked; 100 000 devices with ten signals take a fifth of it. A text of much more
 *  would be longer than the engine's longest */
const INPUT_BYTES_MAX = 512 * 1024 * 1024
/** chosen: elements of a list that are written at once */
const ELEMENTS = 4_096

/** What a reading was computed from, as it is kept: deflated JSON. */
export const packInput = (input: unknown): Buffer => deflateRawSync(JSON.stringify(input))

/** The same of a large fleet, piece by piece, beside what else the process does.
 *  @returns of an input that could not be unpacked again: null, packed */
export async function packLargeInput(input: unknown): Promise<Buffer> {
  let length = 0
  function* bounded(): Generator<string> {
    for (const piece of pieces(input)) {
      length += piece.length
      if (length > INPUT_BYTES_MAX) return
      yield piece
    }
  }
  const packed = await buffer(Readable.from(bounded(), { objectMode: false }).pipe(createDeflateRaw()))
  return length > INPUT_BYTES_MAX ? packInput(null) : packed
}

export const unpackInput = (packed: Uint8Array): unknown =>
  JSON.parse(inflateRawSync(packed, { maxOutputLength: INPUT_BYTES_MAX }).toString('utf8'))

/** JSON as JSON.stringify writes it, long lists in pieces. */
function* pieces(value: unknown): Generator<string> {
  if (Array.isArray(value) && value.length > ELEMENTS) {
    for (let i = 0; i < value.length; i += ELEMENTS) {
      yield i === 0 ? '[' : ','
      yield JSON.stringify(value.slice(i, i + ELEMENTS)).slice(1, -1)
    }
    yield ']'
  } else if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    let mark = '{'
    for (const [key, member] of Object.entries(value)) {
      if (member === undefined) continue
      yield `${mark}${JSON.stringify(key)}:`
      yield* pieces(member)
      mark = ','
    }
    yield mark === '{' ? '{}' : '}'
  } else yield JSON.stringify(value)
}
