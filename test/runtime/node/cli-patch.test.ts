import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sha256, sha256Hex } from '../../../contract/bytes.ts'
import { LIMITS } from '../../../contract/limits.ts'
import { encodePatchHeader, readPatchHeader, sha256Half } from '../../../contract/patch/patch-header.ts'
import { expectRefusal, kinglet, ROOT, Running } from './cli-process.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-patch-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const path = (...parts: string[]) => join(dir, ...parts)
const OLD = join(ROOT, 'zoo/models/kws-1.onnx')
const NEW = join(ROOT, 'zoo/models/kws-2.onnx')
const PATCH = path('kws-2.patch')
const image = (bytes: Uint8Array) => ({ bytes: bytes.length, sha256Half: sha256Half(sha256(bytes)) })

/** No file but those that were there, under their own or any other name. */
async function leavesNothing(run: () => Promise<void>): Promise<void> {
  const before = readdirSync(dir).sort()
  await run()
  expect(readdirSync(dir).sort()).toEqual(before)
}

let made: Awaited<ReturnType<typeof kinglet>>
beforeAll(async () => {
  made = await kinglet('patch', 'make', OLD, NEW, '-o', PATCH)
  writeFileSync(path('notes.txt'), 'the quick brown fox jumps over the lazy dog\n'.repeat(40))
})

describe('patch make', () => {
  it('says in one line what the patch is, and nothing else', () => {
    expect(made.code, made.stderr).toBe(0)
    const line =
      /^(.*): (\d+) bytes, ([\d.]+) % of the new file, ([\d.]+) % of a compact full image; numbers and bytes coded apart\n$/
    expect(made.stdout).toMatch(line)
    const [, file, bytes, ofNew, ofFull] = line.exec(made.stdout)!
    expect(file).toBe(PATCH)
    expect(Number(bytes)).toBe(statSync(PATCH).size)
    expect(Number(ofNew)).toBeCloseTo((100 * Number(bytes)) / statSync(NEW).size, 1)
    // A fine-tune: its patch is worth having.
    expect(Number(ofNew)).toBeLessThan(50)
    expect(Number(ofFull)).toBeLessThan(80)
    expect(made.stderr).toBe('')
  })

  it('makes a compact full image with --full, which needs no old file', async () => {
    const full = await kinglet('patch', 'make', '--full', NEW, '-o', path('full.patch'), '--json')
    expect(full.code, full.stderr).toBe(0)
    const { bytes, sha256Half: half } = image(readFileSync(NEW))
    const { size } = statSync(path('full.patch'))
    expect(JSON.parse(full.stdout)).toEqual({
      version: 2,
      method: expect.stringMatching(/^(numbers|bytes)$/),
      base: null,
      result: { bytes, sha256Half: Buffer.from(half).toString('hex') },
      patchBytes: size,
      fullBytes: size,
      isEqual: false,
      notes: [],
    })
    expect(size).toBeLessThan(0.7 * bytes)
    const applied = await kinglet('patch', 'apply', path('full.patch'), '-o', path('from-full.onnx'))
    expect(applied.code, applied.stderr).toBe(0)
    expect(readFileSync(path('from-full.onnx')).equals(readFileSync(NEW))).toBe(true)
    // A script that always gives the old file may do so.
    const anyway = await kinglet('patch', 'apply', OLD, path('full.patch'), '-o', path('from-full.onnx'), '--force')
    expect(anyway.code, anyway.stderr).toBe(0)
  })

  it('says when the files are equal, and makes a tiny patch', async () => {
    const { code, stdout, stderr } = await kinglet('patch', 'make', OLD, OLD, '-o', path('same.patch'))
    expect(code, stderr).toBe(0)
    expect(stderr).toMatch(/kws-1\.onnx are equal\n$/)
    expect(stdout).toMatch(/same\.patch: \d+ bytes, 0\.\d % of the new file/)
    expect(statSync(path('same.patch')).size).toBeLessThan(64)
    const applied = await kinglet('patch', 'apply', OLD, path('same.patch'), '-o', path('same.onnx'))
    expect(applied.code, applied.stderr).toBe(0)
    expect(readFileSync(path('same.onnx')).equals(readFileSync(OLD))).toBe(true)
  })

  it('takes files that are no models as bytes, and says why', async () => {
    writeFileSync(path('notes-2.txt'), readFileSync(path('notes.txt'), 'utf8').replace('lazy', 'idle'))
    const text = await kinglet('patch', 'make', path('notes.txt'), path('notes-2.txt'), '-o', path('text.patch'))
    expect(text.code, text.stderr).toBe(0)
    expect(text.stderr).toMatch(/^.*notes-2\.txt: not-a-model: .*coded as bytes, none as numbers\n$/)
    expect(text.stdout).toMatch(/; coded as bytes\n$/)
    const mixed = await kinglet('patch', 'make', path('notes.txt'), NEW, '-o', path('mixed.patch'), '--json')
    expect(mixed.code, mixed.stderr).toBe(0)
    expect(JSON.parse(mixed.stdout)).toMatchObject({
      notes: [expect.stringMatching(/notes\.txt: not-a-model: .*no numbers/)],
    })
  })

  it('takes empty files', async () => {
    writeFileSync(path('empty'), '')
    for (const [from, to] of [
      [path('empty'), path('notes.txt')],
      [path('notes.txt'), path('empty')],
      [path('empty'), path('empty')],
    ] as const) {
      const patched = await kinglet('patch', 'make', from, to, '-o', path('e.patch'), '--force')
      expect(patched.code, patched.stderr).toBe(0)
      const applied = await kinglet('patch', 'apply', from, path('e.patch'), '-o', path('e.out'), '--force')
      expect(applied.code, applied.stderr).toBe(0)
      expect(readFileSync(path('e.out')).equals(readFileSync(to))).toBe(true)
    }
  })
})

describe('patch apply', () => {
  it('makes the new file, and says its hash', async () => {
    const out = path('kws-2.onnx')
    const { code, stdout, stderr } = await kinglet('patch', 'apply', OLD, PATCH, '-o', out)
    expect(code, stderr).toBe(0)
    expect(readFileSync(out).equals(readFileSync(NEW))).toBe(true)
    expect(stdout).toBe(`${out}: ${statSync(NEW).size} bytes, sha256 ${sha256Hex(readFileSync(NEW))}\n`)
    expect(stderr).toBe('')
  })

  it('replaces a file when it is told to, the old one itself too', async () => {
    copyFileSync(OLD, path('in-place.onnx'))
    const args = ['patch', 'apply', path('in-place.onnx'), PATCH, '-o', path('in-place.onnx')]
    await leavesNothing(async () => {
      expectRefusal(await kinglet(...args), 1, /in-place\.onnx: there is such a file already/)
      expect(readFileSync(path('in-place.onnx')).equals(readFileSync(OLD))).toBe(true)
      const forced = await kinglet(...args, '--force', '--json')
      expect(forced.code, forced.stderr).toBe(0)
      expect(JSON.parse(forced.stdout)).toMatchObject({
        method: 'numbers',
        patchBytes: statSync(PATCH).size,
        sha256: sha256Hex(readFileSync(NEW)),
      })
    })
    expect(readFileSync(path('in-place.onnx')).equals(readFileSync(NEW))).toBe(true)
  })

  it.each([
    ['another base', () => [NEW, PATCH], /kws-2\.onnx: wrong-base: it is \d+ bytes .*; the patch is for \d+ bytes/],
    ['a base that is not there', () => [path('none'), PATCH], /none: there is no such file/],
    ['a patch that is not there', () => [OLD, path('none')], /none: there is no such file/],
    ['a folder as base', () => [dir, PATCH], /it is a folder, a file is expected/],
    ['a device as base', () => ['/dev/zero', PATCH], /it is a pipe or a device/],
    ['old file and patch in the wrong order', () => [PATCH, OLD], /kws-1\.onnx: patch-malformed: does not begin/],
    ['text for a patch', () => [OLD, path('notes.txt')], /notes\.txt: patch-malformed: does not begin as a patch/],
    ['an empty file for a patch', () => [OLD, path('empty')], /empty: patch-truncated/],
    ['a patch cut short', () => [OLD, path('short.patch')], /short\.patch: patch-truncated: \d+ of \d+ bytes/],
    ['a patch cut within its header', () => [OLD, path('header.patch')], /header\.patch: patch-truncated/],
    ['a patch with something behind it', () => [OLD, path('long.patch')], /long\.patch: patch-malformed: .*the end/],
    ['a patch of another version', () => [OLD, path('v3.patch')], /v3\.patch: unknown-schema-version: patch version 3/],
    ['a patch that makes another image', () => [path('touched.patch')], /touched\.patch: hash-mismatch: /],
    [
      'a patch that makes too much',
      () => [path('bomb.patch')],
      /bomb\.patch makes: too-large: \d+ bytes, at most 67108864/,
    ],
    ['a base above 64 MiB', () => [path('huge'), PATCH], /huge: too-large: 67108865 bytes, at most 67108864/],
  ])('%s: exit code 1, cause and way out, and no file', async (_, args, cause) => {
    const patch = readFileSync(PATCH)
    const text = readFileSync(path('notes.txt'))
    const touched = Buffer.from(text)
    touched[100]! ^= 1
    const stored = encodePatchHeader({ version: 1, method: 'stored', base: null, result: image(text) })
    const bomb = encodePatchHeader({
      version: 1,
      method: 'bytes',
      base: null,
      result: { ...image(text), bytes: 0xffff_ffff },
    })
    const v3 = Buffer.from(patch)
    v3[2] = 3
    writeFileSync(path('empty'), '')
    writeFileSync(path('short.patch'), patch.subarray(0, patch.length >> 1))
    writeFileSync(path('header.patch'), patch.subarray(0, 20))
    writeFileSync(path('long.patch'), Buffer.concat([stored, text, text]))
    writeFileSync(path('v3.patch'), v3)
    writeFileSync(path('touched.patch'), Buffer.concat([stored, touched]))
    writeFileSync(path('bomb.patch'), bomb)
    writeFileSync(path('huge'), '')
    truncateSync(path('huge'), LIMITS.patchImageBytes + 1)
    await leavesNothing(async () => {
      expectRefusal(await kinglet('patch', 'apply', ...args(), '-o', path('out.onnx')), 1, cause)
    })
  })

  it('never gives a wrong image a name, whatever byte of the patch is touched', async () => {
    const patch = readFileSync(PATCH)
    for (const at of [4, 30, 60, patch.length >> 1, patch.length - 16]) {
      const touched = Buffer.from(patch)
      touched[at]! ^= 0x55
      writeFileSync(path('touched.patch'), touched)
      await leavesNothing(async () => {
        const ended = await kinglet('patch', 'apply', OLD, path('touched.patch'), '-o', path('out.onnx'))
        expectRefusal(ended, 1, /: (patch-malformed|patch-truncated|wrong-base|hash-mismatch|too-large): /)
      })
    }
  })

  it('leaves no file when it is interrupted', async () => {
    // Stored, so that the test is long and its preparation short.
    const large = new Uint8Array(48 * 1024 * 1024)
    const header = encodePatchHeader({ version: 1, method: 'stored', base: null, result: image(large) })
    writeFileSync(path('large.patch'), Buffer.concat([header, large]))
    await leavesNothing(async () => {
      const running = new Running(['patch', 'apply', path('large.patch'), '-o', path('large')])
      while (!readdirSync(dir).some((name) => name.endsWith('.partial'))) {
        await new Promise((resolve) => setTimeout(resolve, 1))
        expect(running.child.exitCode).toBe(null)
      }
      const ended = await running.stop('SIGINT')
      expect(ended).toMatchObject({ code: 130, stdout: '', stderr: 'kinglet: interrupted, nothing was written\n' })
    })
  })
})

describe('patch info', () => {
  it('prints the header for people and for programs', async () => {
    const read = readPatchHeader(readFileSync(PATCH))
    if (!read.ok) throw new Error(read.error.detail)
    const half = (file: string) => sha256Hex(readFileSync(file)).slice(0, 32)
    const { size } = statSync(PATCH)
    const [text, json] = [await kinglet('patch', 'info', PATCH), await kinglet('patch', 'info', PATCH, '--json')]
    expect(text.stdout).toBe(
      `${PATCH}: patch version 2, ${size} bytes, numbers and bytes coded apart\n` +
        `  base    ${statSync(OLD).size} bytes with SHA-256 ${half(OLD)}…\n` +
        `  result  ${statSync(NEW).size} bytes with SHA-256 ${half(NEW)}…\n`,
    )
    expect(JSON.parse(json.stdout)).toEqual({
      version: 2,
      method: 'numbers',
      base: { bytes: statSync(OLD).size, sha256Half: half(OLD) },
      result: { bytes: statSync(NEW).size, sha256Half: half(NEW) },
      patchBytes: size,
    })
  })

  it('says that a patch is for devices of before version 2, which are made with --format kinglet-1', async () => {
    const first = await kinglet('patch', 'make', OLD, NEW, '-o', path('first.patch'), '--format', 'kinglet-1', '--json')
    expect(JSON.parse(first.stdout)).toMatchObject({ version: 1, method: 'numbers' })
    expect((await kinglet('patch', 'info', path('first.patch'))).stdout).toContain('patch version 1,')
    const applied = await kinglet('patch', 'apply', OLD, path('first.patch'), '-o', path('from-first.onnx'))
    expect(applied.code, applied.stderr).toBe(0)
    expect(readFileSync(path('from-first.onnx')).equals(readFileSync(NEW))).toBe(true)
  })

  it('refuses what is no patch', async () => {
    expectRefusal(await kinglet('patch', 'info', OLD), 1, /patch-malformed: does not begin as a patch/)
    expectRefusal(await kinglet('patch', 'info', path('none')), 1, /none: there is no such file/)
  })
})

describe('wrong use', () => {
  it.each([
    ['no files', ['make', '-o', path('x')], /missing required argument 'FILE'/],
    [
      'only one file',
      ['make', OLD, '-o', path('x')],
      /patch make takes OLD and NEW, or --full and NEW: files given: 1/,
    ],
    ['an old file for a full image', ['make', '--full', OLD, NEW, '-o', path('x')], /files given: 2/],
    ['three files', ['apply', OLD, PATCH, NEW, '-o', path('x')], /patch apply takes OLD and PATCH: files given: 3/],
    ['no output', ['make', OLD, NEW], /required option '-o, --output <PATCH>' not specified/],
    ['a patch on a base without one', ['apply', PATCH, '-o', path('x')], /is a patch on \d+ bytes .*: the old file is/],
  ])('%s is exit code 2 and says what is expected', async (_, args, cause) => {
    await leavesNothing(async () => expectRefusal(await kinglet('patch', ...args), 2, cause))
  })

  it.each([
    ['a folder that is not there', () => path('nowhere', 'x'), /x: there is no such file or folder/],
    ['a folder', () => path('folder'), /it is a folder, a file is expected/],
    ['a device', () => '/dev/null', /it is a pipe or a device/],
    ['a file below a file', () => path('notes.txt', 'x'), /it is a file, a folder is expected/],
    ['a file that is there', () => path('notes.txt'), /there is such a file already/],
  ])('an output that is %s is refused before the work', async (_, out, cause) => {
    mkdirSync(path('folder'), { recursive: true })
    await leavesNothing(async () => {
      for (const command of [
        ['make', OLD, NEW],
        ['apply', OLD, PATCH],
      ]) {
        const force = out() === '/dev/null' ? ['--force'] : []
        expectRefusal(await kinglet('patch', ...command, '-o', out(), ...force), 1, cause)
      }
    })
    expect(existsSync('/dev/null')).toBe(true)
    expect(statSync('/dev/null').isFile()).toBe(false)
  })

  it('a new file above 64 MiB is refused', async () => {
    writeFileSync(path('huge'), '')
    truncateSync(path('huge'), LIMITS.patchImageBytes + 1)
    const ended = await kinglet('patch', 'make', OLD, path('huge'), '-o', path('x'))
    expectRefusal(ended, 1, /huge: too-large: 67108865 bytes, at most 67108864/)
    expect(ended.stderr).toMatch(/patches are for images of up to 64 MiB/)
  })
})

describe('patch make --format bsdiff', () => {
  const bsdiff = path('kws-2.bsdiff')

  it('makes what bspatch applies', async () => {
    const run = await kinglet('patch', 'make', '--format', 'bsdiff', OLD, NEW, '-o', bsdiff)
    expect(run.code, run.stderr).toBe(0)
    expect(run.stdout).toMatch(/kws-2\.bsdiff: \d+ bytes, [\d.]+ % of the new file; BSDIFF40\n$/)
    const patch = readFileSync(bsdiff)
    expect(patch.subarray(0, 8).toString()).toBe('BSDIFF40')
    expect(patch.readBigInt64LE(24)).toBe(BigInt(statSync(NEW).size))
    const { default: other } = await import('bsdiff-node')
    await other.patch(OLD, path('by-bspatch.onnx'), bsdiff)
    expect(readFileSync(path('by-bspatch.onnx')).equals(readFileSync(NEW))).toBe(true)
  })

  it('is applied by our own code, and says that it names no image', async () => {
    const out = path('by-kinglet.onnx')
    const applied = await kinglet('patch', 'apply', OLD, bsdiff, '-o', out)
    expect(applied.code, applied.stderr).toBe(0)
    expect(applied.stdout).toContain(`sha256 ${sha256Hex(readFileSync(NEW))}; a BSDIFF40 patch names no image`)
    expect(readFileSync(out).equals(readFileSync(NEW))).toBe(true)
    const { stdout } = await kinglet('patch', 'info', bsdiff, '--json')
    expect(JSON.parse(stdout)).toEqual({
      format: 'bsdiff',
      patchBytes: statSync(bsdiff).size,
      resultBytes: statSync(NEW).size,
    })
  })

  it('leaves nothing of a patch that is damaged or for another file', async () => {
    const damaged = readFileSync(bsdiff)
    damaged[60]! ^= 1
    writeFileSync(path('damaged.bsdiff'), damaged)
    writeFileSync(path('short.bsdiff'), damaged.subarray(0, 20))
    await leavesNothing(async () => {
      const apply = (...args: string[]) => kinglet('patch', 'apply', ...args, '-o', path('x.onnx'))
      expectRefusal(await apply(OLD, path('damaged.bsdiff')), 1, /damaged\.bsdiff: patch-malformed: /)
      expectRefusal(await apply(OLD, path('short.bsdiff')), 1, /patch-malformed: it ends within its header/)
      expectRefusal(await apply(bsdiff), 2, /the old file is needed/)
    })
  })

  it('refuses what cannot be', async () => {
    await leavesNothing(async () => {
      const make = (...args: string[]) => kinglet('patch', 'make', '--format', ...args, '-o', path('y.bsdiff'))
      expectRefusal(await make('bsdiff', '--full', NEW), 2, /bsdiff patches need an old file/)
      expectRefusal(await make('bsdiff', path('nowhere'), NEW), 1, /nowhere: there is no such file/)
      expectRefusal(await make('xdelta', OLD, NEW), 2, /Allowed choices are kinglet, kinglet-1, bsdiff/)
      const again = await kinglet('patch', 'make', '--format', 'bsdiff', OLD, NEW, '-o', bsdiff)
      expectRefusal(again, 1, /there is such a file already/)
    })
  })
})
