import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeBundle, encodeBundle } from '../../contract/bundle.ts'
import { LADDER_LEVELS } from '../../contract/ladder-levels.ts'
import { LIMITS } from '../../contract/limits.ts'
import { parseManifest, SECTIONS } from '../../contract/manifest.ts'
import {
  blockCodec,
  COUNTER_NAMES,
  ENERGY_NAMES,
  EVENT_CODES,
  eventCodec,
  getCodec,
  metaCodec,
  metaGetCodec,
  reportCodec,
  verdictCodec,
  wakeCodec,
} from '../../contract/messages.ts'
import { verifyAssignment } from '../../contract/release.ts'
import { parseSigned } from '../../contract/signed.ts'
import { parseTopic } from '../../contract/topics.ts'
import { contractSamples } from '../fixtures/contract-samples.ts'
import { BOARD, DEVICE, ISSUED_MS, SITE } from '../fixtures/documents.ts'
import { directorKey } from '../fixtures/keys.ts'

const uint = fc.oneof(fc.nat(255), fc.nat(), fc.maxSafeNat())
const word = fc.integer({ min: 0, max: 0xffff_ffff })
const uints = (length: number) => fc.array(uint, { minLength: length, maxLength: length })
const exactly = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const optional = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined })
const base = { boot: word, wallMs: uint, model: exactly(8) }

const messages = {
  report: [
    reportCodec,
    fc.record({
      ...base,
      seq: word,
      uptimeMs: uint,
      slot: fc.nat(1),
      level: fc.nat(LADDER_LEVELS.length - 1),
      counters: uints(COUNTER_NAMES.length),
      levelMs: uints(LADDER_LEVELS.length),
      energyMj: uints(ENERGY_NAMES.length),
      batteryPermille: fc.nat(1000),
      posteriorBins: uints(8),
      noiseBins: uints(8),
      assignmentSeq: uint,
    }),
  ],
  wake: [
    wakeCodec,
    fc.record({
      ...base,
      index: word,
      label: fc.nat(LIMITS.labels - 1),
      posteriorPermille: fc.nat(1000),
      level: fc.nat(4),
      features: fc.uint8Array({ minLength: 1, maxLength: LIMITS.featureBytes }),
      noiseDb: fc.integer({ min: -120, max: 0 }),
    }),
  ],
  event: [
    eventCodec,
    fc.record({
      ...base,
      seq: word,
      code: fc.nat(EVENT_CODES.length - 1),
      model: optional(exactly(8)),
      error: optional(fc.string({ maxLength: 40 })),
      detail: optional(fc.string({ maxLength: 100 })),
      assignmentSeq: optional(uint),
    }),
  ],
  get: [getCodec, fc.record({ sha256: exactly(32), offset: fc.nat(LIMITS.bundleBytes), length: fc.nat(4096) })],
  block: [
    blockCodec,
    fc.record({
      offset: fc.nat(LIMITS.bundleBytes),
      totalBytes: fc.nat(LIMITS.bundleBytes),
      data: optional(fc.uint8Array({ maxLength: 4096 })),
      error: optional(fc.string({ maxLength: 40 })),
    }),
  ],
  'meta-get': [
    metaGetCodec,
    fc.record({ file: fc.string({ maxLength: 30 }), offset: fc.nat(LIMITS.metadataFileBytes) }),
  ],
  meta: [
    metaCodec,
    fc.record({
      file: fc.string({ maxLength: 30 }),
      offset: fc.nat(LIMITS.metadataFileBytes),
      totalBytes: fc.nat(LIMITS.metadataFileBytes),
      data: optional(fc.uint8Array({ maxLength: 4096 })),
      error: optional(fc.string({ maxLength: 20 })),
    }),
  ],
  verdict: [verdictCodec, fc.record({ boot: word, index: word, confirmed: fc.boolean() })],
} as const

type AnyCodec = {
  encode(message: unknown): Uint8Array
  decode(data: Uint8Array): { ok: boolean; value?: unknown; error?: { code: string } }
}

describe.each(Object.entries(messages))('%s', (_name, [codec, arbitrary]) => {
  const { encode, decode } = codec as unknown as AnyCodec
  it('comes back as it was sent', () => {
    fc.assert(
      fc.property(arbitrary as fc.Arbitrary<unknown>, (message) => {
        expect(decode(encode(message))).toEqual({ ok: true, value: message })
      }),
    )
  })

  it('random and damaged bytes never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (data) => {
        decode(data)
      }),
    )
    const anyOf: fc.Arbitrary<unknown> = arbitrary
    const sample = encode(fc.sample(anyOf, { seed: 1, numRuns: 1 })[0])
    fc.assert(
      fc.property(fc.nat(sample.length - 1), fc.nat(255), (at, value) => {
        const damaged = Uint8Array.from(sample)
        damaged[at] = value
        decode(damaged)
      }),
    )
  })
})

describe('bundle', () => {
  const name = fc.stringMatching(/^[a-z0-9][a-z0-9./-]{0,12}$/)
  const sections = fc.uniqueArray(fc.record({ name, data: fc.uint8Array({ maxLength: 300 }) }), {
    minLength: 1,
    maxLength: LIMITS.bundleSections,
    selector: (section) => section.name,
  })

  it('comes back as it was packed', () => {
    fc.assert(
      fc.property(sections, (given) => {
        const decoded = decodeBundle(encodeBundle(given))
        expect(decoded.ok && [...decoded.value.keys()]).toEqual(given.map((section) => section.name))
        for (const { name, data } of given) {
          expect(decoded.ok && Buffer.from(decoded.value.get(name)!).equals(Buffer.from(data))).toBe(true)
        }
      }),
    )
  })

  it('any other byte anywhere is refused, but in a name: that gives a section of another name', () => {
    const bundle = contractSamples().bundle!
    const names = [...(decodeBundle(bundle) as { value: ReadonlyMap<string, Uint8Array> }).value.keys()]
    fc.assert(
      fc.property(fc.nat(bundle.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Uint8Array.from(bundle)
        damaged[at]! ^= flip
        const decoded = decodeBundle(damaged)
        if (decoded.ok) expect([...decoded.value.keys()]).not.toEqual(names)
      }),
      { numRuns: 3_000 },
    )
  })

  it('random bytes never throw, with and without a plausible head', () => {
    const head = contractSamples().bundle!.subarray(0, 32)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), fc.boolean(), (data, plausible) => {
        if (plausible) data.set(head.subarray(0, Math.min(16, data.length)))
        decodeBundle(data)
      }),
      { numRuns: 500 },
    )
  })
})

describe('manifest', () => {
  it('any JSON is judged, never thrown on', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.anything().map((value) => JSON.stringify({ v: value }) ?? ''),
        ),
        (text) => {
          const data = new TextEncoder().encode(text)
          expect(parseManifest(new Map([[SECTIONS.manifest, data]])).ok).toBe(false)
        },
      ),
      { numRuns: 500 },
    )
  })
})

describe('signed documents', () => {
  const document = contractSamples().assignment!
  const context = { device: DEVICE, site: SITE, board: BOARD, lastSeq: 0, nowMs: ISSUED_MS }
  const judge = (data: Uint8Array): boolean => {
    const parsed = parseSigned(data, LIMITS.assignmentBytes)
    if (!parsed.ok) return false
    return verifyAssignment(parsed.value, { ...context, director: directorKey.role }).ok
  }

  it('an assignment with any other byte anywhere is refused', () => {
    expect(judge(document)).toBe(true)
    fc.assert(
      fc.property(fc.nat(document.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Uint8Array.from(document)
        damaged[at]! ^= flip
        expect(judge(damaged)).toBe(false)
      }),
      { numRuns: 300 },
    )
  })

  it('random bytes and random JSON never throw', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => new TextEncoder().encode(text)),
        ),
        (data) => {
          expect(judge(data)).toBe(false)
        },
      ),
    )
  })
})

it('any text is a topic of the contract or bad-topic', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 300 }), (text) => {
      const parsed = parseTopic(text)
      if (!parsed.ok) expect(parsed.error.code).toBe('bad-topic')
    }),
  )
})
