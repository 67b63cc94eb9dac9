import { describe, expect, it } from 'vitest'
import { bytesEqual } from '../../../../../contract/bytes.ts'
import { TUF_LIMITS } from '../../../../../contract/limits.ts'
import { TRUST_BYTES } from '../../../../../device/core/flash/flash-layout.ts'
import { writePair } from '../../../../../device/core/flash/record-pair.ts'
import { factoryTrust, readTrust, type TrustRecord, writeTrust } from '../../../../../device/core/flash/trust-record.ts'
import { MemoryRepository } from '../../../../../firmware-sim/memory-repository.ts'
import { laidOut } from '../../../../fixtures/flash.ts'
import { directorKey } from '../../../../fixtures/keys.ts'

const ISSUED_MS = 1_700_000_000_000
const bytesOf = (length: number, first: number) => new Uint8Array(length).fill(first)
const WITNESS = 'e'.repeat(64)

describe('a trust record', () => {
  it('comes back as it was written; before there is none', () => {
    const { flash, layout } = laidOut()
    expect(readTrust(flash, layout)).toBeUndefined()
    const records: TrustRecord[] = [
      {
        files: { root: bytesOf(9, 1), timestamp: undefined, snapshot: undefined },
        floor: { floorMs: 0, witness: '' },
      },
      {
        files: { root: bytesOf(9, 2), timestamp: bytesOf(8, 3), snapshot: bytesOf(7, 4) },
        floor: { floorMs: ISSUED_MS, witness: WITNESS },
      },
    ]
    for (const record of records) {
      expect(writeTrust(flash, layout, record).ok).toBe(true)
      expect(readTrust(flash, layout)).toEqual(record)
    }
  })

  it('has room for the largest root, timestamp and snapshot that a device reads', () => {
    const { rootBytes, timestampBytes, snapshotBytes } = TUF_LIMITS
    const record: TrustRecord = {
      files: {
        root: bytesOf(rootBytes, 1),
        timestamp: bytesOf(timestampBytes, 2),
        snapshot: bytesOf(snapshotBytes, 3),
      },
      floor: { floorMs: Number.MAX_SAFE_INTEGER, witness: WITNESS },
    }
    const { flash, layout } = laidOut()
    expect(writeTrust(flash, layout, record).ok).toBe(true)
    const found = readTrust(flash, layout)
    expect(found?.floor).toEqual(record.floor)
    for (const name of ['root', 'timestamp', 'snapshot'] as const) {
      expect(bytesEqual(found?.files[name] ?? new Uint8Array(0), record.files[name] ?? new Uint8Array(0))).toBe(true)
    }
  })

  it('survives the loss of its newer copy as the one before', () => {
    const { flash, layout } = laidOut()
    const record = (first: number): TrustRecord => ({
      files: { root: bytesOf(9, first), timestamp: undefined, snapshot: undefined },
      floor: { floorMs: first, witness: WITNESS },
    })
    writeTrust(flash, layout, record(1))
    writeTrust(flash, layout, record(2))
    flash.erase(layout.trust.areas[1])
    expect(readTrust(flash, layout)).toEqual(record(1))
    flash.erase(layout.trust.areas[0])
    expect(readTrust(flash, layout)).toBeUndefined()
  })

  it("says the flash's error", () => {
    const { flash, layout } = laidOut({ failAfter: { operations: 0, code: 'flash-write-failed' } })
    const record = factoryTrust(bytesOf(9, 1))
    expect(writeTrust(flash, layout, record)).toMatchObject({ ok: false, error: { code: 'flash-write-failed' } })
  })

  it('that is no record is none', () => {
    const { flash, layout } = laidOut()
    for (const content of [new Uint8Array(0), Uint8Array.of(1, 2, 3), bytesOf(TRUST_BYTES + 1, 0xa0)]) {
      expect(writePair(flash, layout.trust, content).ok).toBe(true)
      expect(readTrust(flash, layout)).toBeUndefined()
    }
  })
})

describe('what the factory gives', () => {
  const root = new MemoryRepository(directorKey.role, ISSUED_MS).root
  /** The root with the time of its signature; who holds a root from the factory does not check it. */
  const issued = (ms: number): Uint8Array => {
    const document = JSON.parse(new TextDecoder().decode(root)) as { signed: Record<string, unknown> }
    document.signed['x-kinglet-issued'] = ms
    return new TextEncoder().encode(JSON.stringify(document))
  }

  it('is a root, and the time of its signature as the first word about the time', () => {
    const bytes = issued(ISSUED_MS)
    const { files, floor } = factoryTrust(bytes)
    expect(files).toEqual({ root: bytes })
    expect(floor.floorMs).toBe(ISSUED_MS)
    // The same timestamp keys are the same witness, whenever the root was signed.
    expect(floor.witness).toMatch(/^[0-9a-f]{64}$/)
    expect(factoryTrust(issued(ISSUED_MS + 1)).floor.witness).toBe(floor.witness)
  })

  it('is no time where the root tells none, or is no root', () => {
    expect(factoryTrust(root)).toEqual({ files: { root }, floor: { floorMs: 0, witness: '' } })
    expect(factoryTrust(Uint8Array.of(1)).floor).toEqual({ floorMs: 0, witness: '' })
  })
})
