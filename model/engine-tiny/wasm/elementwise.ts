import { clamp, divideByPowerOfTwo, exponential, reciprocalOfOnePlus, requantize } from './fixed-point'

/** An integer of one of the types that a graph may have: 0 int8, 1 uint8, 2 int16, 3 int32. */
function loadInteger(at: usize, index: i32, type: i32): i32 {
  if (type === 0) return load<i8>(at + index)
  if (type === 1) return load<u8>(at + index)
  if (type === 2) return load<i16>(at + ((<usize>index) << 1))
  return load<i32>(at + ((<usize>index) << 2))
}

function storeInteger(at: usize, index: i32, type: i32, value: i32): void {
  if (type < 2) store<i8>(at + index, <i8>value)
  else if (type === 2) store<i16>(at + ((<usize>index) << 1), <i16>value)
  else store<i32>(at + ((<usize>index) << 2), value)
}

/** From one quantization to another.
 *  Words: input, output, elements, input type, output type, input zero point, output zero point, multiplier, shift, least, most. */
export function requantizeElements(words: usize): void {
  const input = <usize>load<u32>(words)
  const output = <usize>load<u32>(words, 4)
  const elements = load<i32>(words, 8)
  const inputType = load<i32>(words, 12)
  const outputType = load<i32>(words, 16)
  const inputZero = load<i32>(words, 20)
  const outputZero = load<i32>(words, 24)
  const multiplier = load<i32>(words, 28)
  const shift = load<i32>(words, 32)
  const least = load<i32>(words, 36)
  const most = load<i32>(words, 40)
  for (let i = 0; i < elements; i++) {
    const value = requantize(loadInteger(input, i, inputType) - inputZero, multiplier, shift) + outputZero
    storeInteger(output, i, outputType, clamp(value, least, most))
  }
}

/** Integers within bounds. Words: input, output, elements, least, most, type. */
export function clampElements(words: usize): void {
  const input = <usize>load<u32>(words)
  const output = <usize>load<u32>(words, 4)
  const elements = load<i32>(words, 8)
  const least = load<i32>(words, 12)
  const most = load<i32>(words, 16)
  const type = load<i32>(words, 20)
  for (let i = 0; i < elements; i++) storeInteger(output, i, type, clamp(loadInteger(input, i, type), least, most))
}

/** Half away from zero; what is beyond 32 bits, on which no graph can rely, is the nearest of them. */
function rounded(value: f32): i32 {
  const whole = Mathf.trunc(value)
  return <i32>(Mathf.abs(value - whole) >= 0.5 ? whole + Mathf.sign(value) : whole)
}

/** float32 to integers. Words: input, output, elements, output type, zero point, scale (float32), least, most. */
export function quantizeElements(words: usize): void {
  const input = <usize>load<u32>(words)
  const output = <usize>load<u32>(words, 4)
  const elements = load<i32>(words, 8)
  const outputType = load<i32>(words, 12)
  const zero = load<i32>(words, 16)
  const scale = load<f32>(words, 20)
  const least = load<i32>(words, 24)
  const most = load<i32>(words, 28)
  for (let i = 0; i < elements; i++) {
    const value = load<f32>(input + ((<usize>i) << 2)) / scale
    // Kept where adding a zero point cannot pass 32 bits.
    const whole = clamp(rounded(value), -0x40000000, 0x40000000)
    storeInteger(output, i, outputType, clamp(whole + zero, least, most))
  }
}

/** Integers to float32. Words: input, output, elements, input type, zero point, scale (float32). */
export function dequantizeElements(words: usize): void {
  const input = <usize>load<u32>(words)
  const output = <usize>load<u32>(words, 4)
  const elements = load<i32>(words, 8)
  const inputType = load<i32>(words, 12)
  const zero = load<i32>(words, 16)
  const scale = load<f32>(words, 20)
  for (let i = 0; i < elements; i++) {
    store<f32>(output + ((<usize>i) << 2), scale * <f32>(loadInteger(input, i, inputType) - zero))
  }
}

/** int8. Words: input, output, elements, input zero point, radius beyond which it is 0 or 1, multiplier, shift. */
export function logistic(words: usize): void {
  const input = <usize>load<u32>(words)
  const output = <usize>load<u32>(words, 4)
  const elements = load<i32>(words, 8)
  const zero = load<i32>(words, 12)
  const radius = load<i32>(words, 16)
  const multiplier = load<i32>(words, 20)
  const shift = load<i32>(words, 24)
  for (let i = 0; i < elements; i++) {
    const value = <i32>load<i8>(input + i) - zero
    let result = value > 0 ? 127 : -128
    if (value > -radius && value < radius) {
      const x = requantize(value, multiplier, shift)
      let y: i32 = 1 << 30
      if (x !== 0) {
        y = reciprocalOfOnePlus(exponential(x > 0 ? -x : x, 4))
        if (x < 0) y = i32.MAX_VALUE - y
      }
      result = clamp(divideByPowerOfTwo(y, 23) - 128, -128, 127)
    }
    store<i8>(output + i, <i8>result)
  }
}

/** int16, what is below zero by a factor of its own. Words: input, output, elements, input zero point, output zero point, multiplier and shift from
 *  zero on, below. */
export function leakyRelu16(words: usize): void {
  const input = <usize>load<u32>(words)
  const output = <usize>load<u32>(words, 4)
  for (let at: usize = 0; at < (<usize>load<u32>(words, 8)) << 1; at += 2) {
    const x = <i32>load<i16>(input + at) - load<i32>(words, 12)
    const factor = words + (x >= 0 ? 20 : 28)
    const y = requantize(x, load<i32>(factor), load<i32>(factor, 4)) + load<i32>(words, 16)
    store<i16>(output + at, <i16>clamp(y, -0x8000, 0x7fff))
  }
}

/** Logistic function and tanh of int16, between neighbours of a table of the logistic function at 0, 1/24, 2/24 and on, of 16 bits.
 *  Words: input, output, elements, table, multiplier, shift to the right, 1 for tanh.
 *  @see reference/integer_ops/logistic.h and tanh.h of TensorFlow Lite */
export function sigmoid16(words: usize): void {
  const input = <usize>load<u32>(words)
  const output = <usize>load<u32>(words, 4)
  const elements = load<i32>(words, 8)
  const table = <usize>load<u32>(words, 12)
  const multiplier = load<i32>(words, 16)
  const shift = load<i32>(words, 20)
  const tanh = load<i32>(words, 24) !== 0
  for (let at: usize = 0; at < (<usize>elements) << 1; at += 2) {
    const x = load<i16>(input + at)
    store<i16>(output + at, <i16>(tanh ? tanh16(x, multiplier, shift, table) : logistic16(x, multiplier, shift, table)))
  }
}

/** x · multiplier / 2^shift, half up. */
function scaled16(x: i32, multiplier: i32, shift: i32): i32 {
  return (x * multiplier + (shift > 0 ? 1 << (shift - 1) : 0)) >> shift
}

/** @returns in 1/32768 */
export function logistic16(value: i32, multiplier: i32, shift: i32, table: usize): i32 {
  const x = scaled16(value, multiplier, shift)
  const size = <u32>abs(x)
  const place = size >> 9
  let y: u32 = 0x7fff << 10
  if (place < 255) {
    const low = <u32>load<u16>(table + ((<usize>place) << 1))
    const high = <u32>load<u16>(table + ((<usize>place) << 1), 2)
    y = (low << 9) + (size & 0x1ff) * (high - low)
  }
  const rounded: u32 = x >= 0 ? y + (1 << 9) : (1 << 25) - y + (1 << 9) - 1
  return <i32>(rounded >> 10)
}

/** @returns in 1/32768 */
export function tanh16(value: i32, multiplier: i32, shift: i32, table: usize): i32 {
  const x = scaled16(value, multiplier, shift)
  const size = <u32>abs(x)
  const place = size >> 8
  let y: i32 = 0xffff << 8
  if (place < 255) {
    const low = <u32>load<u16>(table + ((<usize>place) << 1))
    const high = <u32>load<u16>(table + ((<usize>place) << 1), 2)
    y = <i32>((low << 8) + (size & 0xff) * (high - low))
  }
  return (x >= 0 ? y - (1 << 23) + (1 << 7) : (1 << 23) - y + (1 << 7) - 1) >> 8
}
