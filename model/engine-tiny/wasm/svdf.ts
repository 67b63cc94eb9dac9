import { clamp, requantize } from './fixed-point'
import { clampFloat } from './wide-arithmetic'

/** Words: input, weights by feature, weights by time, bias (0 for none), state, output, batches, inputs, filters, memory, rank, input zero
 *  point, state zero point, output zero point, multiplier and shift of features, of outputs, bytes of a state (1 or 2), and of a
 *  weight by time.
 *
 *  The state is moved by one as a whole, each filter's newest place then written. */
export function svdf(words: usize): void {
  const input = <usize>load<u32>(words)
  const byFeature = <usize>load<u32>(words, 4)
  const byTime = <usize>load<u32>(words, 8)
  const bias = <usize>load<u32>(words, 12)
  const state = <usize>load<u32>(words, 16)
  let to = <usize>load<u32>(words, 20)
  const batches = load<i32>(words, 24)
  const inputs = load<i32>(words, 28)
  const filters = load<i32>(words, 32)
  const memorySize = load<i32>(words, 36)
  const rank = load<i32>(words, 40)
  const inputZero = load<i32>(words, 44)
  const stateZero = load<i32>(words, 48)
  const outputZero = load<i32>(words, 52)
  const stateBytes = load<i32>(words, 72)
  const timeBytes = load<i32>(words, 76)
  const least = stateBytes === 1 ? -128 : -32768
  const most = stateBytes === 1 ? 127 : 32767

  memory.copy(state, state + <usize>stateBytes, <usize>((batches * filters * memorySize - 1) * stateBytes))
  for (let batch = 0; batch < batches; batch++) {
    const vector = input + <usize>(batch * inputs)
    for (let filter = 0; filter < filters; filter++) {
      const weights = byFeature + <usize>(filter * inputs)
      let sum = 0
      for (let at: usize = 0; at < <usize>inputs; at++) {
        sum += <i32>load<i8>(weights + at) * (<i32>load<i8>(vector + at) - inputZero)
      }
      const scaled = requantize(sum, load<i32>(words, 56), load<i32>(words, 60))
      const newest = (batch * filters + filter + 1) * memorySize - 1
      store1or2(state, newest, stateBytes, clamp(stateZero + scaled, least, most))
    }
  }
  const units = filters / rank
  for (let batch = 0; batch < batches; batch++) {
    for (let unit = 0; unit < units; unit++) {
      let sum = bias === 0 ? 0 : load<i32>(bias + ((<usize>unit) << 2))
      for (let at = unit * rank * memorySize; at < (unit + 1) * rank * memorySize; at++) {
        const kept = load1or2(state, batch * filters * memorySize + at, stateBytes) - stateZero
        sum += load1or2(byTime, at, timeBytes) * kept
      }
      const scaled = requantize(sum, load<i32>(words, 64), load<i32>(words, 68))
      store<i8>(to, clamp(scaled + outputZero, -128, 127))
      to++
    }
  }
}

function load1or2(from: usize, at: i32, bytes: i32): i32 {
  return bytes === 1 ? <i32>load<i8>(from + <usize>at) : <i32>load<i16>(from + ((<usize>at) << 1))
}

function store1or2(to: usize, at: i32, bytes: i32, value: i32): void {
  if (bytes === 1) store<i8>(to + <usize>at, value)
  else store<i16>(to + ((<usize>at) << 1), value)
}

/** float32, added in the order of the reference. Words: as `svdf` as far as the rank, then least, most. */
export function svdfFloat(words: usize): void {
  const byFeature = <usize>load<u32>(words, 4)
  const bias = <usize>load<u32>(words, 12)
  const state = <usize>load<u32>(words, 16)
  let to = <usize>load<u32>(words, 20)
  const batches = load<i32>(words, 24)
  const inputs = load<i32>(words, 28)
  const filters = load<i32>(words, 32)
  const memorySize = load<i32>(words, 36)
  const rank = load<i32>(words, 40)
  memory.copy(state, state + 4, <usize>((batches * filters * memorySize - 1) << 2))
  for (let at = 0; at < batches * filters; at++) {
    const vector = <usize>load<u32>(words) + ((<usize>((at / filters) * inputs)) << 2)
    const made = dotFloats(byFeature + ((<usize>((at % filters) * inputs)) << 2), vector, inputs)
    store<f32>(state + ((<usize>((at + 1) * memorySize - 1)) << 2), made)
  }
  const units = filters / rank
  for (let at = 0; at < batches * units; at++, to += 4) {
    let sum: f32 = bias === 0 ? 0 : load<f32>(bias + ((<usize>(at % units)) << 2))
    for (let own = 0; own < rank; own++) {
      const filter = (at % units) * rank + own
      const kept = state + ((<usize>(((at / units) * filters + filter) * memorySize)) << 2)
      sum += dotFloats(<usize>load<u32>(words, 8) + ((<usize>(filter * memorySize)) << 2), kept, memorySize)
    }
    store<f32>(to, clampFloat(sum, load<f32>(words, 44), load<f32>(words, 48)))
  }
}

function dotFloats(a: usize, b: usize, count: i32): f32 {
  let sum: f32 = 0
  for (let at: usize = 0; at < (<usize>count) << 2; at += 4) sum += load<f32>(a + at) * load<f32>(b + at)
  return sum
}
