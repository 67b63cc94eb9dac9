import { readFileSync, writeFileSync } from 'node:fs'
import nacl from 'tweetnacl'
import { describe, expect, it } from 'vitest'
import { readSignedEvent } from '../../contract/attested-event.ts'
import { decodeBundle } from '../../contract/bundle.ts'
import { bytesToHex, hexToBytes } from '../../contract/bytes.ts'
import { LIMITS } from '../../contract/limits.ts'
import { decodeGolden } from '../../contract/manifest.ts'
import {
  blockCodec,
  eventCodec,
  getCodec,
  metaCodec,
  metaGetCodec,
  type Report,
  reportCodec,
  verdictCodec,
  wakeCodec,
} from '../../contract/messages.ts'
import { verifyAssignment } from '../../contract/release.ts'
import { parseSigned } from '../../contract/signed.ts'
import { bundleSections, contractSamples, goldenShape, reportSample, wakeSample } from '../fixtures/contract-samples.ts'
import { BOARD, DEVICE, ISSUED_MS, SITE } from '../fixtures/documents.ts'
import { directorKey, strangerKey } from '../fixtures/keys.ts'

/** Devices in the field speak these bytes for years. A change that turns this red is a new schema version, not a new golden
 *  file; a new sample is added with KINGLET_WRITE_GOLDEN=1. */
const FILE = new URL('../fixtures/contract-v1.json', import.meta.url)
const samples = contractSamples()
if (process.env.KINGLET_WRITE_GOLDEN === '1') {
  const hex = Object.fromEntries(Object.entries(samples).map(([name, bytes]) => [name, bytesToHex(bytes)]))
  writeFileSync(FILE, `${JSON.stringify(hex, undefined, 2)}\n`)
}
const golden = JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, string>
const bytesOf = (name: string): Uint8Array => hexToBytes(golden[name]!)

describe('golden bytes of contract v1', () => {
  it('cover every sample', () => {
    expect(Object.keys(golden)).toEqual(Object.keys(samples))
  })

  it.each(Object.keys(samples))('%s is encoded to the same bytes', (name) => {
    expect(bytesToHex(samples[name]!)).toBe(golden[name])
  })

  it('are read back', () => {
    expect(reportCodec.decode(bytesOf('report'))).toEqual({ ok: true, value: reportSample })
    expect(wakeCodec.decode(bytesOf('wake'))).toEqual({ ok: true, value: wakeSample })
    expect(eventCodec.decode(bytesOf('event'))).toMatchObject({ ok: true, value: { error: 'arena-over-budget' } })
    expect(eventCodec.decode(bytesOf('event-bare'))).toMatchObject({ ok: true, value: { model: undefined } })
    expect(getCodec.decode(bytesOf('get'))).toMatchObject({ ok: true, value: { offset: 8_192, length: 4_096 } })
    expect(blockCodec.decode(bytesOf('block'))).toMatchObject({ ok: true, value: { totalBytes: 8_200 } })
    expect(blockCodec.decode(bytesOf('block-error'))).toMatchObject({
      ok: true,
      value: { error: 'artifact-not-found' },
    })
    expect(verdictCodec.decode(bytesOf('verdict'))).toEqual({
      ok: true,
      value: { boot: 7, index: 96, confirmed: true },
    })
    expect(metaGetCodec.decode(bytesOf('meta-get'))).toEqual({
      ok: true,
      value: { file: '12.targets.json', offset: 4_096 },
    })
    expect(metaCodec.decode(bytesOf('meta'))).toMatchObject({ ok: true, value: { offset: 4_096, totalBytes: 4_104 } })
    expect(metaCodec.decode(bytesOf('meta-error'))).toMatchObject({ ok: true, value: { error: 'not-found' } })
    const sections = decodeBundle(bytesOf('bundle'))
    expect(sections.ok && [...sections.value].map(([name, data]) => ({ name, data: new Uint8Array(data) }))).toEqual(
      bundleSections,
    )
    const golden = decodeGolden(bytesOf('golden-vectors'), { v: 1, golden: goldenShape })
    expect(golden.inputs[0]?.[0]).toEqual(Int8Array.of(-128, -1, 0, 127))
    expect(golden.runs[0]?.[0]).toEqual(Float32Array.of(0.25, 0.75))
  })

  it('verify with the public keys', () => {
    const signed = readSignedEvent(bytesOf('event-signed'), DEVICE)
    if (!signed.ok || signed.value.signature === undefined) throw new Error('no signed event')
    const { message, signature, event } = signed.value
    expect(event).toMatchObject({ boot: 7, seq: 4, code: 5, assignmentSeq: 12, securityCounter: 3 })
    expect(nacl.sign.detached.verify(message, signature, hexToBytes(strangerKey.public.publicKey))).toBe(true)
    const assignment = parseSigned(bytesOf('assignment'), LIMITS.assignmentBytes)
    const context = { device: DEVICE, site: SITE, board: BOARD, lastSeq: 0, nowMs: ISSUED_MS }
    const verified = assignment.ok && verifyAssignment(assignment.value, { ...context, director: directorKey.role })
    expect(verified).toMatchObject({ ok: true, value: { seq: 1 } })
  })
})

describe('sizes on the air', () => {
  it('a report of the default set is within its limit for a day, and for the worst boot of 49 days', () => {
    expect(samples.report!.length).toBeLessThanOrEqual(LIMITS.reportDefaultBytes)
    const word = 0xffff_ffff
    const worst: Report = {
      ...reportSample,
      boot: 0xffff,
      seq: 49 * 24,
      uptimeMs: word,
      wallMs: 4_102_444_800_000,
      // Windows, radio bytes and wakes of a 32-bit boot; installs, drops and moves stay far below.
      counters: [word, word, word, word, 0xffff, word, 0xffff, 0xffff, word, word, 200, 200, 200, 0xffff],
      levelMs: [word, word, word, word, word],
      energyMj: [word, word, word, word, word],
      posteriorBins: new Array(8).fill(word) as number[],
      noiseBins: new Array(8).fill(word) as number[],
      assignmentSeq: 0xffff,
    }
    expect(reportCodec.encode(worst).length).toBeLessThanOrEqual(LIMITS.reportDefaultBytes)
  })

  it('a device up for two years still fits', () => {
    const years = 2 * 365 * 86_400_000
    const report: Report = {
      ...reportSample,
      seq: 17_520,
      uptimeMs: years,
      counters: [years, years / 200, years / 400, 700_000, 70_000, 3e9, 3, 2, 9e7, 9e7, 2, 1, 1, 400],
      levelMs: [years / 2, years / 3, years / 6, 1e8, 0],
      energyMj: [1e6, 3e9, 4e8, 1e6, 1e3],
      posteriorBins: [1.5e8, 1e7, 1e6, 1e6, 3e5, 1e5, 7e4, 7e4].map(Math.round),
      noiseBins: [0, 1e8, 1e8, 1e8, 1e7, 1e6, 6e4, 0],
    }
    expect(reportCodec.encode(report).length).toBeLessThanOrEqual(LIMITS.reportDefaultBytes)
  })

  it('no report exceeds its bound, whatever it counts', () => {
    const most = (length: number) => new Array(length).fill(LIMITS.counter) as number[]
    const report: Report = {
      ...reportSample,
      boot: 0xffff_ffff,
      seq: 0xffff_ffff,
      uptimeMs: LIMITS.counter,
      wallMs: LIMITS.counter,
      counters: most(14),
      levelMs: most(5),
      energyMj: most(5),
      batteryPermille: 1000,
      posteriorBins: most(8),
      noiseBins: most(8),
      assignmentSeq: LIMITS.counter,
    }
    expect(reportCodec.encode(report).length).toBeLessThanOrEqual(LIMITS.reportBytes)
  })

  it('the longest metadata name and a full block fit', () => {
    const file = 'x'.repeat(LIMITS.metadataFileLength)
    const most = { file, offset: LIMITS.metadataFileBytes }
    expect(metaGetCodec.encode(most).length).toBeLessThanOrEqual(LIMITS.metaGetBytes)
    const block = { totalBytes: LIMITS.metadataFileBytes, data: new Uint8Array(LIMITS.blockBytes), error: undefined }
    expect(metaCodec.encode({ ...most, ...block }).length).toBeLessThanOrEqual(LIMITS.metaMessageBytes)
  })

  it('the longest event of the agent fits, even in a script of three bytes a letter', () => {
    const event = eventCodec.encode({
      boot: 0xffff_ffff,
      seq: 0xffff_ffff,
      wallMs: LIMITS.counter,
      code: 10,
      model: new Uint8Array(8),
      error: 'security-counter-too-low',
      detail: 'あ'.repeat(LIMITS.eventDetailLength),
      assignmentSeq: LIMITS.counter,
      securityCounter: LIMITS.counter,
      signature: new Uint8Array(64),
    })
    expect(event.length).toBeLessThanOrEqual(LIMITS.eventBytes)
  })
})
