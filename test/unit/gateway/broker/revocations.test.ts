import { expect, it } from 'vitest'
import { ok } from '../../../../contract/result.ts'
import { Revocations } from '../../../../gateway/broker/revocations.ts'
import type { CloudClient } from '../../../../gateway/cloud-link/cloud-client.ts'
import { MessageCounters } from '../../../../gateway/message-counters.ts'
import { quietLogger } from '../../../runtime/node/gateway-harness.ts'

const clock = { wallMs: () => 0, monotonicMs: () => 0, after: () => () => undefined }

/** Takes one answer of the cloud.
 *  @returns what was put on disk, and who was told of */
async function taken(items: readonly { device: string; beforeMs: number }[], stored?: string) {
  const kept: string[] = []
  const told: string[] = []
  const cloud = { getJson: async () => ok({ v: 1, cursor: 7, items }) } as Partial<CloudClient> as CloudClient
  const keep = (list: string) => kept.push(list)
  const revocations = new Revocations(
    { ...{ cloud, clock, keep, stored }, counters: new MessageCounters(), logger: quietLogger },
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
