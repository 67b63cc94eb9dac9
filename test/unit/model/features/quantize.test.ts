import { describe, expect, it } from 'vitest'
import { dequantizeFeatures, quantizeFeatures } from '../../../../model/features/quantize.ts'

describe('quantizeFeatures', () => {
  it('rounds half to even, adds the zero point and saturates', () => {
    const features = Float32Array.of(0, 0.25, 0.75, 1.25, -0.25, -0.75, -1.25, 0.26, 500, -500, Number.NaN)
    const out = quantizeFeatures(features, { scale: 0.5, zeroPoint: 3 }, new Int8Array(features.length))
    expect([...out]).toEqual([3, 3, 5, 5, 3, 1, 1, 4, 127, -128, 0])
  })

  it('comes back within half a step', () => {
    const quantization = { scale: 0.37, zeroPoint: -9 }
    const features = Float32Array.from({ length: 200 }, (_, i) => (i - 100) * 0.21)
    const quantized = quantizeFeatures(features, quantization, new Int8Array(200))
    const back = dequantizeFeatures(quantized, quantization, new Float32Array(200))
    for (let i = 0; i < 200; i += 1) expect(Math.abs(back[i]! - features[i]!)).toBeLessThanOrEqual(0.37 / 2 + 1e-5)
  })
})
