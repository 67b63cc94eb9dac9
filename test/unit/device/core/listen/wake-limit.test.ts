import { expect, it } from 'vitest'
import { admitWake, fullWakeLimit } from '../../../../../device/core/listen/wake-limit.ts'

/** @returns how many of the wakes at these times are admitted */
function admitted(times: readonly number[], fromMs = 0): number {
  let limit = fullWakeLimit(fromMs)
  let count = 0
  for (const atMs of times) {
    const answer = admitWake(limit, atMs)
    limit = answer.limit
    if (answer.admitted) count++
  }
  return count
}
const every = (ms: number, until: number): number[] => Array.from({ length: until / ms }, (_, i) => i * ms)

it('a dozen wakes may follow at once, then one in five seconds', () => {
  expect(admitted(Array.from({ length: 100 }, () => 0))).toBe(12)
  expect(admitted([...Array.from({ length: 13 }, () => 0), 4_999])).toBe(12)
  expect(admitted([...Array.from({ length: 13 }, () => 0), 5_000])).toBe(13)
  expect(admitted([...Array.from({ length: 13 }, () => 0), 5_000, 5_000])).toBe(13)
})

it('a stuck detector wakes at most 24 times in a minute and 732 in an hour', () => {
  expect(admitted([...every(200, 60_000), 60_000])).toBe(24)
  expect(admitted([...every(200, 3_600_000), 3_600_000])).toBe(732)
})

it('rest gives back a dozen and no more; a time before the last gives nothing', () => {
  const spent = Array.from({ length: 12 }, () => 0)
  const later = Array.from({ length: 20 }, () => 86_400_000)
  expect(admitted([...spent, ...later])).toBe(24)
  expect(admitted([...spent.map(() => 10_000), 0, 5_000, 10_000], 10_000)).toBe(12)
})
