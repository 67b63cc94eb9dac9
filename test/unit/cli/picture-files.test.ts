import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { foldersWithPictures, pictureFiles, readPictures } from '../../../cli/picture-files.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-picture-files-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const GREY = { kind: 'image', width: 3, height: 2, channels: 1, everyMs: 100 } as const
const COLOUR = { ...GREY, channels: 3 } as const
const written = (name: string, ...parts: (string | Uint8Array)[]): string => {
  writeFileSync(join(dir, name), Buffer.concat(parts.map((part) => Buffer.from(part as string))))
  return join(dir, name)
}
const read = (file: string, input: typeof GREY | typeof COLOUR = GREY): number[] | string => {
  const found = readPictures(file, input)
  return 'refusal' in found ? found.refusal : [...found.samples]
}

describe('files of pictures', () => {
  it('reads grey and colours, binary and text, comments between the numbers of the header', () => {
    const six = Uint8Array.of(0, 10, 32, 128, 254, 255)
    expect(read(written('a.pgm', 'P5 3 2 255\n', six))).toEqual([...six])
    expect(read(written('b.pgm', 'P5\n# made by hand\n3 2\n# largest\n255\n', six))).toEqual([...six])
    expect(read(written('c.pgm', 'P2\n3 2\n255\n0 10 32\n128 254 255\n'))).toEqual([...six])
    const eighteen = Uint8Array.from({ length: 18 }, (_, at) => 255 - at)
    expect(read(written('d.ppm', 'P6\n3 2\n255\n', eighteen), COLOUR)).toEqual([...eighteen])
    expect(read(written('e.ppm', `P3 3 2 255 ${[...eighteen].join(' ')}`), COLOUR)).toEqual([...eighteen])
    // The first pixel is what looks like white space or a comment.
    const odd = Uint8Array.of(0x20, 0x0a, 0x23, 0x0a, 1, 2)
    expect(read(written('f.pgm', 'P5 3 2 255\n', odd))).toEqual([...odd])
  })

  it('reads raw bytes, whatever they begin with, one picture or several', () => {
    const png = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0, 1)
    expect(read(written('a.raw', png))).toEqual([...png])
    expect(read(written('b.RAW', png, png))).toEqual([...png, ...png])
    expect(read(written('c.raw', png, Uint8Array.of(1)))).toMatch(/7 bytes, which are no pictures of 6/)
    expect(read(written('d.raw'))).toMatch(/0 bytes/)
  })

  it.each<[string, (string | Uint8Array)[], RegExp]>([
    ['JPEG', [Uint8Array.of(0xff, 0xd8, 0xff, 0xe0)], /a JPEG file: make it pgm, .*-resize 3x2! FILE\.pgm/],
    ['PNG', [Uint8Array.of(0x89, 0x50, 0x4e, 0x47)], /a PNG file/],
    ['another size', ['P5 2 3 255\n', new Uint8Array(6)], /2 × 3 in 1 channel, the bundle reads 3 × 2 in 1/],
    ['colours for grey', ['P6 3 2 255\n', new Uint8Array(18)], /3 × 2 in 3 channels, the bundle reads 3 × 2 in 1/],
    ['sixteen bits', ['P5 3 2 65535\n', new Uint8Array(12)], /values up to 65535, expected 255/],
    ['too few pixels', ['P5 3 2 255\n', new Uint8Array(5)], /5 bytes of pixels, 6 expected/],
    ['text that is no number', ['P2 3 2 255 1 2 3 4 5 x'], /6 values, 6 of 0 to 255 expected/],
    ['text beyond the largest', ['P2 3 2 255 1 2 3 4 5 256'], /6 of 0 to 255 expected/],
    ['what is none', ['hello'], /no picture: expected \.raw, \.pgm, \.ppm/],
    ['a bitmap of bits', ['P4 3 2\n\0\0'], /no picture/],
  ])('refuses %s', (name, parts, refusal) => {
    expect(read(written(`${name.replaceAll(' ', '-')}.pgm`, ...parts))).toMatch(refusal)
  })

  it('says what was left out, and finds files a folder deep', () => {
    expect(readPictures(written('more.pgm', 'P5 3 2 255\n', new Uint8Array(8)), GREY)).toMatchObject({
      notes: ['2 bytes after the first picture were left out'],
    })
    mkdirSync(join(dir, 'set/cat'), { recursive: true })
    mkdirSync(join(dir, 'set/dog'))
    written('set/cat/1.PGM', 'x')
    written('set/cat/notes.txt', 'x')
    written('set/0.raw', 'x')
    expect(pictureFiles(join(dir, 'set'))).toEqual([join(dir, 'set/0.raw'), join(dir, 'set/cat/1.PGM')])
    expect([...foldersWithPictures(join(dir, 'set'))]).toEqual([['cat', [join(dir, 'set/cat/1.PGM')]]])
    expect(() => pictureFiles(join(dir, 'none'))).toThrow(/no such file/)
  })
})
