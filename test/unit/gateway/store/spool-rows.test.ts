import { describe, expect, it } from 'vitest'
import { EVENT_CODES, eventCodec, reportCodec } from '../../../../contract/messages.ts'
import { eventRowSchema, reportRowSchema } from '../../../../contract/uplink.ts'
import { eventRow, reportRow } from '../../../../gateway/store/spool-rows.ts'
import { reportSample } from '../../../fixtures/contract-samples.ts'

const RECEIVED_MS = 1_700_086_401_000
const MODEL = Uint8Array.of(0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff)

describe('the row of a report', () => {
  const record = { id: 9, site: 'lab', device: 'd1', boot: 7, seq: 23, board: 'b1', received: RECEIVED_MS }

  it('is the report with its sender and the time it came, and the model in hex', () => {
    const row = reportRow({ ...record, payload: Buffer.from(reportCodec.encode(reportSample)) })
    expect(row).toEqual({
      ...reportSample,
      model: '00010203fcfdfeff',
      site: 'lab',
      device: 'd1',
      receivedMs: RECEIVED_MS,
    })
    expect(reportRowSchema.safeParse(row).success).toBe(true)
  })

  it('of what is no report is a bug: it was decoded before it was spooled', () => {
    expect(() => reportRow({ ...record, payload: Buffer.of(1) })).toThrow('spooled report')
  })
})

describe('the row of an event', () => {
  const event = { boot: 7, seq: 3, wallMs: 5, code: EVENT_CODES.indexOf('install-failed') }
  const rowOf = (more: Partial<Parameters<typeof eventCodec.encode>[0]> = {}) => {
    const payload = Buffer.from(eventCodec.encode({ ...event, ...more }))
    const row = eventRow({ id: 1, site: 'lab', device: 'd1', received: RECEIVED_MS, payload })
    expect(eventRowSchema.safeParse(row).success).toBe(true)
    return { row, payload }
  }
  const bare = {
    boot: 7,
    seq: 3,
    wallMs: 5,
    code: 'install-failed',
    site: 'lab',
    device: 'd1',
    receivedMs: RECEIVED_MS,
  }

  it('names the code, and has no field that the event has not', () => {
    const { row } = rowOf()
    expect(row).toEqual(bare)
    expect(Object.keys(row)).toHaveLength(7)
  })

  it('has all that the event says, model in hex; empty words and number 0 too', () => {
    expect(rowOf({ model: MODEL, error: 'expired', detail: '', assignmentSeq: 0 }).row).toEqual({
      ...bare,
      model: '00010203fcfdfeff',
      error: 'expired',
      detail: '',
      assignmentSeq: 0,
    })
  })

  it('that is signed is the message itself too; the counter is taken from there', () => {
    const { row, payload } = rowOf({ securityCounter: 4, signature: new Uint8Array(64).fill(7) })
    expect(row).toEqual({ ...bare, signed: payload.toString('hex') })
  })

  it('of what is no event is a bug', () => {
    const payload = Buffer.of(1)
    expect(() => eventRow({ id: 1, site: 'lab', device: 'd1', received: 0, payload })).toThrow('spooled event')
  })
})
