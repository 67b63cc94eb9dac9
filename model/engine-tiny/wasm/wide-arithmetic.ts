import { clamp } from './fixed-point'

// What elements of 16 and 32 bits need beyond `fixed-point.ts`. Facts from TensorFlow Lite's common.h; all own code.

/** A sum of 64 bits times a real factor, of whose multiplier fifteen bits are kept.
 *  @param x of 47 bits and a sign
 *  @param shift of the factor, above 0 to the left
 *  @see MultiplyByQuantizedMultiplier of common.h for int64 */
export function requantizeLong(x: i64, multiplier: i32, shift: i32): i32 {
  const reduced = multiplier < 0x7fff0000 ? (multiplier + (1 << 15)) >> 16 : 0x7fff
  const right = 15 - shift
  return <i32>((x * <i64>reduced + ((<i64>1) << (right - 1))) >> right)
}

/** Bounds as the reference has them: what is no number stays none. */
export function clampFloat(x: f32, least: f32, most: f32): f32 {
  const above = x < least ? least : x
  return most < above ? most : above
}

export function saturate16(x: i32): i32 {
  return clamp(x, -0x8000, 0x7fff)
}
