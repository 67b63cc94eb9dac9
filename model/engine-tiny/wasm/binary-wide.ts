import { clamp, requantize } from './fixed-point'
import { clampFloat } from './wide-arithmetic'

/** Elements of two bytes or more by such, with broadcasting.
 *  Words: as `binary`, least and most as the type has them; at 136 the type: 0 int16, 1 int32, 2 int64, 3 float32.
 *  Sums and products of int16 are requantized, those of int32 wrap and those of int64 are not there. */
export function binaryWide(words: usize): void {
  walk(words, 0, <usize>load<u32>(words), <usize>load<u32>(words, 4), <usize>load<u32>(words, 8))
}

/** Goes along one dimension and those within it. @returns where the next output goes */
function walk(words: usize, axis: i32, left: usize, right: usize, output: usize): usize {
  const own = words + 12 + <usize>(axis << 2)
  const size = load<i32>(own)
  const type = load<i32>(words, 136)
  const bytes: i32 = type === 0 ? 2 : type === 2 ? 8 : 4
  let to = output
  let a = left
  let b = right
  for (let at = 0; at < size; at++) {
    if (axis < 5) to = walk(words, axis + 1, a, b, to)
    else {
      if (type === 0) store<i16>(to, <i16>shorts(words, load<i16>(a), load<i16>(b)))
      else if (type === 1) store<i32>(to, integers(words, load<i32>(a), load<i32>(b)))
      else if (type === 2) store<i64>(to, chosen<i64>(words, load<i64>(a), load<i64>(b)))
      else store<f32>(to, floats(words, load<f32>(a), load<f32>(b)))
      to += <usize>bytes
    }
    a += <usize>(bytes * load<i32>(own, 24))
    b += <usize>(bytes * load<i32>(own, 48))
  }
  return to
}

/** The larger or the smaller, the second where neither is. */
function chosen<T>(words: usize, a: T, b: T): T {
  return load<i32>(words, 132) === 2 ? (a > b ? a : b) : a < b ? a : b
}

function shorts(words: usize, a: i32, b: i32): i32 {
  const kind = load<i32>(words, 132)
  if (kind > 1) return chosen<i32>(words, a, b)
  const x = a + load<i32>(words, 84)
  const y = b + load<i32>(words, 96)
  let raw: i32
  if (kind === 0) {
    const left = requantize(x << 15, load<i32>(words, 88), load<i32>(words, 92))
    const right = requantize(y << 15, load<i32>(words, 100), load<i32>(words, 104))
    raw = left + right * load<i32>(words, 108)
  } else raw = x * y
  const scaled = requantize(raw, load<i32>(words, 112), load<i32>(words, 116)) + load<i32>(words, 120)
  return clamp(scaled, load<i32>(words, 124), load<i32>(words, 128))
}

function integers(words: usize, a: i32, b: i32): i32 {
  const kind = load<i32>(words, 132)
  if (kind > 1) return chosen<i32>(words, a, b)
  return clamp(kind === 0 ? a + b * load<i32>(words, 108) : a * b, load<i32>(words, 124), load<i32>(words, 128))
}

function floats(words: usize, a: f32, b: f32): f32 {
  const kind = load<i32>(words, 132)
  if (kind > 1) return chosen<f32>(words, a, b)
  let value = a * b
  if (kind === 0) value = load<i32>(words, 108) > 0 ? a + b : a - b
  return clampFloat(value, load<f32>(words, 124), load<f32>(words, 128))
}
