import { clamp } from './fixed-point'
import { clampFloat } from './wide-arithmetic'

/** Words: as `pool2d`, least and most as the type has them; at 64: 0 mean, 1 largest, 2 root of the mean square, of float32 alone; at 68: 0 float32, 1 int16. */
export function poolWide(words: usize): void {
  const float = load<i32>(words, 68) === 0
  const bytes: i32 = float ? 4 : 2
  const height = load<i32>(words, 12)
  const width = load<i32>(words, 16)
  const channels = load<i32>(words, 20)
  let out = <usize>load<u32>(words, 4)
  for (let batch = 0; batch < load<i32>(words, 8); batch++) {
    const image = <usize>load<u32>(words) + <usize>(batch * height * width * channels * bytes)
    for (let outY = 0; outY < load<i32>(words, 32); outY++) {
      const y = outY * load<i32>(words, 40) - load<i32>(words, 48)
      const top = max(0, y)
      const bottom = min(y + load<i32>(words, 24), height)
      for (let outX = 0; outX < load<i32>(words, 36); outX++) {
        const x = outX * load<i32>(words, 44) - load<i32>(words, 52)
        const left = max(0, x)
        const right = min(x + load<i32>(words, 28), width)
        for (let channel = 0; channel < channels; channel++, out += <usize>bytes) {
          const from = image + <usize>(channel * bytes)
          if (float) store<f32>(out, floats(words, from, top, bottom, left, right))
          else store<i16>(out, <i16>shorts(words, from, top, bottom, left, right))
        }
      }
    }
  }
}

function floats(words: usize, image: usize, top: i32, bottom: i32, left: i32, right: i32): f32 {
  const width = load<i32>(words, 16)
  const channels = load<i32>(words, 20)
  const kind = load<i32>(words, 64)
  const largest = kind === 1
  let value: f32 = largest ? -f32.MAX_VALUE : 0
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const element = load<f32>(image + ((<usize>((row * width + column) * channels)) << 2))
      if (!largest) value += kind === 2 ? element * element : element
      // As the reference's, which keeps what it has where the new one is no number.
      else if (value < element) value = element
    }
  }
  if (!largest) value /= <f32>((bottom - top) * (right - left))
  if (kind === 2) value = Mathf.sqrt(value)
  return clampFloat(value, load<f32>(words, 56), load<f32>(words, 60))
}

function shorts(words: usize, image: usize, top: i32, bottom: i32, left: i32, right: i32): i32 {
  const width = load<i32>(words, 16)
  const channels = load<i32>(words, 20)
  const largest = load<i32>(words, 64) !== 0
  let value: i32 = largest ? -0x8000 : 0
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const element = <i32>load<i16>(image + ((<usize>((row * width + column) * channels)) << 1))
      value = largest ? max(value, element) : value + element
    }
  }
  const count = (bottom - top) * (right - left)
  if (!largest) value = (value > 0 ? value + count / 2 : value - count / 2) / count
  return clamp(value, load<i32>(words, 56), load<i32>(words, 60))
}
