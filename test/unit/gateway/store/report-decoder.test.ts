import { encode as cbor, decode as cborDecode } from 'cborg'
import { describe, expect, it, vi } from 'vitest'
import { LIMITS } from '../../../../contract/limits.ts'
import { type Report, reportCodec } from '../../../../contract/messages.ts'
import { decodeReport } from '../../../../gateway/store/report-decoder.ts'
import { reportSample } from '../../../fixtures/contract-samples.ts'

const encoded = reportCodec.encode(reportSample)
const codeOf = (data: Uint8Array) => {
  const decoded = decodeReport(data)
  return decoded.ok ? 'read' : decoded.error.code
}
/** Field by field as the contract orders them, with something else in one of them. */
const written = (change: Readonly<Record<number, unknown>> = {}, keys = 15): Uint8Array => {
  const { boot, seq, uptimeMs, wallMs, model, slot, level, counters, levelMs, energyMj } = reportSample
  const { batteryPermille, posteriorBins, noiseBins, assignmentSeq } = reportSample
  const fields = [boot, seq, uptimeMs, wallMs, model, slot, level, counters, levelMs, energyMj]
  const all = [1, ...fields, batteryPermille, posteriorBins, noiseBins, assignmentSeq]
  return cbor(new Map(all.slice(0, keys).map((value, key) => [key, key in change ? change[key] : value])))
}

describe('a report', () => {
  it('is read as it was written', () => {
    expect(written()).toEqual(encoded)
    expect(decodeReport(encoded)).toEqual({ ok: true, value: reportSample })
  })

  it.each([0, 23, 24, 255, 256, 65_535, 65_536, 0xffff_ffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER])(
    'with %d in its fields is read',
    (value) => {
      const report: Report = {
        ...reportSample,
        uptimeMs: value,
        assignmentSeq: value,
        energyMj: [value, 0, value, 0, 1],
      }
      expect(decodeReport(reportCodec.encode(report))).toEqual({ ok: true, value: report })
    },
  )

  it.each([
    [[0]],
    [Array.from({ length: 23 }, (_, i) => i)],
    [Array.from({ length: 24 }, (_, i) => 1_000 * i)],
    [new Array<number>(LIMITS.signalNumbers).fill(LIMITS.signalNumber)],
  ])('with the signals of its bundle is read without the codec, as the codec reads it: %j', (signals) => {
    const report: Report = { ...reportSample, incarnation: 7, signature: new Uint8Array(64).fill(1), signals }
    const data = reportCodec.encode(report)
    expect(data.length).toBeLessThanOrEqual(LIMITS.reportBytes)
    const read = vi.spyOn(reportCodec, 'decode')
    expect(decodeReport(data)).toEqual({ ok: true, value: report })
    expect(read).not.toHaveBeenCalled()
    read.mockRestore()
    expect(reportCodec.decode(data)).toEqual({ ok: true, value: report })
  })

  it.each([
    ['none', []],
    ['one too many', new Array<number>(LIMITS.signalNumbers + 1).fill(1)],
    ['one past 32 bits', [0x1_0000_0000]],
    ['one below zero', [-1]],
  ])('with signals of which there is %s is refused', (_what, signals) => {
    const all = cborDecode(encoded, { useMaps: true }) as Map<number, unknown>
    expect(codeOf(cbor(new Map([...all, [19, signals]])))).toBe('malformed')
  })

  it('has a model of its own, not a view of what came', () => {
    const data = Uint8Array.from(encoded)
    const decoded = decodeReport(data)
    data.fill(0)
    expect(decoded.ok && decoded.value.model).toEqual(reportSample.model)
  })

  it('is read from the middle of a larger buffer', () => {
    const around = Buffer.concat([Buffer.of(1, 2), encoded, Buffer.of(3)])
    expect(decodeReport(around.subarray(2, 2 + encoded.length))).toEqual({ ok: true, value: reportSample })
  })
})

describe('what is no report is refused with the code of the contract', () => {
  it.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(0), 'malformed'],
    ['a byte less', encoded.subarray(0, -1), 'malformed'],
    ['a byte more', Uint8Array.of(...encoded, 0), 'malformed'],
    ['another version', written({ 0: 2 }), 'unknown-schema-version'],
    ['a boot past 32 bits', written({ 1: 0x1_0000_0000 }), 'malformed'],
    ['a third slot', written({ 6: 2 }), 'malformed'],
    ['a sixth level', written({ 7: 5 }), 'malformed'],
    ['more than a full battery', written({ 11: 1_001 }), 'malformed'],
    ['a counter past the contract', written({ 14: Number.MAX_SAFE_INTEGER + 1 }), 'malformed'],
    ['a short list', written({ 12: [1, 2, 3] }), 'malformed'],
    ['a long list', written({ 13: new Array(9).fill(0) }), 'malformed'],
    ['a short model', written({ 5: new Uint8Array(7) }), 'malformed'],
    ['a field less', written({}, 14), 'malformed'],
    ['a negative number', written({ 3: -1 }), 'malformed'],
    ['too large', new Uint8Array(LIMITS.reportBytes + 1), 'too-large'],
  ])('%s', (_what, data, code) => {
    expect(codeOf(data)).toBe(code)
  })

  it('a number that is not in its shortest form: two byte strings would be one report', () => {
    // seq, 23, is the byte after its key: map, version with key, boot with key, key.
    const at = 1 + 2 + 2 + 1
    expect(encoded[at]).toBe(23)
    const longer = Uint8Array.of(...encoded.subarray(0, at), 24, 23, ...encoded.subarray(at + 1))
    expect(codeOf(longer)).toBe('malformed')
  })
})
