/** What of a representation a GET is answered with. */
export interface ServedBytes {
  readonly status: 200 | 206
  /** first byte */
  readonly start: number
  /** the one after the last */
  readonly end: number
  readonly headers: Readonly<Record<string, string>>
}

/** No byte of the range is there: status 416 with these headers. */
export interface Unsatisfiable {
  readonly status: 416
  readonly headers: Readonly<Record<string, string>>
}

/** Who asks has it already. */
export interface NotModified {
  readonly status: 304
  readonly headers: Readonly<Record<string, string>>
}

export interface RangeRequest {
  /** of the request: `range` counts for GET alone */
  readonly method: string
  readonly ifNoneMatch: string | undefined
  readonly range: string | undefined
  readonly ifRange: string | undefined
}

/** Decides what of an artifact is sent. One range is served; several at once, another unit or what is no range are answered with the
 *  whole, as the standard lets a server do, and so is a range of another representation than the one that is here.
 *  @param etag strong, quotes included
 *  @param totalBytes of the whole
 *  @see RFC 9110 sections 13.1.2 (If-None-Match), 13.1.5 (If-Range), 14.2 (Range), 14.4 (Content-Range), 15.5.17 (416) */
export function servedBytes(
  request: RangeRequest,
  etag: string,
  totalBytes: number,
): ServedBytes | Unsatisfiable | NotModified {
  const { method, range, ifRange, ifNoneMatch } = request
  // Before any range: who has the whole has the part.
  if (matchesEtag(ifNoneMatch, etag)) return { status: 304, headers: { etag } }
  // A date or a weak tag never matches: there is no date to compare with, and only a strong tag vouches for bytes.
  const asked = method === 'GET' && (ifRange === undefined || ifRange === etag)
  const part = asked ? parseRange(range, totalBytes) : undefined
  if (part === 'unsatisfiable') return { status: 416, headers: { 'content-range': `bytes */${totalBytes}` } }
  const [start, end] = part ?? [0, totalBytes]
  const headers = { 'accept-ranges': 'bytes', etag, 'content-length': String(end - start) }
  if (part === undefined) return { status: 200, start, end, headers }
  return {
    status: 206,
    start,
    end,
    headers: { ...headers, 'content-range': `bytes ${start}-${end - 1}/${totalBytes}` },
  }
}

/** Whether a request's If-None-Match names what is here: the weak comparison, a list, or `*`.
 *  @param etag strong, quotes included, without a comma
 *  @see RFC 9110 section 13.1.2 */
export const matchesEtag = (ifNoneMatch: string | undefined, etag: string): boolean =>
  (ifNoneMatch ?? '').split(',').some((one) => {
    const tag = one.trim()
    return tag === '*' || tag === etag || tag === `W/${etag}`
  })

const RANGE = /^bytes=(\d*)-(\d*)$/i

/** Reads a Range header with one range.
 *  @returns first byte and the one after the last; undefined when the header is to be ignored */
export function parseRange(
  header: string | undefined,
  totalBytes: number,
): readonly [start: number, end: number] | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = RANGE.exec(header ?? '') ?? []
  if (first === '' && last === '') return undefined
  if (first === '') {
    if (Number(last) === 0) return 'unsatisfiable'
    // The last bytes of nothing are satisfiable, and no content-range can say so.
    return totalBytes === 0 ? undefined : [Math.max(0, totalBytes - Number(last)), totalBytes]
  }
  if (last !== '' && Number(last) < Number(first)) return undefined
  if (Number(first) >= totalBytes) return 'unsatisfiable'
  return [Number(first), last === '' ? totalBytes : Math.min(totalBytes, Number(last) + 1)]
}
