import { describe, expect, it } from 'vitest'
import type { TensorIo } from '../../../../model/engine/tensor-io.ts'
import { readResult, roundHalfToEven, writeWindow } from '../../../../model/engine/window-codec.ts'

const io = (elementType: TensorIo['elementType'], elements: number, scale?: number, zeroPoint = 0): TensorIo => ({
  name: 'x',
  elementType,
  dims: [elements],
  elements,
  quantization: scale === undefined ? null : { scale, zeroPoint },
})

describe('window codec', () => {
  it('rounds half to even, as QuantizeLinear does', () => {
    expect([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4, -2.6].map(roundHalfToEven)).toEqual([-2, -2, 0, 0, 2, 2, 2, -3])
  })

  it('quantizes to int8 and uint8, saturating at their ends', () => {
    const window = Float32Array.of(-1000, -0.25, 0, 0.25, 0.75, 1000, Number.POSITIVE_INFINITY)
    const int8 = new Int8Array(7)
    expect(writeWindow(window, io('int8', 7, 0.5, -3), int8)).toMatchObject({ ok: true })
    expect([...int8]).toEqual([-128, -3, -3, -3, -1, 127, 127])
    const uint8 = new Uint8Array(7)
    expect(writeWindow(window, io('uint8', 7, 0.5, 10), uint8)).toMatchObject({ ok: true })
    expect([...uint8]).toEqual([0, 10, 10, 10, 12, 255, 255])
  })

  it('takes a window that is already stored as the graph wants it, and no other bytes', () => {
    const target = new Int8Array(2)
    expect(writeWindow(Int8Array.of(-7, 9), io('int8', 2), target)).toMatchObject({ ok: true })
    expect([...target]).toEqual([-7, 9])
    expect(writeWindow(Uint8Array.of(7, 9), io('int8', 2, 1), target)).toMatchObject({ ok: false })
    expect(writeWindow(Float32Array.of(7, 9), io('int8', 2), target)).toMatchObject({ ok: false })
  })

  it.each(['int8', 'uint8', 'float32'] as const)('refuses a NaN for %s wherever it stands', (type) => {
    const quantized = type === 'float32' ? io(type, 3) : io(type, 3, 0.5)
    const target = type === 'int8' ? new Int8Array(3) : type === 'uint8' ? new Uint8Array(3) : new Float32Array(3)
    for (const at of [0, 1, 2]) {
      const window = Float32Array.of(1, 2, 3)
      window[at] = Number.NaN
      expect(writeWindow(window, quantized, target)).toMatchObject({ ok: false, error: { code: 'engine-bad-input' } })
    }
    expect(writeWindow(Float32Array.of(1, 2, 3), quantized, target)).toMatchObject({ ok: true })
  })

  it('dequantizes results and copies real ones', () => {
    expect([...readResult(Int8Array.of(-128, 127), io('int8', 2, 1 / 256, -128))]).toEqual([0, 255 / 256])
    const source = Float32Array.of(1, 2)
    const result = readResult(source, io('float32', 2))
    source[0] = 9
    expect([...result]).toEqual([1, 2])
  })
})
