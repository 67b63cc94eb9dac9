import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Store } from '../../../../cloud/store/store.ts'
import { attestedBy } from '../../../../cloud/trust/attestation.ts'
import { NO_WAKES, readSignedReport, wakeLink } from '../../../../contract/attested-report.ts'
import { bytesToHex, hexToBytes } from '../../../../contract/bytes.ts'
import { LIMITS } from '../../../../contract/limits.ts'
import { COUNTER_NAMES, reportCodec } from '../../../../contract/messages.ts'
import { keyIdOf } from '../../../../contract/signed.ts'
import type { ReportRow, VerdictRow } from '../../../../contract/uplink.ts'
import { decodeReport } from '../../../../gateway/store/report-decoder.ts'
import { SITE } from '../../../fixtures/documents.ts'
import { decodedWake, SigningDevice } from '../../../fixtures/signing-device.ts'
import { batchOf, T0 } from '../../../fixtures/synthetic-fleet.ts'

const WAKES = COUNTER_NAMES.indexOf('wakes')
const signedOf = (row: ReportRow | undefined): Uint8Array => hexToBytes(row!.signed!)

describe('the word of a device on its counters and its wakes', () => {
  const device = new SigningDevice('dev-7', 7)
  for (const wakes of [3, 0, 2]) device.hour(wakes)

  it('is one signature a report, over all wakes of the boot', () => {
    expect(device.reports.map(({ counters }) => counters[WAKES])).toEqual([0, 3, 3])
    expect(device.reports.map(({ wakeLink: link }) => link)).toEqual([
      bytesToHex(NO_WAKES),
      bytesToHex(wakeLink(device.wakes[2]!)),
      bytesToHex(wakeLink(device.wakes[2]!)),
    ])
    expect(device.wakes.map((wake) => decodedWake(wake).previous)).toEqual([
      NO_WAKES,
      ...device.wakes.slice(0, -1).map(wakeLink),
    ])
  })

  it('costs what it says, and is read straight by the gateway', () => {
    const signed = signedOf(device.reports[1])
    const read = readSignedReport(signed, 'dev-7')
    if (!read.ok) throw new Error(read.error.detail)
    const { wakeLink: _, signature: __, ...bare } = read.value.report
    expect(signed.length - reportCodec.encode(bare).length).toBe(LIMITS.reportSignedBytes)
    expect(decodeReport(signed)).toEqual(reportCodec.decode(signed))
  })
})

describe('what a gateway may say of a device that signs', () => {
  let dir: string
  let store: Store
  let device: SigningDevice
  let id: number

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'kinglet-word-'))
    store = new Store(join(dir, 'cloud.db'), T0)
    device = new SigningDevice('dev-7', 7)
    for (const wakes of [3, 0, 2, 0]) device.hour(wakes)
    id = store.devices.enrol({ name: 'dev-7', site: SITE, board: 'b', tags: [] }, T0).id
    enrol(device.key.public.publicKey)
  })
  afterEach(() => {
    store.close()
    rmSync(dir, { recursive: true })
  })

  const enrol = (publicKey: string) =>
    store.identities.addKey({ keyId: keyIdOf(hexToBytes(publicKey)), publicKey, device: id, sinceMs: 0 })
  const report = (...reports: ReportRow[]) => store.telemetry.ingest(batchOf({ reports }), attestedBy, T0 + 1e8)
  const verdict = (row: VerdictRow, gateway = 'gateway-1') =>
    store.telemetry.ingest({ ...batchOf({ verdicts: [row] }), gateway }, attestedBy, T0 + 1e8)
  const kept = () => store.db.prepare('SELECT slot, gateway, confirmed, rejected FROM verdicts').all()
  const unsigned = ({ signed: _, wakeLink: __, ...row }: ReportRow): ReportRow => row

  it('counters are those that the device signed, or they are refused', () => {
    const [first, second] = device.reports as [ReportRow, ReportRow]
    expect(report(first)).toMatchObject({ reports: 1, contradicted: 0 })
    const more = second.counters.map((count, i) => (i === WAKES ? count + 5 : count))
    for (const lie of [
      { ...second, counters: more },
      { ...second, uptimeMs: second.uptimeMs + 1 },
      { ...second, noiseBins: second.noiseBins.map((n) => n + 1) },
      { ...second, model: '0'.repeat(16) },
      { ...second, wakeLink: '0'.repeat(32) },
      { ...second, signed: `${second.signed!.slice(0, -2)}ff` },
      unsigned(second),
    ]) {
      expect(report(lie)).toMatchObject({ reports: 0, contradicted: 1 })
    }
    expect(report(second)).toMatchObject({ reports: 1, contradicted: 0 })
  })

  it('a device that has never signed a report is taken at the gateway’s word, and one with a new key signs with it', () => {
    const [first, second, third] = device.reports as [ReportRow, ReportRow, ReportRow]
    expect(report(unsigned(first))).toMatchObject({ reports: 1, contradicted: 0 })
    // The signed one takes its place.
    expect(report(first)).toMatchObject({ reports: 1 })
    const next = new SigningDevice('dev-7', 8)
    store.identities.retireKey(id, T0 + 1e8)
    enrol(next.key.public.publicKey)
    expect(report(unsigned(second))).toMatchObject({ reports: 0, contradicted: 1 })
    store.identities.revokeKeys(id, T0 + 1e8)
    enrol(new SigningDevice('dev-7', 9).key.public.publicKey)
    expect(report(unsigned(third))).toMatchObject({ reports: 1, contradicted: 0 })
  })

  it('verdicts are at most on the wakes that the device signed to have sent', () => {
    report(...device.reports)
    expect(verdict(device.verdicts(0, 2, 1))).toMatchObject({ verdicts: 1, beyond: 0 })
    // Between the reports before and after it there were three.
    expect(verdict(device.verdicts(1, 0, 4))).toMatchObject({ verdicts: 0, beyond: 1 })
    expect(verdict(device.verdicts(2, 1, 2))).toMatchObject({ verdicts: 0, beyond: 1 })
    expect(verdict(device.verdicts(2, 2, 0))).toMatchObject({ verdicts: 1, beyond: 0 })
    // It would fit beside its neighbours, and not among all.
    expect(verdict(device.verdicts(1, 1, 0))).toMatchObject({ verdicts: 0, beyond: 1 })
    // Nor by a second gateway, for another model, or for an hour of receipt.
    expect(verdict(device.verdicts(2, 1, 0), 'gateway-2')).toMatchObject({ beyond: 1 })
    expect(verdict({ ...device.verdicts(2, 1, 0), model: '0'.repeat(16) })).toMatchObject({ beyond: 1 })
    const { slot: _, ...hourly } = device.verdicts(2, 1, 0)
    expect(verdict({ ...hourly, hourMs: T0 })).toMatchObject({ beyond: 1 })
    expect(kept()).toEqual([
      { slot: 0, gateway: 'gateway-1', confirmed: 2, rejected: 1 },
      { slot: 2, gateway: 'gateway-1', confirmed: 2, rejected: 0 },
    ])
  })

  it('and those that came before the device’s word go when it comes', () => {
    verdict(device.verdicts(0, 3, 0))
    verdict(device.verdicts(1, 0, 4))
    expect(kept()).toHaveLength(2)
    const outcomes = device.reports.map((row) => report(row).beyond)
    expect(outcomes.reduce((sum, n) => sum + n, 0)).toBe(1)
    expect(kept()).toEqual([{ slot: 0, gateway: 'gateway-1', confirmed: 3, rejected: 0 }])
  })
})
