import type { TinyTensor } from './tiny-tensor.ts'

/** A real factor as the kernels multiply by it: multiplier · 2^(shift − 31), multiplier of 31 bits. */
export interface QuantizedMultiplier {
  readonly multiplier: number
  readonly shift: number
}

/** @param factor finite and not negative
 *  @returns multiplier in [2^30, 2^31), or 0 for a factor below 2^-32
 *  @see QuantizeMultiplier of TensorFlow Lite's quantization_util.cc, double rounding */
export function quantizedMultiplier(factor: number): QuantizedMultiplier {
  const { multipliers, shifts } = quantizedMultipliers(Float64Array.of(factor))
  return { multiplier: multipliers[0] ?? 0, shift: shifts[0] ?? 0 }
}

/** The same for many factors at once: a network has hundreds of channels, and none of them should cost an object. */
export function quantizedMultipliers(factors: Float64Array): {
  readonly multipliers: Int32Array
  readonly shifts: Int32Array
} {
  const view = new DataView(new ArrayBuffer(8))
  const multipliers = new Int32Array(factors.length)
  const shifts = new Int32Array(factors.length)
  for (let at = 0; at < factors.length; at++) {
    const factor = factors[at] ?? 0
    view.setFloat64(0, factor)
    // The exponent of a fraction in [1/2, 1); that of subnormal numbers and of 0 is below any that counts.
    let exponent = ((view.getUint16(0) >> 4) & 0x7ff) - 1_022
    if (exponent < -32) continue
    let multiplier = Math.floor(factor * 2 ** (31 - exponent) + 0.5)
    if (multiplier === 2 ** 31) {
      multiplier /= 2
      exponent += 1
    }
    if (exponent < -31) continue
    multipliers[at] = multiplier
    shifts[at] = exponent
  }
  return { multipliers, shifts }
}

/** C's frexp: a positive finite number as fraction · 2^exponent with fraction in [1/2, 1). */
export function splitDouble(value: number): { readonly fraction: number; readonly exponent: number } {
  let exponent = Math.max(-1_021, Math.floor(Math.log2(value)) + 1)
  let fraction = value / 2 ** exponent
  // The logarithm is rounded, and subnormal numbers are smaller than any exponent says.
  while (fraction >= 1) {
    fraction /= 2
    exponent += 1
  }
  while (fraction < 0.5) {
    fraction *= 2
    exponent -= 1
  }
  return { fraction, exponent }
}

/** The power of two that a scale is, as near as the reference looks.
 *  @returns null for a scale that is none
 *  @see CheckedLog2 of TensorFlow Lite's quantization_util.cc */
export function powerOfTwo(scale: number): number | null {
  const power = Math.log2(scale)
  const rounded = Math.round(power)
  return Math.abs(power - rounded) < 1e-3 ? rounded : null
}

/** C's round: half away from zero. */
export const roundHalfAway = (value: number): number => Math.sign(value) * Math.floor(Math.abs(value) + 0.5)

const RANGES = { int8: [-128, 127], uint8: [0, 255], int16: [-32_768, 32_767] } as const

/** Integers that a fused activation leaves of an output's type.
 *  @param activation ActivationFunctionType of the schema: 0 none, 1 ReLU, 2 ReLU −1 to 1, 3 ReLU6
 *  @returns null for another activation, or another type than int8, uint8 and int16
 *  @see CalculateActivationRangeQuantized of TensorFlow Lite's kernel_util.cc */
export function activationRange(activation: number, output: TinyTensor): readonly [number, number] | null {
  const { elementType, scales, zeroPoints } = output
  if (elementType !== 'int8' && elementType !== 'uint8' && elementType !== 'int16') return null
  const [least, most] = RANGES[elementType]
  const stored = (real: number): number =>
    (zeroPoints[0] ?? 0) + roundHalfAway(Math.fround(real / Math.fround(scales[0] ?? 1)))
  switch (activation) {
    case 0:
      return [least, most]
    case 1:
      return [Math.max(least, stored(0)), most]
    case 2:
      return [Math.max(least, stored(-1)), Math.min(most, stored(1))]
    case 3:
      return [Math.max(least, stored(0)), Math.min(most, stored(6))]
    default:
      return null
  }
}
