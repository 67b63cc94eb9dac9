import { clampFloat } from './wide-arithmetic'

// Functions of float32, computed in float64 by additions and multiplications alone, so that they are the same bits on every machine, and
// rounded once: what a good C library gives, but for the rare value that lies within 10^-9 of the middle between two floats.

/** e^x; 0 and infinity beyond what float32 holds. */
function exponential(x: f32): f32 {
  // What is no number stays none.
  if (!(x <= 89)) return x > 89 ? f32.reinterpret_i32(0x7f800000) : x
  return x < -104 ? 0 : <f32>exponentialDouble(<f64>x)
}

/** @param exact from -209 to 209 */
function exponentialDouble(exact: f64): f64 {
  const powers = nearest(exact * Math.LOG2E)
  // ln 2 in two parts, of which the first has so few bits that its product is exact.
  const rest = exact - powers * 0.6931471803691238 - powers * 1.9082149292705877e-10
  // |rest| <= ln 2 / 2: thirteen terms of the series leave less than 10^-16.
  let sum = 1.0
  for (let term = 13; term > 0; term--) sum = 1.0 + (sum * rest) / <f64>term
  return sum * f64.reinterpret_i64((<i64>powers + 1023) << 52)
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

/** Each row of `depth`: x less the largest, less the logarithm of the sum of such powers. Words: input, output, rows, depth. @see reference/log_softmax.h */
export function logSoftmaxFloat(words: usize): void {
  let from = <usize>load<u32>(words)
  let to = <usize>load<u32>(words, 4)
  const bytes = (<usize>load<u32>(words, 12)) << 2
  for (let row = load<i32>(words, 8); row > 0; row--, from += bytes, to += bytes) {
    let most = load<f32>(from)
    for (let at: usize = 4; at < bytes; at += 4) most = max(most, load<f32>(from + at))
    let sum: f32 = 0
    for (let at: usize = 0; at < bytes; at += 4) sum += exponential(load<f32>(from + at) - most)
    const logarithm = logarithmOf(sum)
    for (let at: usize = 0; at < bytes; at += 4) store<f32>(to + at, load<f32>(from + at) - most - logarithm)
  }
}

/** Where the logistic function is told from 1, and from e^x, no more. @see reference/logistic.h */
const LOGISTIC_ONE: f32 = 16.619047164916992
const LOGISTIC_EXPONENTIAL: f32 = -9

export function logisticOf(x: f32): f32 {
  if (x > LOGISTIC_ONE) return 1
  return x < LOGISTIC_EXPONENTIAL ? exponential(x) : 1 / (1 + exponential(-x))
}

export function tanhOf(x: f32): f32 {
  // Beyond this it is 1 to the last place; what is no number stays none.
  if (!(Mathf.abs(x) <= 10)) return Mathf.abs(x) > 10 ? Mathf.sign(x) : x
  // A series where the difference of the exponentials would lose places: the next term is below 10^-11 of the first.
  if (Mathf.abs(x) < 0.03) {
    const exact = <f64>x
    const square = exact * exact
    return <f32>(exact * (1.0 - square * (1.0 / 3.0 - square * (2.0 / 15.0 - square * (17.0 / 315.0)))))
  }
  const power = exponentialDouble(2.0 * <f64>x)
  return <f32>((power - 1.0) / (power + 1.0))
}

/** ln x: minus infinity at 0, none below. */
function logarithmOf(x: f32): f32 {
  if (!(x > 0)) return x === 0 ? -f32.reinterpret_i32(0x7f800000) : f32.reinterpret_i32(0x7fc00000)
  if (x > f32.MAX_VALUE) return x
  // All of float32 is normal in float64: a fraction from sqrt(1/2) to sqrt(2) and a power of two.
  const bits = i64.reinterpret_f64(<f64>x)
  let power = <i32>((bits >> 52) & 0x7ff) - 1023
  let fraction = f64.reinterpret_i64((bits & 0xfffffffffffff) | ((<i64>1023) << 52))
  if (fraction > Math.SQRT2) {
    fraction *= 0.5
    power++
  }
  const s = (fraction - 1.0) / (fraction + 1.0)
  const square = s * s
  // |s| < 0.172: eleven terms of the series leave less than 10^-17.
  let sum = 0.0
  for (let term = 21; term > 0; term -= 2) sum = sum * square + 1.0 / <f64>term
  return <f32>(<f64>power * Math.LN2 + 2.0 * s * sum)
}

/** e^x - 1. */
function exponentialLessOne(x: f32): f32 {
  const exact = <f64>x
  // Terms beyond are below 10^-13 of the first.
  if (Mathf.abs(x) < 0.001) return <f32>(exact * (1.0 + exact * (0.5 + exact * (1.0 / 6.0 + exact / 24.0))))
  return x < -104 ? -1 : <f32>(exponentialDouble(exact) - 1.0)
}

/** Numbers of functions: ../kernels/elementwise.ts. */
function mapped(kind: i32, x: f32): f32 {
  switch (kind) {
    case 6:
      return Mathf.abs(x)
    case 7:
      return -x
    case 8:
      return exponential(x)
    case 9:
      return logarithmOf(x)
    case 10:
      return Mathf.sqrt(x)
    case 11:
      return 1 / Mathf.sqrt(x)
    case 12:
      return x * x
    case 13:
      return Mathf.floor(x)
    case 14:
      return Mathf.ceil(x)
    case 15:
      return nearest(x)
    case 16:
      return x < 0 ? exponentialLessOne(x) : x
    default:
      return clampFloat(x, -1, 1)
  }
}

/** A function of each element.
 *  Words: input, output, elements, function (0 ReLU, 1 ReLU6, 2 leaky ReLU, 3 hard swish, 4 logistic, 5 tanh, beyond those of `mapped`), slope as float32. */
export function mapFloats(words: usize): void {
  const input = <usize>load<u32>(words)
  const output = <usize>load<u32>(words, 4)
  const bytes = (<usize>load<u32>(words, 8)) << 2
  const kind = load<i32>(words, 12)
  const slope = load<f32>(words, 16)
  for (let at: usize = 0; at < bytes; at += 4) {
    const x = load<f32>(input + at)
    let y = x
    if (kind === 0) y = x < 0 ? 0 : x
    else if (kind === 1) y = x > 6 ? 6 : x < 0 ? 0 : x
    else if (kind === 2) y = x > 0 ? x : x * slope
    else if (kind === 3) y = (x * clampFloat(x + 3, 0, 6)) / 6
    else if (kind === 4) y = logisticOf(x)
    else if (kind === 5) y = tanhOf(x)
    else y = mapped(kind, x)
    store<f32>(output + at, y)
  }
}

/** Sum, mean or largest over some dimensions. Words: as `maxElements`; at 56: 0 sum, 1 mean, 2 largest, 3 least; how many become one. */
export function reduceFloats(words: usize): void {
  const input = <usize>load<u32>(words)
  let out = <usize>load<u32>(words, 4)
  const kind = load<i32>(words, 56)
  const count = <f32>load<i32>(words, 60)
  for (let i = 0; i < load<i32>(words, 8); i++) {
    for (let j = 0; j < load<i32>(words, 12); j++) {
      for (let k = 0; k < load<i32>(words, 16); k++, out += 4) {
        const kept = i * load<i32>(words, 20) + j * load<i32>(words, 24) + k * load<i32>(words, 28)
        const from = input + ((<usize>kept) << 2)
        let value: f32 = kind === 2 ? -f32.MAX_VALUE : kind === 3 ? f32.MAX_VALUE : 0
        for (let l = 0; l < load<i32>(words, 32); l++) {
          for (let m = 0; m < load<i32>(words, 36); m++) {
            for (let n = 0; n < load<i32>(words, 40); n++) {
              const at = l * load<i32>(words, 44) + m * load<i32>(words, 48) + n * load<i32>(words, 52)
              const element = load<f32>(from + ((<usize>at) << 2))
              if (kind < 2) value += element
              else if (kind === 2 ? element > value : element < value) value = element
            }
          }
        }
        store<f32>(out, kind === 1 ? value / count : value)
      }
    }
  }
}

/** Each row of `depth` divided by its length, 10^-6 at least. Words: input, output, rows, depth. @see reference/l2normalization.h */
export function l2NormalizationFloat(words: usize): void {
  let from = <usize>load<u32>(words)
  let to = <usize>load<u32>(words, 4)
  const rows = load<i32>(words, 8)
  const bytes = (<usize>load<u32>(words, 12)) << 2
  for (let row = 0; row < rows; row++, from += bytes, to += bytes) {
    let squares: f32 = 0
    for (let at: usize = 0; at < bytes; at += 4) squares += load<f32>(from + at) * load<f32>(from + at)
    const length = max(Mathf.sqrt(squares), <f32>1e-6)
    for (let at: usize = 0; at < bytes; at += 4) store<f32>(to + at, load<f32>(from + at) / length)
  }
}
