import { clamp, requantize } from './fixed-point'

/** Sum (or difference, by a negative factor's sign word) of two requantized values. */
function sum(words: usize, a: i32, b: i32): i32 {
  const left = requantize((a + load<i32>(words, 84)) << 20, load<i32>(words, 88), load<i32>(words, 92))
  const right = requantize((b + load<i32>(words, 96)) << 20, load<i32>(words, 100), load<i32>(words, 104))
  const raw = left + right * load<i32>(words, 108)
  return requantize(raw, load<i32>(words, 112), load<i32>(words, 116)) + load<i32>(words, 120)
}

function product(words: usize, a: i32, b: i32): i32 {
  const raw = (a + load<i32>(words, 84)) * (b + load<i32>(words, 96))
  return requantize(raw, load<i32>(words, 112), load<i32>(words, 116)) + load<i32>(words, 120)
}

/** int8 by int8, with broadcasting.
 *  Words: a, b, output, six sizes from the outermost, six strides of a, six of b; at 84: offset, multiplier and shift of a, of b, the sign of b, then multiplier,
 *  shift and zero point of the output; least, most; at 132: 0 sum, 1 product, 2 the larger, 3 the smaller. */
export function binary(words: usize): void {
  const n0 = load<i32>(words, 12)
  const n1 = load<i32>(words, 16)
  const n2 = load<i32>(words, 20)
  const n3 = load<i32>(words, 24)
  const n4 = load<i32>(words, 28)
  const n5 = load<i32>(words, 32)
  const a5 = load<i32>(words, 56)
  const b5 = load<i32>(words, 80)
  const least = load<i32>(words, 124)
  const most = load<i32>(words, 128)
  const kind = load<i32>(words, 132)
  let out = <usize>load<u32>(words, 8)
  for (let i0 = 0; i0 < n0; i0++) {
    for (let i1 = 0; i1 < n1; i1++) {
      for (let i2 = 0; i2 < n2; i2++) {
        for (let i3 = 0; i3 < n3; i3++) {
          for (let i4 = 0; i4 < n4; i4++) {
            let a = <usize>(
              (load<i32>(words) +
                i0 * load<i32>(words, 36) +
                i1 * load<i32>(words, 40) +
                i2 * load<i32>(words, 44) +
                i3 * load<i32>(words, 48) +
                i4 * load<i32>(words, 52))
            )
            let b = <usize>(
              (load<i32>(words, 4) +
                i0 * load<i32>(words, 60) +
                i1 * load<i32>(words, 64) +
                i2 * load<i32>(words, 68) +
                i3 * load<i32>(words, 72) +
                i4 * load<i32>(words, 76))
            )
            for (let i5 = 0; i5 < n5; i5++, a += a5, b += b5, out++) {
              const x = <i32>load<i8>(a)
              const y = <i32>load<i8>(b)
              let value: i32
              if (kind === 0) value = sum(words, x, y)
              else if (kind === 1) value = product(words, x, y)
              else if (kind === 2) value = max(x, y)
              else value = min(x, y)
              store<i8>(out, clamp(value, least, most))
            }
          }
        }
      }
    }
  }
}
