import { expect, it } from 'vitest'
import { TokenBucket } from '../../../platform/token-bucket.ts'

it('a bucket is full at first, fills up with time, and never beyond what may be saved up', () => {
  const bucket = new TokenBucket({ perSecond: 2, burst: 3 }, 1_000)
  expect(bucket.left(1_000)).toBe(3)
  bucket.take(3)
  expect(bucket.left(1_000)).toBe(0)
  expect(bucket.left(1_250)).toBe(0.5)
  expect(bucket.left(2_000)).toBe(2)
  expect(bucket.left(60_000)).toBe(3)
})

it('what is taken beyond what is left is made up for first', () => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 20 }, 0)
  bucket.take(50)
  expect(bucket.left(0)).toBe(-30)
  expect(bucket.left(2_900)).toBe(-1)
  expect(bucket.left(3_100)).toBe(1)
})
