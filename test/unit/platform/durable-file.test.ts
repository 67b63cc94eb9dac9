import fs, {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  FileAside,
  makeFolderDurably,
  renameDurably,
  writeFileDurably,
  writeFileDurablyAsync,
} from '../../../platform/durable-file.ts'
import { watchMedium } from '../../fixtures/medium.ts'

const root = mkdtempSync(join(tmpdir(), 'kinglet-durable-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
let folders = 0
let dir = ''
let medium: ReturnType<typeof watchMedium>
beforeEach(() => {
  dir = join(root, String(folders++))
  mkdirSync(dir)
  medium = watchMedium(root)
})
afterEach(() => medium.stop())
const here = (...names: string[]): string => join(dir, ...names)
/** Steps with the folder of the test left out. */
const steps = (): string[] => medium.steps.map((step) => step.replaceAll(`${dir.slice(root.length + 1)}`, '.'))

describe.each([
  [
    'at once',
    async (path: string, content: Uint8Array, mode?: number) => writeFileDurably(path, content, options(mode)),
  ],
  [
    'meanwhile',
    (path: string, content: Uint8Array, mode?: number) => writeFileDurablyAsync(path, content, options(mode)),
  ],
])('a whole file, written %s', (_, write) => {
  it('is on the medium before it has its name, and its name before the call returns', async () => {
    await write(here('a'), Buffer.from('new'))
    expect(readFileSync(here('a'), 'utf8')).toBe('new')
    expect(steps()).toEqual(['sync ./a.new', 'rename ./a.new ./a', 'sync .'])
  })

  it('replaces what was there, and a leftover of a crash whatever its mode', async () => {
    writeFileSync(here('a'), 'a longer old content')
    writeFileSync(here('a.new'), 'half a wri', { mode: 0o666 })
    await write(here('a'), Buffer.from('new'), 0o600)
    expect(readFileSync(here('a'), 'utf8')).toBe('new')
    expect(statSync(here('a')).mode & 0o777).toBe(0o600)
    expect(readdirSync(dir)).toEqual(['a'])
  })

  it('leaves the old one and nothing else when the medium fails', async () => {
    writeFileSync(here('a'), 'old')
    medium.failing = (step) => step.startsWith('sync') && step.endsWith('a.new')
    await expect(write(here('a'), Buffer.from('new'))).rejects.toThrow('EIO')
    expect(readFileSync(here('a'), 'utf8')).toBe('old')
    expect(readdirSync(dir)).toEqual(['a'])
  })

  it('fails when its name cannot be made durable, but for file systems that know no such thing', async () => {
    medium.failing = (step) => step === `sync ${dir.slice(root.length + 1)}`
    await expect(write(here('a'), Buffer.from('new'))).rejects.toThrow('EIO')
    medium.code = 'EINVAL'
    await write(here('b'), Buffer.from('new'))
    expect(readFileSync(here('b'), 'utf8')).toBe('new')
  })
})

const options = (mode: number | undefined) => (mode === undefined ? {} : { mode })

describe('a file that is written in parts', () => {
  it('has its name only when it is committed, and can be read and written on', () => {
    const file = new FileAside(here('a'), { aside: here('elsewhere') })
    file.append(Buffer.from('12'))
    file.append(Buffer.from('34'))
    expect(existsSync(here('a'))).toBe(false)
    file.commit()
    expect(readFileSync(here('a'), 'utf8')).toBe('1234')
    expect(steps()).toEqual(['sync ./elsewhere', 'rename ./elsewhere ./a', 'sync .'])
    fs.writeSync(file.fd, 'x', 0)
    file.close()
    expect(readFileSync(here('a'), 'utf8')).toBe('x234')
  })

  it('is gone when it is discarded', () => {
    const file = new FileAside(here('a'))
    file.append(Buffer.from('12'))
    file.discard()
    expect(readdirSync(dir)).toEqual([])
  })
})

it('a folder that cannot be made is refused, at once', () => {
  // mkdirSync with `recursive` never comes back from this one.
  expect(() => makeFolderDurably('/proc/x/y')).toThrow(/ENOENT.*mkdir '\/proc\/x'/)
  writeFileSync(here('a'), '')
  expect(() => makeFolderDurably(here('a', 'b', 'c'))).toThrow(/EEXIST.*mkdir '.*\/a'/)
  expect(() => makeFolderDurably(here('a'))).toThrow(/EEXIST/)
})

it('a rename and every new folder are durable too', () => {
  writeFileSync(here('a'), '')
  renameDurably(here('a'), here('b'))
  expect(steps()).toEqual(['rename ./a ./b', 'sync .'])
  medium.steps.length = 0
  makeFolderDurably(here('x', 'y', 'z'), 0o700)
  expect(steps()).toEqual(['sync ./x/y', 'sync ./x', 'sync .'])
  expect(statSync(here('x', 'y', 'z')).mode & 0o777).toBe(0o700)
  medium.steps.length = 0
  makeFolderDurably(here('x', 'y'))
  expect(steps()).toEqual([])
})
