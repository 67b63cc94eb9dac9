import { clamp, requantize } from './fixed-point'
import { clampFloat } from './wide-arithmetic'

/** Elements by elements, with broadcasting.
 *  Words: as `binary`, least and most as the type has them; at 132: 0 sum, 1 product, 2 the larger, 3 the smaller, 4 quotient, 5 squared difference, 6 quotient rounded down, 7 what it leaves;
 *  to bool 8 equal, 9 unequal, 10 above, 11 not below, 12 below, 13 not above, 14 both, 15 any; at 136 the type: 0 int16, 1 int32, 2 int64, 3 float32, 4 int8 or bool.
 *  int16 and int8 are requantized, int32 wraps; quotients are of float32. */
export function binaryWide(words: usize): void {
  walk(words, 0, <usize>load<u32>(words), <usize>load<u32>(words, 4), <usize>load<u32>(words, 8))
}

/** Goes along one dimension and those within it. @returns where the next output goes */
function walk(words: usize, axis: i32, left: usize, right: usize, output: usize): usize {
  const own = words + 12 + <usize>(axis << 2)
  const size = load<i32>(own)
  const type = load<i32>(words, 136)
  const bytes: i32 = type === 0 ? 2 : type === 2 ? 8 : type === 4 ? 1 : 4
  const toBool = load<i32>(words, 132) > 7
  let to = output
  let a = left
  let b = right
  for (let at = 0; at < size; at++) {
    if (axis < 5) to = walk(words, axis + 1, a, b, to)
    else {
      if (toBool) store<u8>(to, <u8>told(words, type, a, b))
      else if (type === 0) store<i16>(to, <i16>shorts(words, load<i16>(a), load<i16>(b)))
      else if (type === 1) store<i32>(to, integers(words, load<i32>(a), load<i32>(b)))
      else if (type === 2) store<i64>(to, chosen<i64>(words, load<i64>(a), load<i64>(b)))
      else if (type === 3) store<f32>(to, floats(words, load<f32>(a), load<f32>(b)))
      else store<i8>(to, <i8>squared(words, load<i8>(a), load<i8>(b), 7))
      to += toBool ? 1 : <usize>bytes
    }
    a += <usize>(bytes * load<i32>(own, 24))
    b += <usize>(bytes * load<i32>(own, 48))
  }
  return to
}

function told(words: usize, type: i32, a: usize, b: usize): bool {
  if (type === 3) return compared<f32>(words, load<f32>(a), load<f32>(b))
  if (type === 2) return compared<i64>(words, load<i64>(a), load<i64>(b))
  if (type === 1) return compared<i32>(words, load<i32>(a), load<i32>(b))
  if (load<i32>(words, 132) > 13)
    return load<i32>(words, 132) === 14 ? load<u8>(a) !== 0 && load<u8>(b) !== 0 : (load<u8>(a) | load<u8>(b)) !== 0
  const x = type === 0 ? <i32>load<i16>(a) : <i32>load<i8>(a)
  const y = type === 0 ? <i32>load<i16>(b) : <i32>load<i8>(b)
  return compared<i32>(words, leftScaled(words, x, 8), rightScaled(words, y, 8))
}

function compared<T>(words: usize, a: T, b: T): bool {
  switch (load<i32>(words, 132)) {
    case 8:
      return a === b
    case 9:
      return a !== b
    case 10:
      return a > b
    case 11:
      return a >= b
    case 12:
      return a < b
    default:
      return a <= b
  }
}

function leftScaled(words: usize, a: i32, shift: i32): i32 {
  return requantize((a + load<i32>(words, 84)) << shift, load<i32>(words, 88), load<i32>(words, 92))
}

function rightScaled(words: usize, b: i32, shift: i32): i32 {
  return requantize((b + load<i32>(words, 96)) << shift, load<i32>(words, 100), load<i32>(words, 104))
}

/** @see squared_difference.cc of TFLite Micro */
function squared(words: usize, a: i32, b: i32, shift: i32): i32 {
  const difference = leftScaled(words, a, shift) - rightScaled(words, b, shift)
  const scaled =
    requantize(difference * difference, load<i32>(words, 112), load<i32>(words, 116)) + load<i32>(words, 120)
  return clamp(scaled, load<i32>(words, 124), load<i32>(words, 128))
}

/** The larger or the smaller, the second where neither is. */
function chosen<T>(words: usize, a: T, b: T): T {
  return load<i32>(words, 132) === 2 ? (a > b ? a : b) : a < b ? a : b
}

function shorts(words: usize, a: i32, b: i32): i32 {
  const kind = load<i32>(words, 132)
  if (kind === 5) return squared(words, a, b, 0)
  if (kind > 1) return chosen<i32>(words, a, b)
  const x = a + load<i32>(words, 84)
  const y = b + load<i32>(words, 96)
  let raw: i32
  if (kind === 0) {
    raw = leftScaled(words, a, 15) + rightScaled(words, b, 15) * load<i32>(words, 108)
  } else raw = x * y
  const scaled = requantize(raw, load<i32>(words, 112), load<i32>(words, 116)) + load<i32>(words, 120)
  return clamp(scaled, load<i32>(words, 124), load<i32>(words, 128))
}

function integers(words: usize, a: i32, b: i32): i32 {
  const kind = load<i32>(words, 132)
  if (kind === 5) return (a - b) * (a - b)
  if (kind > 1) return chosen<i32>(words, a, b)
  return clamp(kind === 0 ? a + b * load<i32>(words, 108) : a * b, load<i32>(words, 124), load<i32>(words, 128))
}

function floats(words: usize, a: f32, b: f32): f32 {
  const kind = load<i32>(words, 132)
  if (kind === 5) return (a - b) * (a - b)
  if (kind === 6) return Mathf.floor(a / b)
  if (kind === 7) return floorRemainder(a, b)
  if (kind === 2 || kind === 3) return chosen<f32>(words, a, b)
  let value = kind === 4 ? a / b : a * b
  if (kind === 0) value = load<i32>(words, 108) > 0 ? a + b : a - b
  return clampFloat(value, load<f32>(words, 124), load<f32>(words, 128))
}

/** Of the divisor's sign. @see reference/floor_mod.h */
function floorRemainder(a: f32, b: f32): f32 {
  const rest = a % b
  return rest !== 0 && b < 0 !== rest < 0 ? rest + b : rest
}
