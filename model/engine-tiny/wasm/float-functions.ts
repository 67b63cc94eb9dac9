// Functions of float32, computed in float64 by additions and multiplications alone, so that they are the same bits on every machine, and
// rounded once: what a good C library gives, but for the rare value that lies within 10^-9 of the middle between two floats.

/** e^x; 0 and infinity beyond what float32 holds. */
function exponential(x: f32): f32 {
  // What is no number stays none.
  if (!(x <= 89)) return x > 89 ? f32.reinterpret_i32(0x7f800000) : x
  if (x < -104) return 0
  const exact = <f64>x
  const powers = nearest(exact * Math.LOG2E)
  // ln 2 in two parts, of which the first has so few bits that its product is exact.
  const rest = exact - powers * 0.6931471803691238 - powers * 1.9082149292705877e-10
  // |rest| <= ln 2 / 2: thirteen terms of the series leave less than 10^-16.
  let sum = 1.0
  for (let term = 13; term > 0; term--) sum = 1.0 + (sum * rest) / <f64>term
  return <f32>(sum * f64.reinterpret_i64((<i64>powers + 1023) << 52))
}

/** Each row of `depth`: e^x over the sum of e^x. Words: input, output, rows, depth, factor as float32. */
export function softmaxFloat(words: usize): void {
  let from = <usize>load<u32>(words)
  let to = <usize>load<u32>(words, 4)
  const rows = load<i32>(words, 8)
  const bytes = (<usize>load<u32>(words, 12)) << 2
  const factor = load<f32>(words, 16)
  for (let row = 0; row < rows; row++) {
    let most = load<f32>(from)
    for (let at: usize = 4; at < bytes; at += 4) most = max(most, load<f32>(from + at))
    let sum: f32 = 0
    for (let at: usize = 0; at < bytes; at += 4) {
      const value = exponential((load<f32>(from + at) - most) * factor)
      store<f32>(to + at, value)
      sum += value
    }
    for (let at: usize = 0; at < bytes; at += 4) store<f32>(to + at, load<f32>(to + at) / sum)
    from += bytes
    to += bytes
  }
}
