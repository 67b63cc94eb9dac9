import { describe, expect, it } from 'vitest'
import { readPatchHeader } from '../../../../contract/patch/patch-header.ts'
import { seededRandom } from '../../../../contract/random.ts'
import { looseNumbers } from '../../../../release/patch/loose-numbers.ts'
import { makePatch } from '../../../../release/patch/make-patch.ts'
import { applyPatch } from '../../../fixtures/patch.ts'

const random = seededRandom(4)
const bell = () => random.next() + random.next() + random.next() - 1.5
const text = (bytes: number) =>
  Buffer.from('a line of a file of no format that anybody knows\n'.repeat(1 + bytes / 40)).subarray(0, bytes)
const floats = (count: number) => Buffer.from(Float32Array.from({ length: count }, () => bell() * 0.1).buffer)
const shorts = (count: number) => Buffer.from(Int16Array.from({ length: count }, () => bell() * 1_500).buffer)
const octets = (count: number) => Buffer.from(Int8Array.from({ length: count }, () => bell() * 60))
/** the upper halves of float32 */
const brains = (count: number) => Buffer.from(floats(count).filter((_, i) => i % 4 > 1))
const dear = (file: Uint8Array) => new Float32Array(file.length).fill(7)

describe('numbers in a file of no known format', () => {
  it.each([
    ['float32', floats(6_000), 4],
    ['int16', shorts(8_000), 2],
    ['bfloat16', brains(8_000), 2],
    ['int8', octets(12_000), 1],
  ] as const)('are found by their lanes at any address: %s', (elementType, numbers, width) => {
    for (const before of [0, 1, 2, 3]) {
      const file = Buffer.concat([text(before), numbers])
      const found = looseNumbers(file, [], dear(file))
      expect(found.map((tensor) => tensor.elementType)).toEqual([elementType])
      const { offset, length } = found[0]!.range
      expect((offset + 4 - before) % width).toBe(0)
      expect(length).toBeGreaterThan(numbers.length - 2 * 1_024)
      expect(length % width).toBe(0)
    }
  })

  it('are parted where the address of the numbers changes, and lie in no mapped tensor', () => {
    const file = Buffer.concat([floats(4_096), text(17), floats(4_096)])
    const found = looseNumbers(file, [], dear(file))
    expect(found.map(({ range }) => range.offset % 4)).toEqual([0, 1])
    const [first] = found
    expect(looseNumbers(file, [first!], dear(file)).every(({ range }) => range.offset >= first!.range.length)).toBe(
      true,
    )
    // What takes few bits as bytes is left to them.
    expect(looseNumbers(file, [], new Float32Array(file.length).fill(3))).toEqual([])
  })

  it('are coded as numbers: a compact full image of weights in an unknown format', () => {
    const file = new Uint8Array(Buffer.concat([text(3_000), floats(5_000), text(333), floats(5_000)]))
    const patch = makePatch(null, file)
    const header = readPatchHeader(patch)
    expect(header.ok && header.value.header.method).toBe('numbers')
    // Sign, 23 bits of mantissa, and exponents of which half are the same one: 2.6 bits.
    expect(patch.length).toBeLessThan((10_000 * 26.8) / 8 + 400)
    const made = applyPatch(null, patch)
    expect(made.ok && Buffer.from(file).equals(made.value)).toBe(true)
  })

  it('take a few wrong ones among them without dear exponents for all', () => {
    const weights = floats(5_000)
    const file = new Uint8Array(weights)
    // A number of another list: its exponent is far above all others.
    new DataView(file.buffer).setFloat32(400, 1e37, true)
    expect(makePatch(null, file).length).toBeLessThan(makePatch(null, new Uint8Array(weights)).length + 16)
  })
})
