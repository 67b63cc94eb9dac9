import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { readVectors, vectorFiles } from '../../../cli/vector-files.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-vectors-'))
afterAll(() => rmSync(dir, { recursive: true }))
const read = (name: string, content: string | Uint8Array, channels = 3) => {
  const path = join(dir, name)
  writeFileSync(path, content)
  const vectors = readVectors(path, channels)
  return 'refusal' in vectors ? vectors.refusal : { values: [...vectors.samples], notes: vectors.notes }
}
const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer)

describe('a recording of vectors', () => {
  it.each([
    ['plain.csv', '1,2,3\n4,5,6\n'],
    ['windows.CSV', '1,2,3\r\n4,5,6\r\n'],
    ['blanks.csv', ' 1 2 3\n\n4\t5  6'],
    ['names.csv', 'x; y; z\n1; 2; 3\n4; 5; 6\n'],
    ['times.csv', 'time [s],x,y,z\n0,1,2,3\n0.1,4,5,6\n'],
    ['lines.jsonl', '[1,2,3]\n[4, 5, 6]\n'],
  ])('%s is read, vector after vector', (name, content) => {
    expect(read(name, content)).toEqual({ values: [1, 2, 3, 4, 5, 6], notes: [] })
  })

  it('of float32 is read, and what follows its last whole vector is left out and said', () => {
    expect(read('a.f32', floats(1, 2, 3, 4, 5, 6))).toEqual({ values: [1, 2, 3, 4, 5, 6], notes: [] })
    expect(read('b.f32', floats(1, 2, 3, 4))).toEqual({
      values: [1, 2, 3],
      notes: ['4 bytes after the last whole vector of 3 were left out'],
    })
  })

  it.each([
    ['few.csv', '1,2,3\n4,5\n', 'line 2: 2 numbers, a vector has 3'],
    // Without a line of names nobody knows that the first is a time.
    ['more.csv', '0,1,2,3\n', 'line 1: 4 numbers, a vector has 3'],
    ['words.csv', '1,2,3\n1,two,3\n', 'line 2: "two" is no number'],
    ['gap.csv', '1,,3\n', 'line 1: "" is no number'],
    ['far.csv', '1,1e400,3\n', 'line 1: "1e400" is no number'],
    ['none.csv', 'x,y,z\n', 'no vector in it'],
    ['object.jsonl', '{"x":1}\n', 'line 1: expected an array of numbers, a vector a line'],
    ['text.jsonl', '[1,2,3]\n[1,2,\n', 'line 2: no JSON'],
    ['null.jsonl', '[1,null,3]\n', 'line 1: expected an array of numbers, a vector a line'],
    ['short.f32', 'abc', '3 bytes, not one vector of 3 float32'],
    ['sound.wav', 'RIFF', 'no recording of vectors by its name: expected .csv, .jsonl, .f32'],
  ])('%s is refused with its line', (name, content, why) => {
    expect(read(name, content)).toBe(why)
  })

  it('that holds what is no number is refused, and one that is not there', () => {
    expect(read('nan.f32', floats(1, 2, 3, Number.NaN, 5, 6))).toBe('vector 2 has a value that is no number')
    expect(readVectors(join(dir, 'absent.csv'), 3)).toMatchObject({ refusal: expect.stringContaining('no such file') })
  })
})

it('folders hold recordings, a level deep, sorted', () => {
  const folder = join(dir, 'folder')
  mkdirSync(join(folder, 'worn'), { recursive: true })
  for (const name of ['b.csv', 'a.f32', 'notes.txt', 'worn/c.jsonl']) writeFileSync(join(folder, name), '1')
  expect(vectorFiles(folder)).toEqual(['a.f32', 'b.csv', 'worn/c.jsonl'].map((name) => join(folder, name)))
  expect(() => vectorFiles(join(dir, 'nowhere'))).toThrow(/no such file/)
})
