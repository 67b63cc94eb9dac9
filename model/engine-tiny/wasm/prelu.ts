import { clamp, requantize } from './fixed-point'

/** Words: input, slope, output, four sizes, four strides of the input, four of the slope, input offset, slope offset, output offset,
 *  multiplier and shift for positive inputs, for negative ones. */
export function prelu(words: usize): void {
  const input = <usize>load<u32>(words)
  const slope = <usize>load<u32>(words, 4)
  let to = <usize>load<u32>(words, 8)
  const inputOffset = load<i32>(words, 60)
  const slopeOffset = load<i32>(words, 64)
  const outputOffset = load<i32>(words, 68)
  for (let a = 0; a < load<i32>(words, 12); a++) {
    for (let b = 0; b < load<i32>(words, 16); b++) {
      for (let c = 0; c < load<i32>(words, 20); c++) {
        for (let d = 0; d < load<i32>(words, 24); d++) {
          const x =
            inputOffset +
            load<i8>(
              input +
                <usize>(
                  (a * load<i32>(words, 28) +
                    b * load<i32>(words, 32) +
                    c * load<i32>(words, 36) +
                    d * load<i32>(words, 40))
                ),
            )
          let y = 0
          if (x >= 0) y = requantize(x, load<i32>(words, 72), load<i32>(words, 76))
          else {
            const at =
              a * load<i32>(words, 44) + b * load<i32>(words, 48) + c * load<i32>(words, 52) + d * load<i32>(words, 56)
            const factor = slopeOffset + load<i8>(slope + <usize>at)
            y = requantize(x * factor, load<i32>(words, 80), load<i32>(words, 84))
          }
          store<i8>(to, clamp(y + outputOffset, -128, 127))
          to++
        }
      }
    }
  }
}
