import { clamp, requantize } from './fixed-point'
import { saturate16 } from './wide-arithmetic'

/** Requantized sums of int8 or int16 over some dimensions; a mean is a sum with a smaller factor.
 *  Words: input, output, three sizes kept and their strides, three sizes summed and their strides, what zero points add up to,
 *  multiplier, shift, output zero point, bytes of an element (1 or 2). */
export function sumElements(words: usize): void {
  const input = <usize>load<u32>(words)
  let out = <usize>load<u32>(words, 4)
  const k0 = load<i32>(words, 8)
  const k1 = load<i32>(words, 12)
  const k2 = load<i32>(words, 16)
  const r0 = load<i32>(words, 32)
  const r1 = load<i32>(words, 36)
  const r2 = load<i32>(words, 40)
  const rs0 = load<i32>(words, 44)
  const rs1 = load<i32>(words, 48)
  const rs2 = load<i32>(words, 52)
  const zeros = load<i32>(words, 56)
  const multiplier = load<i32>(words, 60)
  const shift = load<i32>(words, 64)
  const outputZero = load<i32>(words, 68)
  const wide = load<i32>(words, 72) === 2
  for (let i = 0; i < k0; i++) {
    for (let j = 0; j < k1; j++) {
      for (let k = 0; k < k2; k++) {
        const kept = i * load<i32>(words, 20) + j * load<i32>(words, 24) + k * load<i32>(words, 28)
        let sum = 0
        for (let l = 0; l < r0; l++) {
          for (let m = 0; m < r1; m++) {
            let at = kept + l * rs0 + m * rs1
            if (wide) for (let n = 0; n < r2; n++, at += rs2) sum += load<i16>(input + ((<usize>at) << 1))
            else for (let n = 0; n < r2; n++, at += rs2) sum += load<i8>(input + <usize>at)
          }
        }
        const scaled = requantize(sum - zeros, multiplier, shift) + outputZero
        if (wide) store<i16>(out, <i16>saturate16(scaled))
        else store<i8>(out, clamp(scaled, -128, 127))
        out += wide ? 2 : 1
      }
    }
  }
}
