import { expect, it } from 'vitest'
import { addBins, noiseBin, posteriorBin, zeroBins } from '../../../../../device/core/listen/heard.ts'

it('histogram bins have closed lower edges and an open last bin', () => {
  expect([0, 49, 50, 99, 899, 900, 1000].map(posteriorBin)).toEqual([0, 0, 1, 1, 6, 7, 7])
  expect([-96, -80, -79.5, -20, 0].map(noiseBin)).toEqual([0, 1, 1, 7, 7])
})

it('stretches add up bin by bin; eight bins, as a report has', () => {
  expect(zeroBins()).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
  expect(zeroBins()).not.toBe(zeroBins())
  expect(addBins([1, 2, 3], [10, 20, 30])).toEqual([11, 22, 33])
  // What an older image has not counted is nothing.
  expect(addBins([1, 2, 3], [10])).toEqual([11, 2, 3])
})
