import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeWav, parseWav, WAV_LIMITS } from '../../../../model/audio/wav.ts'
import { chars, le64, wavKinds, wavOf } from '../../../fixtures/wav-bytes.ts'

const samplesOf = (bytes: Uint8Array): number[] => {
  const wav = parseWav(bytes)
  if (!wav.ok) throw new Error(wav.error.detail)
  return [...wav.value.samples]
}
const notesOf = (bytes: Uint8Array): readonly string[] => {
  const wav = parseWav(bytes)
  if (!wav.ok) throw new Error(wav.error.detail)
  return wav.value.notes
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
    ['wav-empty', new Uint8Array(0)],
    ['wav-not-riff', new TextEncoder().encode('This is a letter, not a sound.')],
    ['wav-malformed', wavOf({}, []).subarray(0, 36)],
    ['wav-malformed', wavOf({ channels: 0, block: 2 }, [0, 0])],
    ['wav-malformed', wavOf({ rate: 0 }, [0, 0])],
    ['wav-malformed', wavOf({ block: 3 }, [0, 0])],
    ['wav-unsupported', wavOf({ tag: 2, bits: 4, block: 256 }, [0, 0])],
    ['wav-unsupported', wavOf({ tag: 7, bits: 16 }, [0, 0])],
    ['wav-unsupported', wavOf({ bits: 12, block: 2 }, [0, 0])],
    ['wav-unsupported', wavOf({ channels: 33 }, [0, 0])],
    ['wav-empty', wavOf({}, [])],
    ['wav-too-long', wavOf({ rate: 1, bits: 8 }, new Array(WAV_LIMITS.durationSecondsMax + 1).fill(128))],
    ['wav-too-large', { length: WAV_LIMITS.fileBytesMax + 1 } as Uint8Array],
  ])('refuses with %s', (code, bytes) => {
    expect(codeOf(bytes)).toBe(code)
  })

  it('answers any bytes and any damage with a value, never an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        parseWav(bytes)
      }),
    )
    fc.assert(
      fc.property(fc.constantFrom(...wavKinds()), fc.nat(200), fc.nat(255), fc.nat(200), (good, at, value, length) => {
        const bytes = good.slice(0, length)
        if (at < bytes.length) bytes[at] = value
        const wav = parseWav(bytes, { acceptTruncated: true })
        if (wav.ok) {
          expect(wav.value.samples.length).toBeLessThanOrEqual(bytes.length)
          expect(wav.value.samples.every((sample) => Number.isFinite(sample))).toBe(true)
        }
      }),
      { numRuns: 6_000 },
    )
  })
})

/** By the standard's tables: code, value of 14 bits (µ-law) or 13 bits (A-law) from zero to the ends of segments. */
describe('companded samples', () => {
  const of = (tag: number, codes: number[]) =>
    samplesOf(wavOf({ tag, bits: 8, rate: 8_000 }, codes)).map((x) => x * 32_768)

  it('are read as G.711 says of µ-law', () => {
    expect(of(7, [0xff, 0xfe, 0xf0, 0xef, 0x80, 0x8f])).toEqual([0, 8, 120, 132, 32_124, 16_764])
    expect(of(7, [0x7f, 0x00, 0x0f])).toEqual([0, -32_124, -16_764])
  })

  it('are read as G.711 says of A-law', () => {
    expect(of(6, [0xd5, 0xd4, 0xda, 0xc5, 0xaa, 0xa5])).toEqual([8, 24, 248, 264, 32_256, 16_896])
    expect(of(6, [0x55, 0x2a])).toEqual([-8, -32_256])
  })
})

describe('files that people have', () => {
  it('float64', () => {
    const doubles = new Uint8Array(Float64Array.of(0.25, -1.5, 1e300).buffer)
    const bytes = wavOf({ tag: 3, bits: 64 }, [...doubles])
    expect(samplesOf(bytes).slice(0, 2)).toEqual([0.25, -1.5])
    expect(Number.isFinite(samplesOf(bytes)[2])).toBe(true)
    expect(notesOf(bytes)).toEqual(['samples reach 3.40e+38, where 1 is full scale: read as they are'])
  })

  it.each(['RF64', 'BW64'])('%s, whose sizes lie in a chunk of their own', (magic) => {
    const ds64 = [...chars('ds64'), 28, 0, 0, 0, ...le64(1_000), ...le64(4), ...le64(2), 0, 0, 0, 0]
    const inner = wavOf({ magic }, [0, 64, 0, 32], {
      declared: 0xffff_ffff,
      after: [...chars('LIST'), 4, 0, 0, 0, 1, 2, 3, 4],
    })
    const bytes = Uint8Array.from([...inner.subarray(0, 12), ...ds64, ...inner.subarray(12)])
    expect(samplesOf(bytes)).toEqual([0.5, 0.25])
    expect(notesOf(bytes)).toEqual([])
  })

  it('RF64 that promises more than there is', () => {
    const ds64 = [...chars('ds64'), 28, 0, 0, 0, ...le64(1_000), ...le64(2 ** 40), ...le64(2), 255, 255, 255, 255]
    const inner = wavOf({ magic: 'RF64' }, [0, 64], { declared: 0xffff_ffff })
    const bytes = Uint8Array.from([...inner.subarray(0, 12), ...ds64, ...inner.subarray(12)])
    expect(samplesOf(bytes)).toEqual([0.5])
  })

  it('an odd chunk without its pad byte', () => {
    const unpadded = [...chars('LIST'), 3, 0, 0, 0, 1, 2, 3]
    expect(samplesOf(wavOf({}, [0, 64], { before: unpadded }))).toEqual([0.5])
    expect(samplesOf(wavOf({}, [0, 64], { before: [...unpadded, ...chars('fact'), 1, 0, 0, 0, 9] }))).toEqual([0.5])
  })

  it.each([0, 0xffff_ffff, 0x7fff_f000, 0x8000_0000])(
    'a data chunk that declares %i bytes, as while it is written',
    (declared) => {
      const bytes = wavOf({}, [0, 64, 0, 32, 7], { declared })
      expect(samplesOf(bytes)).toEqual([0.5, 0.25])
      expect(notesOf(bytes)).toEqual([expect.stringContaining('read to the end of the file')])
    },
  )

  it('a data chunk that is empty and means it', () => {
    const after = [...chars('LIST'), 4, 0, 0, 0, ...chars('INFO')]
    expect(codeOf(wavOf({}, [], { declared: 0, after }))).toBe('wav-empty')
  })

  it('a second data chunk is not read, and not passed over in silence', () => {
    const after = [...chars('fact'), 4, 0, 0, 0, 1, 2, 3, 4, ...chars('data'), 4, 0, 0, 0, 0, 1, 0, 1]
    const bytes = wavOf({}, [0, 64], { after })
    expect(samplesOf(bytes)).toEqual([0.5])
    expect(notesOf(bytes)).toEqual(['1 further data chunk with 4 bytes left out'])
  })

  it('pieces with silence between them are named', () => {
    const list = [...chars('LIST'), 16, 0, 0, 0, ...chars('wavl'), ...chars('data'), 2, 0, 0, 0, 0, 64]
    const wav = parseWav(wavOf({}, [], { before: list }))
    expect(wav.ok ? '' : wav.error.detail).toContain('LIST wavl')
  })

  it('channels that cancel each other: the louder is read, and that is said', () => {
    const frames = Array.from({ length: 50 }, (_, i) => Math.round(8_000 * Math.sin(i)))
    const bytes16 = (x: number): number[] => [x & 255, (x >> 8) & 255]
    const bytes = wavOf(
      { channels: 2 },
      frames.flatMap((x) => [...bytes16(-x), ...bytes16(Math.round(x * 1.1))]),
    )
    expect(samplesOf(bytes)).toEqual(frames.map((x) => Math.round(x * 1.1) / 32_768))
    expect(notesOf(bytes)).toEqual([
      '2 channels cancel each other (one is the other turned round): channel 2 alone is read',
    ])
    // Different on both sides, or on one alone, is no reason.
    const apart = wavOf(
      { channels: 2 },
      frames.flatMap((x, i) => [...bytes16(x), ...bytes16(frames[(7 * i) % 50]!)]),
    )
    expect(notesOf(apart)).toEqual(['2 channels averaged to one'])
    expect(
      notesOf(
        wavOf(
          { channels: 2 },
          frames.flatMap((x) => [...bytes16(x), 0, 0]),
        ),
      ),
    ).toEqual(['2 channels averaged to one'])
    expect(notesOf(wavOf({ channels: 2 }, [0, 0, 0, 0]))).toEqual(['2 channels averaged to one'])
  })

  it('samples that are no numbers are counted, and a file of nothing else is refused', () => {
    const floats = (...values: number[]) =>
      wavOf({ tag: 3, bits: 32 }, [...new Uint8Array(Float32Array.from(values).buffer)])
    expect(notesOf(floats(0.5, Number.NaN, Number.POSITIVE_INFINITY))).toEqual([
      '2 samples are no finite numbers and count as silence',
    ])
    expect(codeOf(floats(Number.NaN, Number.NaN))).toBe('wav-malformed')
  })

  it.each<[string, number[]]>([
    ['a FLAC file', chars('fLaC\0\0\0\x22')],
    ['an MP3 file', chars('ID3\x04\0\0')],
    ['an MP3 file', [0xff, 0xfb, 0x90, 0x64, 0, 0]],
    ['an MP2 file', [0xff, 0xfd, 0x90, 0x64, 0, 0]],
    ['an AAC file', [0xff, 0xf1, 0x50, 0x80, 0, 0]],
    ['an Ogg file', chars('OggS\0\x02')],
    ['an MP4 file', [0, 0, 0, 0x20, ...chars('ftypM4A ')]],
    ['an AIFF file', [...chars('FORM'), 0, 0, 0, 46, ...chars('AIFFCOMM')]],
    ['an AIFF file', [...chars('FORM'), 0, 0, 0, 46, ...chars('AIFCFVER')]],
    ['a CAF file', chars('caff\0\x01')],
    ['a Matroska or WebM file', [0x1a, 0x45, 0xdf, 0xa3]],
    ['a Wave64 file', [...chars('riff'), 0x2e, 0x91, 0xcf, 0x11]],
    ['a RIFX file', [...chars('RIFX'), 0, 0, 0, 4, ...chars('WAVE')]],
    ['an AVI film', [...chars('RIFF'), 0, 0, 0, 4, ...chars('AVI LIST')]],
  ])('%s is named, with what to do', (name, bytes) => {
    const wav = parseWav(Uint8Array.from(bytes))
    expect(wav.ok ? '' : wav.error.code).toBe('wav-other-format')
    expect(wav.ok ? '' : wav.error.detail).toContain(`this is ${name}`)
    expect(wav.ok ? '' : wav.error.detail).toContain('ffmpeg -i IN')
  })

  it('compressed sound inside RIFF is named', () => {
    const wav = parseWav(wavOf({ tag: 0x11, bits: 4, block: 256 }, [0, 0]))
    expect(wav.ok ? '' : wav.error.detail).toBe('IMA ADPCM inside; convert it: ffmpeg -i IN -c:a pcm_s16le OUT.wav')
  })
})

describe('encodeWav', () => {
  it('round-trips 16-bit samples exactly and saturates beyond', () => {
    const samples = Float32Array.from({ length: 65_536 }, (_, i) => (i - 32_768) / 32_768)
    expect(samplesOf(encodeWav(samples, 16_000))).toEqual([...samples])
    expect(samplesOf(encodeWav(Float32Array.of(2, -2, 1), 8_000))).toEqual([32_767 / 32_768, -1, 32_767 / 32_768])
  })
})
