import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeWav, parseWav, WAV_LIMITS } from '../../../../model/audio/wav.ts'

type Spec = { tag?: number; channels?: number; rate?: number; bits?: number; extensible?: boolean; block?: number }

/** Writes a WAV byte by byte, independent of the encoder under test. */
const wavOf = (spec: Spec, data: number[], extra: { before?: number[]; declared?: number } = {}): Uint8Array => {
  const { tag = 1, channels = 1, rate = 16_000, bits = 16, extensible = false } = spec
  const block = spec.block ?? (channels * bits) / 8
  const le = (value: number, bytes: number) =>
    Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) & 255)
  const text = (value: string) => [...value].map((c) => c.charCodeAt(0))
  const head = [...le(extensible ? 0xfffe : tag, 2), ...le(channels, 2), ...le(rate, 4), ...le(rate * block, 4)]
  const format = [...head, ...le(block, 2), ...le(bits, 2)]
  if (extensible) {
    const guidTail = [0, 0, 0, 0, 16, 0, 128, 0, 0, 170, 0, 56, 155, 113]
    format.push(...le(22, 2), ...le(bits, 2), ...le(0, 4), ...le(tag, 2), ...guidTail)
  }
  const body = [
    ...text('WAVEfmt '),
    ...le(format.length, 4),
    ...format,
    ...(extra.before ?? []),
    ...text('data'),
    ...le(extra.declared ?? data.length, 4),
    ...data,
  ]
  return Uint8Array.from([...text('RIFF'), ...le(body.length, 4), ...body])
}

const samplesOf = (bytes: Uint8Array): number[] => {
  const wav = parseWav(bytes)
  if (!wav.ok) throw new Error(wav.error.detail)
  return [...wav.value.samples]
}
const codeOf = (bytes: Uint8Array): string => {
  const wav = parseWav(bytes)
  return wav.ok ? 'ok' : wav.error.code
}

describe('parseWav', () => {
  it('reads 8, 16, 24 and 32 bits and float32', () => {
    expect(samplesOf(wavOf({ bits: 8 }, [0, 128, 192]))).toEqual([-1, 0, 0.5])
    expect(samplesOf(wavOf({ bits: 16 }, [0, 128, 0, 64, 255, 255]))).toEqual([-1, 0.5, -1 / 32_768])
    expect(samplesOf(wavOf({ bits: 24 }, [0, 0, 128, 0, 0, 64, 255, 255, 255]))).toEqual([-1, 0.5, -1 / 2 ** 23])
    expect(samplesOf(wavOf({ bits: 32 }, [0, 0, 0, 128, 0, 0, 0, 64]))).toEqual([-1, 0.5])
    const float = new Uint8Array(Float32Array.of(0.25, -1.5, Number.NaN, Number.POSITIVE_INFINITY).buffer)
    expect(samplesOf(wavOf({ tag: 3, bits: 32 }, [...float]))).toEqual([0.25, -1.5, 0, 0])
  })

  it('reads the extensible form and averages channels', () => {
    const bytes = wavOf({ channels: 2, rate: 44_100, extensible: true }, [0, 64, 0, 0, 0, 192, 0, 64])
    const wav = parseWav(bytes)
    expect(wav.ok && wav.value.channels).toBe(2)
    expect(wav.ok && wav.value.sampleRateHz).toBe(44_100)
    expect(samplesOf(bytes)).toEqual([0.25, 0])
  })

  it('skips other chunks, the odd one with its pad byte', () => {
    const odd = [76, 73, 83, 84, 3, 0, 0, 0, 1, 2, 3, 0]
    expect(samplesOf(wavOf({}, [0, 64], { before: odd }))).toEqual([0.5])
  })

  it('reads a view into a larger buffer', () => {
    const bytes = wavOf({}, [0, 64])
    const larger = new Uint8Array(bytes.length + 7)
    larger.set(bytes, 5)
    expect(samplesOf(larger.subarray(5, 5 + bytes.length))).toEqual([0.5])
  })

  it('refuses a truncated data chunk and says how much is there, or takes it when asked', () => {
    const bytes = wavOf({}, [0, 64, 0, 32, 1], { declared: 4_000 })
    expect(parseWav(bytes)).toEqual({
      ok: false,
      error: { code: 'wav-truncated', detail: 'data chunk declares 4000 bytes, 5 present' },
    })
    const wav = parseWav(bytes, { acceptTruncated: true })
    expect(wav.ok && [...wav.value.samples]).toEqual([0.5, 0.25])
  })

  it.each([
    ['wav-not-riff', new Uint8Array(0)],
    ['wav-not-riff', new TextEncoder().encode('This is a letter, not a sound.')],
    ['wav-malformed', wavOf({}, []).subarray(0, 36)],
    ['wav-malformed', wavOf({ channels: 0, block: 2 }, [0, 0])],
    ['wav-malformed', wavOf({ rate: 0 }, [0, 0])],
    ['wav-malformed', wavOf({ block: 3 }, [0, 0])],
    ['wav-unsupported', wavOf({ tag: 7, bits: 8 }, [0, 0])],
    ['wav-unsupported', wavOf({ bits: 12, block: 2 }, [0, 0])],
    ['wav-unsupported', wavOf({ channels: 33 }, [0, 0])],
    ['wav-empty', wavOf({}, [])],
    ['wav-too-long', wavOf({ rate: 1, bits: 8 }, new Array(WAV_LIMITS.durationSecondsMax + 1).fill(128))],
    ['wav-too-large', { length: WAV_LIMITS.fileBytesMax + 1 } as Uint8Array],
  ])('refuses with %s', (code, bytes) => {
    expect(codeOf(bytes)).toBe(code)
  })

  it('answers any bytes and any damage with a value, never an exception', () => {
    const good = wavOf({ extensible: true, channels: 2 }, [1, 2, 3, 4, 5, 6, 7, 8])
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        parseWav(bytes)
      }),
    )
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (at, value, length) => {
        const bytes = good.slice(0, length)
        if (at < bytes.length) bytes[at] = value
        const wav = parseWav(bytes, { acceptTruncated: true })
        if (wav.ok) expect(wav.value.samples.length).toBeLessThanOrEqual(8)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('encodeWav', () => {
  it('round-trips 16-bit samples exactly and saturates beyond', () => {
    const samples = Float32Array.from({ length: 65_536 }, (_, i) => (i - 32_768) / 32_768)
    expect(samplesOf(encodeWav(samples, 16_000))).toEqual([...samples])
    expect(samplesOf(encodeWav(Float32Array.of(2, -2, 1), 8_000))).toEqual([32_767 / 32_768, -1, 32_767 / 32_768])
  })
})
