import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { reportCodec, wakeCodec } from '../../../../contract/messages.ts'
import { type IngestBatch, ingestBatchSchema } from '../../../../contract/uplink.ts'
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
    expect(cell!.values.slice(-3)).toEqual([1, 0, 0])
    expect(service.figures.pendingWakes).toBe(0)
  })
})

describe('time and incarnations', () => {
  const HOUR = 3_600_000
  const T0 = 1_790_000_000_000 - (1_790_000_000_000 % HOUR)
  const enter = (messages: readonly (readonly [kind: IngestKind, payload: Buffer, receivedMs: number])[]) => {
    const made = new MessageBatch()
    for (const [kind, payload, receivedMs] of messages) {
      made.add({ kind, origin: { site: 'lab', device: 'd1', board: 'b' } as Origin, payload, receivedMs })
    }
    return service.enter(made.take())
  }
  const rows = (): IngestBatch => {
    const next = service.nextBatch(500, ['reports', 'events', 'verdicts', 'aggregates'])
    service.delivered()
    if (next === undefined) throw new Error('nothing is due')
    return ingestBatchSchema.parse(JSON.parse(Buffer.from(next.body).toString()))
  }
  const again = (codec: typeof reportCodec | typeof wakeCodec, payload: Buffer, more: object): Buffer => {
    const decoded = codec.decode(payload)
    if (!decoded.ok) throw new Error(decoded.error.detail)
    return Buffer.from(codec.encode({ ...decoded.value, ...more } as never))
  }
  const reportOf = (boot: number, seq: number, more: object = {}) => again(reportCodec, report(boot, seq), more)
  const wakeOf = (boot: number, index: number, more: object = {}) => again(wakeCodec, wake(boot, index, 80), more)
  const judge = async (verdict: boolean | undefined) => {
    for (const wake of service.pendingWakes(0, 100)) expect(await service.bookVerdict(wake, verdict)).toBe(true)
  }

  it('a replaced board under the same id: all of its reports and wakes count, and those of the former still do', async () => {
    await enter(Array.from({ length: 20 }, (_, i) => ['report', reportOf(30 + i, 0), T0 + i * HOUR] as const))
    const fresh = { incarnation: 0xffff_ffff }
    await enter(Array.from({ length: 30 }, (_, i) => ['report', reportOf(1, i, fresh), T0 + (21 + i) * HOUR] as const))
    await enter([
      ['wake', wakeOf(1, 1, { ...fresh, uptimeMs: 3.5 * HOUR }), T0 + 60 * HOUR],
      // The former board's, from a queue: of a boot with the same number, and of one that is known.
      ['wake', wakeOf(49, 1, { uptimeMs: 100 }), T0 + 60 * HOUR],
      ['report', reportOf(49, 1), T0 + 60 * HOUR],
    ])
    expect(service.counters.take()).toEqual([
      ['report', 'accepted', 51],
      ['wake', 'accepted', 2],
    ])
    await judge(true)
    const { reports, verdicts } = rows()
    expect(reports.filter(({ incarnation }) => incarnation === 0xffff_ffff)).toHaveLength(30)
    expect(verdicts).toMatchObject([
      { boot: 49, slot: 0, confirmed: 1 },
      { incarnation: 0xffff_ffff, boot: 1, slot: 3, confirmed: 1 },
    ])
    expect(verdicts[0]).not.toHaveProperty('incarnation')
    // Restarted, it knows them all; nothing counts twice.
    await service.close()
    service = open()
    await enter([
      ['report', reportOf(1, 29, fresh), T0],
      ['wake', wakeOf(1, 1, { ...fresh, uptimeMs: 3.5 * HOUR }), T0],
    ])
    expect(service.counters.take()).toEqual([
      ['report', 'duplicate', 1],
      ['wake', 'duplicate', 1],
    ])
    // 19 boots of one report, one of two, one of thirty: the closed ones too.
    expect(service.deviceSums('d1')[2]).toBe(3 * (19 + 2 + 30))
  })

  it('a wake is of the slot of its uptime, whatever the wall clock says and whenever it comes', async () => {
    await enter([
      ['report', reportOf(1, 0, { wallMs: T0 - 40 * 60_000 }), T0 + HOUR],
      ['wake', wakeOf(1, 1, { uptimeMs: 2.9 * HOUR, wallMs: 5 }), T0 + 30 * HOUR],
    ])
    await judge(false)
    const { verdicts, aggregates } = rows()
    expect(verdicts).toEqual([
      {
        site: 'lab',
        device: 'd1',
        boot: 1,
        model: expect.any(String),
        slot: 2,
        confirmed: 0,
        rejected: 1,
        unjudged: 0,
        revision: 1,
      },
    ])
    expect(aggregates.find(({ rejected }) => rejected > 0)?.hourMs).toBe(T0 + 2 * HOUR)
  })

  it('a wake of an old device: by its clock where a report tells how it stands, else by receipt', async () => {
    await enter([
      ['report', reportOf(1, 0, { wallMs: 7 * HOUR }), T0 + HOUR],
      // The report's clock says 7 h at an uptime of one: this is at 3.25 h.
      ['wake', wakeOf(1, 1, { wallMs: 9.25 * HOUR }), T0 + 30 * HOUR],
      ['wake', wakeOf(1, 2, { wallMs: 0 }), T0 + 5.5 * HOUR],
      // Nothing is known of this boot: the hour of receipt is what there is.
      ['wake', wakeOf(2, 1), T0 + 9.5 * HOUR],
    ])
    await judge(true)
    const { verdicts } = rows()
    expect(verdicts.map(({ boot, slot, hourMs }) => [boot, slot, hourMs]).sort()).toEqual([
      [1, 3, undefined],
      [1, 5, undefined],
      [2, undefined, T0 + 9 * HOUR],
    ])
  })

  it('a backlog is booked in the hours in which it happened', async () => {
    await enter([['report', reportOf(1, 0), T0 + HOUR]])
    rows()
    await enter([1, 2, 3].map((seq) => ['report', reportOf(1, seq), T0 + 30 * HOUR] as const))
    const { aggregates } = rows()
    expect(aggregates.map(({ hourMs, listeningMs }) => [(hourMs - T0) / HOUR, listeningMs])).toEqual([
      [2, HOUR],
      [3, HOUR],
      [4, HOUR],
    ])
  })

  it('without a clock nothing is booked in an hour, and all is sent on', async () => {
    await enter([
      ['report', reportOf(1, 0), 0],
      ['wake', wakeOf(1, 1, { uptimeMs: 10 }), 0],
    ])
    await judge(true)
    const { reports, verdicts, aggregates } = rows()
    expect(aggregates).toEqual([])
    expect(reports).toMatchObject([{ receivedMs: 0, uptimeMs: HOUR }])
    expect(verdicts).toMatchObject([{ slot: 0, confirmed: 1 }])
    expect(service.counters.take().map(([kind, outcome]) => `${kind} ${outcome}`)).toEqual([
      'report accepted',
      'wake accepted',
    ])
    // It has learned the time: what is known from then on has its hour, and nothing of before is taken back from one.
    await enter([['report', reportOf(1, 1), T0 + 2 * HOUR]])
    expect(rows().aggregates).toMatchObject([{ hourMs: T0 + 2 * HOUR, listeningMs: HOUR }])
    service.upkeep(0)
  })

  it('what cannot be judged, and what finds no room to wait, is counted apart', async () => {
    await enter(Array.from({ length: 102 }, (_, i) => ['wake', wakeOf(1, i + 1, { uptimeMs: 10 }), T0] as const))
    await judge(undefined)
    const { verdicts, aggregates } = rows()
    expect(verdicts).toMatchObject([{ confirmed: 0, rejected: 0, unjudged: 102 }])
    expect(aggregates).toMatchObject([{ confirmed: 0, rejected: 0, unjudged: 102 }])
  })

  it('an uptime that no device has is dropped as implausible', async () => {
    await enter([['report', reportOf(1, 0, { uptimeMs: Number.MAX_SAFE_INTEGER }), T0]])
    expect(service.counters.take()).toEqual([['report', 'implausible', 1]])
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
