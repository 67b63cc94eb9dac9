import { expect, it } from 'vitest'
import { bearerToken } from '../../../contract/bearer.ts'

it.each([
  ['Bearer a.b-c_d', 'a.b-c_d'],
  ['bearer a.b', 'a.b'],
  ['BEARER   a.b', 'a.b'],
  [undefined, undefined],
  ['', undefined],
  ['Bearer', undefined],
  ['Bearer ', undefined],
  ['Bearera.b', undefined],
  ['Basic a.b', undefined],
  ['Bearer a b', undefined],
  ['Bearer a\n', undefined],
  ['x Bearer a', undefined],
])('%j brings %j', (header, token) => {
  expect(bearerToken(header)).toBe(token)
})
