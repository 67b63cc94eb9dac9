import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LADDER_LEVELS } from '../../contract/ladder-levels.ts'
import { LIMITS } from '../../contract/limits.ts'
import { COUNTER_NAMES, ENERGY_NAMES, type Report, reportCodec } from '../../contract/messages.ts'
import { decodeReport } from '../../gateway/store/report-decoder.ts'

// All widths of CBOR integers and their edges.
const uint = (max: number): fc.Arbitrary<number> =>
  fc.oneof(
    fc.constantFrom(
      ...[0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, max].filter((value) => value <= max),
    ),
    fc.nat(Math.min(max, 100_000)),
    fc.integer({ min: 0, max }),
  )
const uints = (length: number) => fc.array(uint(LIMITS.counter), { minLength: length, maxLength: length })
const report: fc.Arbitrary<Report> = fc.record({
  boot: uint(0xffff_ffff),
  seq: uint(0xffff_ffff),
  uptimeMs: uint(LIMITS.counter),
  wallMs: uint(LIMITS.counter),
  model: fc.uint8Array({ minLength: 8, maxLength: 8 }),
  slot: uint(1),
  level: uint(LADDER_LEVELS.length - 1),
  counters: uints(COUNTER_NAMES.length),
  levelMs: uints(LADDER_LEVELS.length),
  energyMj: uints(ENERGY_NAMES.length),
  batteryPermille: uint(1_000),
  posteriorBins: uints(LIMITS.histogramBins),
  noiseBins: uints(LIMITS.histogramBins),
  assignmentSeq: uint(LIMITS.counter),
})

describe('report decoder', () => {
  it('reads what the codec writes', () => {
    fc.assert(
      fc.property(report, (value) => {
        expect(decodeReport(reportCodec.encode(value))).toEqual({ ok: true, value })
      }),
    )
  })

  it('agrees with the codec on changed, cut and lengthened bytes, value and code', () => {
    const change = fc.record({
      at: fc.nat(400),
      to: fc.nat(255),
      cut: fc.nat(400),
      tail: fc.uint8Array({ maxLength: 3 }),
    })
    fc.assert(
      fc.property(report, fc.array(change, { minLength: 1, maxLength: 2 }), fc.boolean(), (value, changes, cuts) => {
        let data = Buffer.from(reportCodec.encode(value))
        for (const { at, to, cut, tail } of changes) {
          if (at < data.length) data[at] = to
          if (cuts) data = Buffer.concat([data.subarray(0, cut), tail])
        }
        expect(decodeReport(data)).toEqual(reportCodec.decode(data))
      }),
      { numRuns: 3_000 },
    )
  })
})
