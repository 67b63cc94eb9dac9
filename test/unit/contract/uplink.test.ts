import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../contract/limits.ts'
import { ingestBatchSchema, reportRowSchema } from '../../../contract/uplink.ts'
import { reportSample } from '../../fixtures/contract-samples.ts'

describe('ingest rows', () => {
  const row = { ...reportSample, site: 'lab', device: 'bird-1', receivedMs: 1, model: '00'.repeat(8) }
  const batch = { v: 1, gateway: 'g', reports: [row], verdicts: [], events: [], aggregates: [] }

  it('take a report as a gateway decodes it', () => {
    expect(ingestBatchSchema.safeParse(batch).success).toBe(true)
  })

  it.each([
    { ...row, counters: row.counters.slice(1) },
    { ...row, batteryPermille: 1001 },
    { ...row, model: 'xyz' },
    { ...row, device: 'a bird' },
    { ...row, surprise: 1 },
    { ...row, seq: -1 },
    { ...row, seq: 0.5 },
    { ...row, uptimeMs: LIMITS.counter + 2 },
  ])('refuse what is out of bounds (%#)', (bad) => {
    expect(reportRowSchema.safeParse(bad).success).toBe(false)
  })

  it('are bounded in number', () => {
    const rows = new Array(LIMITS.ingestRows + 1).fill(row)
    expect(ingestBatchSchema.safeParse({ ...batch, reports: rows }).success).toBe(false)
    expect(ingestBatchSchema.safeParse({ ...batch, v: 2 }).success).toBe(false)
  })
})
