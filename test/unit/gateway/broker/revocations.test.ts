import { describe, expect, it, onTestFinished } from 'vitest'
import { contractError } from '../../../../contract/errors.ts'
import { err, ok } from '../../../../contract/result.ts'
import { Revocations } from '../../../../gateway/broker/revocations.ts'
import type { CloudClient } from '../../../../gateway/cloud-link/cloud-client.ts'
import { MessageCounters } from '../../../../gateway/message-counters.ts'
import { notedLog, WaitedClock } from '../../../fixtures/timers.ts'

const EVERY_MS = 30_000
const UNAVAILABLE = err({ ...contractError('unavailable', 'away'), status: undefined })
type Answer = ReturnType<typeof ok<unknown>> | typeof UNAVAILABLE
const feed = (cursor: number, ...items: readonly (readonly [string, number])[]): Answer =>
  ok({ cursor, items: items.map(([device, beforeMs]) => ({ device, beforeMs })) })

/** Revocations before a cloud that answers by the cursor it is asked after. */
function world(answers: Readonly<Record<number, Answer>> = {}, stored?: string) {
  const asked: string[] = []
  const cloud = {
    getJson: async (path: string) => {
      asked.push(path)
      const after = Number(new URLSearchParams(path.split('?')[1]).get('after'))
      return answers[after] ?? feed(after)
    },
  } as Partial<CloudClient> as CloudClient
  const clock = new WaitedClock()
  const counters = new MessageCounters()
  const logger = notedLog()
  const kept: string[] = []
  const told: string[] = []
  const revocations = new Revocations(
    {
      cloud,
      clock,
      counters,
      logger,
      stored,
      keep: (list) => kept.push(list),
    },
    EVERY_MS,
  )
  onTestFinished(() => revocations.close())
  /** Lets it ask until it waits. */
  const started = async () => {
    revocations.start((device) => told.push(device))
    expect(await clock.waits()).toBe(EVERY_MS)
  }
  const again = async () => {
    clock.end()
    expect(await clock.waits()).toBe(EVERY_MS)
  }
  return {
    answers: answers as Record<number, Answer>,
    asked,
    clock,
    counters,
    kept,
    logger,
    revocations,
    started,
    again,
    told,
  }
}

describe('a token', () => {
  it('issued before its device was revoked, or at that moment, is refused; a later one is not', async () => {
    const { revocations, started, told } = world({ 0: feed(7, ['d1', 5_000]) })
    expect(revocations.refuses('d1', 0)).toBe(false)
    await started()
    expect([4_999, 5_000, 5_001].map((issuedMs) => revocations.refuses('d1', issuedMs))).toEqual([true, true, false])
    // It may have been issued at any time.
    expect(revocations.refuses('d1', undefined)).toBe(true)
    expect(revocations.refuses('d2', undefined)).toBe(false)
    expect(told).toEqual(['d1'])
  })
})

describe('the list', () => {
  it('is asked for from where it ended, at once and then in turns', async () => {
    const { answers, asked, counters, started, again, revocations } = world({ 0: feed(7, ['d1', 1], ['d2', 2]) })
    await started()
    await again()
    answers[7] = feed(9, ['d1', 8])
    await again()
    await again()
    expect(asked.map((path) => path.split('=')[1])).toEqual(['0', '7', '7', '9'])
    expect(asked[0]).toBe('/v1/revocations?after=0')
    expect(revocations.refuses('d1', 8)).toBe(true)
    expect(counters.snapshot()).toEqual({ revocations: { accepted: 3 } })
  })

  it('is read on in one turn while answers are full, sixteen at most', async () => {
    const items = Array.from({ length: 2_000 }, (_, i) => [`d${i}`, 1] as const)
    const pages = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [i, feed(i + 1, ...items)]))
    const { asked, started, again } = world(pages)
    await started()
    expect(asked).toHaveLength(16)
    await again()
    // Four full ones and one that says that there is no more.
    expect(asked).toHaveLength(16 + 5)
    const { asked: few, started: start } = world({ 0: feed(1, ['d1', 1]), 1: feed(2, ['d2', 1]) })
    await start()
    expect(few).toHaveLength(1)
  })

  it('is kept on disk and holds after a start, oldest first, with its cursor', async () => {
    const { kept, started, again, answers } = world({ 0: feed(7, ['d1', 1], ['d2', 2]) })
    await started()
    answers[7] = feed(8, ['d1', 3])
    await again()
    await again()
    expect(kept).toHaveLength(2)
    // Revoked again, d1 is the newer one.
    expect(JSON.parse(kept[1]!)).toEqual({
      cursor: 8,
      items: [
        ['d2', 2],
        ['d1', 3],
      ],
    })
    const after = world({}, kept[1])
    expect([after.revocations.refuses('d1', 3), after.revocations.refuses('d2', 3)]).toEqual([true, false])
    await after.started()
    expect(after.asked).toEqual(['/v1/revocations?after=8'])
    expect(after.kept).toEqual([])
  })

  it('that was kept in another shape is asked for anew', async () => {
    const { asked, revocations, started } = world({}, '{"cursor":5,"items":[["d1","1"]]}')
    expect(revocations.refuses('d1', 0)).toBe(false)
    await started()
    expect(asked).toEqual(['/v1/revocations?after=0'])
  })

  it('holds while the cloud is away, or says what is no list', async () => {
    const { answers, asked, counters, kept, logger, revocations, started, again } = world({ 0: feed(7, ['d1', 5]) })
    await started()
    answers[7] = UNAVAILABLE
    await again()
    answers[7] = ok({ cursor: 8, items: [{ device: 'NO ID', beforeMs: 1 }] })
    await again()
    answers[7] = ok(undefined)
    await again()
    expect(revocations.refuses('d1', 5)).toBe(true)
    expect(counters.snapshot()).toEqual({ revocations: { accepted: 1, unavailable: 1, malformed: 2 } })
    expect(asked.slice(1)).toEqual(new Array(3).fill('/v1/revocations?after=7'))
    expect([kept.length, logger.lines.length]).toEqual([1, 2])
  })
})

describe('the end', () => {
  it('is the end of asking, between two turns and within one', async () => {
    const { clock, revocations, started } = world()
    await started()
    revocations.close()
    expect(clock.waiting).toBe(0)
    const within = world()
    within.revocations.start(() => undefined)
    within.revocations.close()
    await new Promise((resolve) => setImmediate(resolve))
    expect([within.clock.waiting, within.asked.length]).toEqual([0, 1])
  })
})

/** Takes one answer of the cloud.
 *  @returns what was put on disk, and who was told of */
async function taken(items: readonly { device: string; beforeMs: number }[], stored?: string) {
  const kept: string[] = []
  const told: string[] = []
  const clock = new WaitedClock()
  const cloud = { getJson: async () => ok({ v: 1, cursor: 7, items }) } as Partial<CloudClient> as CloudClient
  const keep = (list: string) => kept.push(list)
  const revocations = new Revocations(
    { ...{ cloud, clock, keep, stored }, counters: new MessageCounters(), logger: notedLog() },
    30_000,
  )
  revocations.start((device) => told.push(device))
  await new Promise((resolve) => setImmediate(resolve))
  revocations.close()
  return { kept: kept.map((list) => JSON.parse(list)), told, revocations }
}
const of = (device: string, beforeMs = 1_000) => ({ device, beforeMs })

it('what was revoked holds for tokens issued before, and whoever is connected is told of', async () => {
  const { told, revocations } = await taken([of('a'), of('b', 2_000)])
  expect(told).toEqual(['a', 'b'])
  expect(['a', 'b', 'c'].map((device) => revocations.refuses(device, 1_500))).toEqual([false, true, false])
  expect(revocations.refuses('a', undefined)).toBe(true)
})

it('the list is kept in the order of being revoked, asking is no use of it, and past 100 000 the oldest goes', async () => {
  const before = Array.from({ length: 100_000 }, (_, i) => [`d${i}`, 1_000] as const)
  const stored = JSON.stringify({ cursor: 3, items: before })
  const { kept, revocations } = await taken([of('d0', 5_000), of('new', 5_000)], stored)
  expect(kept).toHaveLength(1)
  expect(kept[0].cursor).toBe(7)
  expect(kept[0].items).toHaveLength(100_000)
  expect(kept[0].items.slice(0, 2)).toEqual([
    ['d2', 1_000],
    ['d3', 1_000],
  ])
  expect(kept[0].items.slice(-2)).toEqual([
    ['d0', 5_000],
    ['new', 5_000],
  ])
  expect(revocations.refuses('d1', 1)).toBe(false)
  expect(revocations.refuses('d0', 4_000)).toBe(true)

  const again = await taken([of('newer')], JSON.stringify(kept[0]))
  expect(again.revocations.refuses('d2', 1)).toBe(false)
  expect(again.revocations.refuses('d3', 1)).toBe(true)
})
