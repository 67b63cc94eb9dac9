import { clamp, requantize } from './fixed-point'

/** Words: input, slope, output, six sizes, six strides of the input, six of the slope, input offset, slope offset, output offset,
 *  multiplier and shift for positive inputs, for negative ones. */
export function prelu(words: usize): void {
  walk(words, 0, <usize>load<u32>(words), <usize>load<u32>(words, 4), <usize>load<u32>(words, 8), false)
}

/** The same of float32; the words end with the strides. */
export function preluFloat(words: usize): void {
  walk(words, 0, <usize>load<u32>(words), <usize>load<u32>(words, 4), <usize>load<u32>(words, 8), true)
}

/** Goes along one dimension and those within it. @returns where the next output goes */
function walk(words: usize, axis: i32, input: usize, slope: usize, output: usize, float: bool): usize {
  const own = words + 12 + <usize>(axis << 2)
  const size = load<i32>(own)
  let from = input
  let by = slope
  let to = output
  for (let at = 0; at < size; at++) {
    if (axis < 5) to = walk(words, axis + 1, from, by, to, float)
    else if (float) {
      const x = load<f32>(from)
      store<f32>(to, x >= 0 ? x : x * load<f32>(by))
      to += 4
    } else {
      const x = load<i32>(words, 84) + load<i8>(from)
      let y = 0
      if (x >= 0) y = requantize(x, load<i32>(words, 96), load<i32>(words, 100))
      else y = requantize(x * (load<i32>(words, 88) + load<i8>(by)), load<i32>(words, 104), load<i32>(words, 108))
      store<i8>(to, clamp(y + load<i32>(words, 92), -128, 127))
      to++
    }
    from += <usize>(load<i32>(own, 24) * (float ? 4 : 1))
    by += <usize>(load<i32>(own, 48) * (float ? 4 : 1))
  }
  return to
}
