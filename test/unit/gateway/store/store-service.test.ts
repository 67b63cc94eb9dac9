import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Origin } from '../../../../gateway/origin.ts'
import { type IngestKind, MessageBatch } from '../../../../gateway/store/message-batch.ts'
import { StoreService } from '../../../../gateway/store/store-service.ts'
import { report, wake } from '../../../runtime/node/gateway-harness.ts'

let dataDir: string
let service: StoreService
const quiet = { info() {}, warn() {}, error() {} }
const open = (): StoreService =>
  new StoreService(
    {
      dataDir,
      gatewayId: 'g1',
      spool: { reportsMax: 1_000, eventsMax: 1_000, verdictsMax: 1_000 },
      pendingWakesMax: 100,
      verifies: true,
    },
    quiet,
  )
const batch = (...messages: (readonly [device: string, kind: IngestKind, payload: Buffer])[]): Uint8Array => {
  const made = new MessageBatch()
  for (const [device, kind, payload] of messages) {
    const origin = { site: 'lab', device, board: 'b' } as Origin
    expect(made.add({ kind, origin, payload, receivedMs: 3_600_000 })).toBe(true)
  }
  return made.take()
}
const assignment = (device: string, seq: number) => ({
  held: { site: 'lab', device, seq, document: Uint8Array.of(seq) },
  tag: { seq, rollout: 'r1', stage: 1, arm: 'canary', board: 'b' } as const,
})

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'kinglet-store-'))
  service = open()
})
afterEach(() => service.close())

describe('a batch', () => {
  it('is answered as a whole: drops and duplicates are final, and what was missed is named once a device', async () => {
    await service.takeAssignments([assignment('d1', 5), assignment('d2', 5), assignment('d3', 5)], 9)
    const answer = await service.enter(
      batch(
        ['d1', 'report', report(1, 0, { assignmentSeq: 4 })],
        ['d1', 'report', report(1, 1, { assignmentSeq: 4 })],
        ['d1', 'report', report(1, 1, { assignmentSeq: 4 })],
        ['d2', 'report', report(1, 0, { assignmentSeq: 5 })],
        ['d3', 'report', report(1, 0, { assignmentSeq: 4 }).subarray(0, 50)],
        ['d4', 'report', report(1, 0)],
        ['d4', 'event', Buffer.of(1)],
      ),
    )
    expect(answer.failed).toEqual([])
    expect(answer.missed.map(({ device, seq }) => [device, seq])).toEqual([['d1', 5]])
    expect(answer.wakesAdded).toBe(false)
    expect(service.counters.take()).toEqual([
      ['report', 'malformed', 1],
      ['report', 'accepted', 4],
      ['report', 'duplicate', 1],
      ['event', 'malformed', 1],
    ])
    expect(service.counters.take()).toEqual([])
  })

  it('loses only the message that the store cannot take, in memory too', async () => {
    const other = new Database(join(dataDir, 'gateway.sqlite'))
    other.exec(`CREATE TRIGGER refusal BEFORE INSERT ON spool_report WHEN NEW.device = 'd2'
                BEGIN SELECT RAISE(ABORT, 'not this one'); END`)
    const messages = [
      ['d1', 'report', report(1, 0)],
      ['d2', 'report', report(1, 0)],
      ['d3', 'report', report(1, 0)],
    ] as const
    const { failed } = await service.enter(batch(...messages))
    expect(failed).toEqual([{ index: 1, error: 'not this one' }])
    expect(service.counters.take()).toEqual([
      ['report', 'failed', 1],
      ['report', 'accepted', 2],
    ])
    other.exec('DROP TRIGGER refusal')
    other.close()
    // Sent again it is no duplicate, and the others are.
    expect((await service.enter(batch(...messages))).failed).toEqual([])
    expect(service.counters.take()).toEqual([
      ['report', 'duplicate', 2],
      ['report', 'accepted', 1],
    ])
    await service.close()
    service = open()
    expect(service.figures.spoolReports).toBe(3)
    for (const device of ['d1', 'd2', 'd3']) expect(service.deviceSums(device)[2]).toBe(3)
  })
})

describe('a verdict', () => {
  it('is booked once', async () => {
    const { wakesAdded } = await service.enter(batch(['d1', 'wake', wake(1, 1, 80)]))
    expect(wakesAdded).toBe(true)
    const [pending] = service.pendingWakes(0, 10)
    expect(await service.bookVerdict(pending!, true)).toBe(true)
    expect(await service.bookVerdict(pending!, true)).toBe(false)
    const [cell] = service.cellsSince(0)
    expect(cell!.values.slice(-2)).toEqual([1, 0])
    expect(service.figures.pendingWakes).toBe(0)
  })
})

describe('assignments', () => {
  it('go forward only, and are known after a restart', async () => {
    expect(await service.takeAssignments([assignment('d1', 2)], 1)).toHaveLength(1)
    expect(await service.takeAssignments([assignment('d1', 1), assignment('d1', 2)], 2)).toEqual([])
    expect(service.counters.take()).toEqual([
      ['assignment', 'replayed', 1],
      ['assignment', 'duplicate', 1],
    ])
    await service.close()
    service = open()
    expect(service.assignments()).toMatchObject({ cursor: '2', held: [{ device: 'd1', seq: 2 }] })
    const { missed } = await service.enter(batch(['d1', 'report', report(1, 0, { assignmentSeq: 1 })]))
    expect(missed.map(({ seq }) => seq)).toEqual([2])
  })
})
