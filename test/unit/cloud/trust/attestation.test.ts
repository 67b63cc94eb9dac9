import nacl from 'tweetnacl'
import { describe, expect, it } from 'vitest'
import { attestedBy } from '../../../../cloud/trust/attestation.ts'
import { encodeReport, NO_WAKES } from '../../../../contract/attested-report.ts'
import { bytesToHex } from '../../../../contract/bytes.ts'
import { keyIdOf } from '../../../../contract/signed.ts'
import type { ReportRow } from '../../../../contract/uplink.ts'
import { reportRow } from '../../../../gateway/store/spool-rows.ts'
import { reportSample } from '../../../fixtures/contract-samples.ts'

const key = nacl.sign.keyPair.fromSeed(new Uint8Array(32).fill(5))
const known = {
  ...{ keyId: keyIdOf(key.publicKey), publicKey: bytesToHex(key.publicKey), device: 1, sinceMs: 0, untilMs: null },
  ...{ state: 'active' as const, signsReports: 0 as const },
}
const signals = [3, 0, 17]
const payload = Buffer.from(
  encodeReport('d-1', { ...reportSample, incarnation: 9, inferenceMs: 5, signals }, NO_WAKES, (message) =>
    nacl.sign.detached(message, key.secretKey),
  ),
)
/** As a gateway hands it on. */
const row = reportRow({ id: 1, site: 's', device: 'd-1', boot: 7, seq: 23, board: 'b', received: 5, payload })

describe('a signed report', () => {
  it("is the device's word as its gateway hands it on", () => {
    expect(row.signals).toEqual(signals)
    expect(attestedBy(row, [known])).toBe(1)
    expect(attestedBy(row, [])).toBeNull()
  })

  it.each<[string, Partial<ReportRow>]>([
    ['signals', { signals: [3, 0, 18] }],
    ['fewer signals', { signals: [3, 0] }],
    ['more signals', { signals: [...signals, 0] }],
    ['counters', { counters: row.counters.map((count, i) => (i === 4 ? count + 1 : count)) }],
    ['energy', { energyMj: row.energyMj.map((mj) => mj + 1) }],
    ['a model', { model: 'ff'.repeat(8) }],
    ['an uptime', { uptimeMs: row.uptimeMs + 1 }],
    ['a number', { seq: row.seq + 1 }],
    ['an incarnation', { incarnation: 8 }],
    ['inference time', { inferenceMs: 6 }],
    ['a device', { device: 'd-2' }],
  ])('with other %s than were signed is not', (_what, change) => {
    expect(attestedBy({ ...row, ...change }, [known])).toBe(0)
  })

  it('without its signals is not', () => {
    const { signals: _, ...without } = row
    expect(attestedBy(without, [known])).toBe(0)
  })
})
