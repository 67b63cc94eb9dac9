import { roundHalfToEven } from '../engine/window-codec.ts'

/** Affine quantization of a tensor: real = scale * (integer - zeroPoint). */
export type Quantization = { readonly scale: number; readonly zeroPoint: number }

/** Quantizes features to int8 exactly as ONNX QuantizeLinear does: divided in float32, rounded half to even, saturated.
 *  NaN becomes 0 (it cannot come from finite audio).
 *  @param features any length; `out` is at least as long
 *  @returns `out` */
export const quantizeFeatures = (
  features: Float32Array,
  { scale, zeroPoint }: Quantization,
  out: Int8Array,
): Int8Array => {
  const step = Math.fround(scale)
  for (let i = 0; i < features.length; i += 1) {
    const value = roundHalfToEven(Math.fround(features[i]! / step)) + zeroPoint
    out[i] = value < -128 ? -128 : value > 127 ? 127 : value
  }
  return out
}

/** The real values that quantized features stand for; what a float network (the gateway's verifier) reads. */
export const dequantizeFeatures = (
  quantized: Int8Array,
  { scale, zeroPoint }: Quantization,
  out: Float32Array,
): Float32Array => {
  const step = Math.fround(scale)
  for (let i = 0; i < quantized.length; i += 1) out[i] = (quantized[i]! - zeroPoint) * step
  return out
}
