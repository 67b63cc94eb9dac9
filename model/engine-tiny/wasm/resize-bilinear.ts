/** Where an output falls between two inputs, in 1/1024, and which they are. Whole numbers throughout, as the reference's of int8. */
function placeOf(at: i32, scale: i32, halfPixels: bool): i32 {
  return halfPixels ? at * scale + scale / 2 - 512 : at * scale
}

/** Words: input, output, batches, height, width, channels, output height, output width, scales of height and width (in 1/1024; of float32 as float32), 1 for centres of pixels, type (0 int8, 1 float32).
 *  @see reference/resize_bilinear.h of TensorFlow Lite */
export function resizeBilinear(words: usize): void {
  const height = load<i32>(words, 12)
  const width = load<i32>(words, 16)
  const channels = load<i32>(words, 20)
  const halfPixels = load<i32>(words, 40) !== 0
  const float = load<i32>(words, 44) !== 0
  const bytes: i32 = float ? 4 : 1
  let to = <usize>load<u32>(words, 4)
  for (let batch = 0; batch < load<i32>(words, 8); batch++) {
    const image = <usize>load<u32>(words) + <usize>(batch * height * width * channels * bytes)
    for (let row = 0; row < load<i32>(words, 24); row++) {
      for (let column = 0; column < load<i32>(words, 28); column++) {
        if (float) to = floats(words, image, to, row, column, halfPixels)
        else {
          const y = placeOf(row, load<i32>(words, 32), halfPixels)
          const x = placeOf(column, load<i32>(words, 36), halfPixels)
          const top = min(max(y / 1024, 0), height - 1)
          const left = min(max(x / 1024, 0), width - 1)
          const bottom = min(max((y + 1023) / 1024, 0), height - 1)
          const right = min(max((x + 1023) / 1024, 0), width - 1)
          const down = <i64>(y - 1024 * top)
          const across = <i64>(x - 1024 * left)
          for (let channel = 0; channel < channels; channel++, to++) {
            const sum =
              pixel(image, top * width + left, channels, channel) * (1024 - down) * (1024 - across) +
              pixel(image, bottom * width + left, channels, channel) * down * (1024 - across) +
              pixel(image, top * width + right, channels, channel) * (1024 - down) * across +
              pixel(image, bottom * width + right, channels, channel) * down * across
            store<i8>(to, <i8>((sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20)))
          }
        }
      }
    }
  }
}

function pixel(image: usize, place: i32, channels: i32, channel: i32): i64 {
  return <i64>load<i8>(image + <usize>(place * channels + channel))
}

function floatPixel(image: usize, place: i32, channels: i32, channel: i32): f32 {
  return load<f32>(image + ((<usize>(place * channels + channel)) << 2))
}

function floatPlaceOf(at: i32, scale: f32, halfPixels: bool): f32 {
  return halfPixels ? (<f32>at + 0.5) * scale - 0.5 : <f32>at * scale
}

/** All channels of one place. @returns where the next goes */
function floats(words: usize, image: usize, output: usize, row: i32, column: i32, halfPixels: bool): usize {
  const height = load<i32>(words, 12)
  const width = load<i32>(words, 16)
  const channels = load<i32>(words, 20)
  const y = floatPlaceOf(row, load<f32>(words, 32), halfPixels)
  const x = floatPlaceOf(column, load<f32>(words, 36), halfPixels)
  const top = min(max(<i32>Mathf.floor(y), 0), height - 1)
  const left = min(max(<i32>Mathf.floor(x), 0), width - 1)
  const bottom = min(max(<i32>Mathf.ceil(y), 0), height - 1)
  const right = min(max(<i32>Mathf.ceil(x), 0), width - 1)
  const down = y - <f32>top
  const across = x - <f32>left
  let to = output
  for (let channel = 0; channel < channels; channel++, to += 4) {
    const value =
      floatPixel(image, top * width + left, channels, channel) * (1 - down) * (1 - across) +
      floatPixel(image, bottom * width + left, channels, channel) * down * (1 - across) +
      floatPixel(image, top * width + right, channels, channel) * (1 - down) * across +
      floatPixel(image, bottom * width + right, channels, channel) * down * across
    store<f32>(to, value)
  }
  return to
}
