import { expect, it } from 'vitest'
import { MessageCounters } from '../../../gateway/message-counters.ts'

it('counts by kind and outcome, by one unless told', () => {
  const counters = new MessageCounters()
  counters.add('report', 'accepted')
  counters.add('report', 'accepted', 11)
  counters.add('report', 'duplicate')
  counters.add('wake', 'accepted', 0)
  expect([counters.get('report', 'accepted'), counters.get('wake', 'accepted'), counters.get('event', 'x')]).toEqual([
    12, 0, 0,
  ])
  expect(counters.snapshot()).toEqual({ report: { accepted: 12, duplicate: 1 }, wake: { accepted: 0 } })
})

it('gives out what was counted since it last did', () => {
  const counters = new MessageCounters()
  counters.add('report', 'accepted', 2)
  expect(counters.take()).toEqual([['report', 'accepted', 2]])
  expect([counters.take(), counters.get('report', 'accepted')]).toEqual([[], 0])
  counters.add('report', 'accepted')
  expect(counters.take()).toEqual([['report', 'accepted', 1]])
})
