import { describe, expect, it } from 'vitest'
import type { ElementType } from '../../../model/element-type.ts'
import { tensorNumbers } from '../../../model/tensor-numbers.ts'

describe('numbers of a tensor', () => {
  it.each<readonly [ElementType, readonly number[], readonly number[]]>([
    ['float32', [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0], [1, -2]],
    ['float64', [0, 0, 0, 0, 0, 0, 0xe0, 0x3f], [0.5]],
    // One, the largest, the smallest normal, the smallest subnormal, minus two, infinity.
    ['float16', [0, 0x3c, 0xff, 0x7b, 0, 4, 1, 0, 0, 0xc0, 0, 0x7c], [1, 65_504, 2 ** -14, 2 ** -24, -2, Infinity]],
    ['float16', [1, 0x7c], [Number.NaN]],
    ['bfloat16', [0x80, 0x3f, 0, 0xc0], [1, -2]],
    ['int8', [0x7f, 0x80], [127, -128]],
    ['uint8', [0x7f, 0x80], [127, 128]],
    ['int16', [0xfe, 0xff], [-2]],
    ['uint16', [0xfe, 0xff], [65_534]],
    ['int32', [0xfe, 0xff, 0xff, 0xff], [-2]],
    ['uint32', [0xfe, 0xff, 0xff, 0xff], [4_294_967_294]],
    ['int4', [0x8f, 0x07], [-1, -8, 7]],
    ['uint4', [0x8f, 0x07], [15, 8, 7]],
  ])('%s', (type, bytes, numbers) => {
    // At an odd place of a larger memory.
    const memory = Uint8Array.of(0xee, ...bytes, 0xee)
    expect(tensorNumbers(type, memory.subarray(1, 1 + bytes.length), numbers.length)).toEqual(numbers)
  })

  it('gives none of types that are neither scale nor zero point', () => {
    for (const type of ['int64', 'bool', 'string', 'complex64', 'float8e5m2'] as const) {
      expect(tensorNumbers(type, new Uint8Array(16), 1)).toBeNull()
    }
  })
})
