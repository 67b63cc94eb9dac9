import { expect, it } from 'vitest'
import { type PendingWake, PendingWakes } from '../../../../gateway/store/pending-wakes.ts'
import { tempStore } from '../../../fixtures/gateway-store.ts'

const wake = (index: number): PendingWake => ({
  site: 'lab',
  device: 'd1',
  incarnation: 9,
  boot: 7,
  index,
  model: '00010203fcfdfeff',
  pipeline: 2,
  label: 3,
  group: 'm|b|lab||0|none',
  features: Uint8Array.of(0, 127, 128, 255),
  receivedMs: 1_700_000_000_000,
  slot: 5,
  hourMs: 1_699_999_200_000,
})

it('wakes come back as they were added, oldest first, from an id on', () => {
  const wakes = new PendingWakes(tempStore(), 10)
  for (const index of [5, 3, 4]) expect(wakes.add(wake(index))).toBe(true)
  const all = wakes.after(0, 10)
  expect(all.map(({ index }) => index)).toEqual([5, 3, 4])
  const { id, features, ...first } = all[0]!
  expect({ ...first, features: Uint8Array.from(features) }).toEqual(wake(5))
  expect(wakes.after(id, 10).map(({ index }) => index)).toEqual([3, 4])
  expect(wakes.after(0, 2).map(({ index }) => index)).toEqual([5, 3])
  expect(wakes.after(all[2]!.id, 10)).toEqual([])
})

it('one past the bound is not added, and one is again when another was judged', () => {
  const wakes = new PendingWakes(tempStore(), 2)
  expect([1, 2, 3].map((index) => wakes.add(wake(index)))).toEqual([true, true, false])
  expect(wakes.count).toBe(2)
  const [first] = wakes.after(0, 1)
  expect(wakes.remove(first!.id)).toBe(true)
  // Judged once.
  expect(wakes.remove(first!.id)).toBe(false)
  expect(wakes.count).toBe(1)
  expect(wakes.add(wake(4))).toBe(true)
  expect(wakes.after(0, 10).map(({ index }) => index)).toEqual([2, 4])
})

it('no id comes twice: whoever reads on from the newest misses none', () => {
  const wakes = new PendingWakes(tempStore(), 2)
  wakes.add(wake(1))
  const [first] = wakes.after(0, 1)
  wakes.remove(first!.id)
  wakes.add(wake(2))
  expect(wakes.after(first!.id, 1).map(({ index }) => index)).toEqual([2])
})

it('the count is that of the store, after a start and after a rollback', () => {
  const store = tempStore()
  const wakes = new PendingWakes(store, 2)
  wakes.add(wake(1))
  store.exec('BEGIN')
  wakes.add(wake(2))
  store.exec('ROLLBACK')
  wakes.recount()
  expect(wakes.count).toBe(1)
  expect(new PendingWakes(store, 1).count).toBe(1)
  expect(new PendingWakes(store, 1).add(wake(2))).toBe(false)
})
