import { describe, expect, it } from 'vitest'
import { parseRange, servedBytes } from '../../../contract/byte-range.ts'
import { RANGE_BYTES, RANGE_CASES, rangeCaseName } from '../../fixtures/range-cases.ts'

const ETAG = '"abc"'

describe('a request for bytes', () => {
  it.each(RANGE_CASES.map((each) => [rangeCaseName(each), each] as const))('%s', (_, { range, ifRange, served }) => {
    const request = { method: 'GET', range, ifRange: ifRange?.replace('E', ETAG), ifNoneMatch: undefined }
    const answer = servedBytes(request, ETAG, RANGE_BYTES)
    if (served === 'none') {
      return expect(answer).toEqual({ status: 416, headers: { 'content-range': `bytes */${RANGE_BYTES}` } })
    }
    const [start, end] = served === 'whole' ? [0, RANGE_BYTES] : served
    const headers = { 'accept-ranges': 'bytes', etag: ETAG, 'content-length': String(end - start) }
    expect(answer).toEqual(
      served === 'whole'
        ? { status: 200, start, end, headers }
        : {
            status: 206,
            start,
            end,
            headers: { ...headers, 'content-range': `bytes ${start}-${end - 1}/${RANGE_BYTES}` },
          },
    )
  })

  it('without a range, or with a method that has none, is for the whole', () => {
    const whole = { status: 200, start: 0, end: 10 }
    expect(
      servedBytes({ method: 'GET', range: undefined, ifRange: ETAG, ifNoneMatch: undefined }, ETAG, 10),
    ).toMatchObject(whole)
    expect(
      servedBytes({ method: 'HEAD', range: 'bytes=4-5', ifRange: undefined, ifNoneMatch: undefined }, ETAG, 10),
    ).toMatchObject(whole)
    expect(
      servedBytes({ method: 'HEAD', range: 'bytes=99-', ifRange: undefined, ifNoneMatch: undefined }, ETAG, 10),
    ).toMatchObject(whole)
  })

  it.each([
    [ETAG, true],
    [`W/${ETAG}`, true],
    [`"x", ${ETAG}`, true],
    [`"x",W/${ETAG} , "y"`, true],
    ['*', true],
    ['"abd"', false],
    ['abc', false],
    ['', false],
    [undefined, false],
  ])('of somebody who has %s is answered with nothing: %s', (ifNoneMatch, has) => {
    const { status } = servedBytes({ method: 'GET', range: 'bytes=1-2', ifRange: undefined, ifNoneMatch }, ETAG, 10)
    expect(status).toBe(has ? 304 : 206)
    expect(servedBytes({ method: 'HEAD', range: undefined, ifRange: undefined, ifNoneMatch }, ETAG, 10).status).toBe(
      has ? 304 : 200,
    )
  })

  it('of nothing has no bytes, but its last ones are all of it', () => {
    expect(parseRange('bytes=0-', 0)).toBe('unsatisfiable')
    expect(parseRange('bytes=-0', 0)).toBe('unsatisfiable')
    expect(parseRange('bytes=-5', 0)).toBeUndefined()
  })
})
