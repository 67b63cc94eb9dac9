import { logisticOf, tanhOf } from './float-functions'
import { clampFloat } from './wide-arithmetic'

/** A row of weights times a vector, products added in order. */
function rowTimes(row: usize, vector: usize, count: i32): f32 {
  let sum: f32 = 0
  for (let at: usize = 0; at < (<usize>count) << 2; at += 4) sum += load<f32>(vector + at) * load<f32>(row + at)
  return sum
}

/** One gate of one unit before its function. Words of a gate: weights, recurrent weights, bias (0 for none). */
function gate(words: usize, index: i32, input: usize, hidden: usize, unit: i32): f32 {
  const own = words + 40 + <usize>(12 * index)
  const inputs = load<i32>(words, 28)
  const units = load<i32>(words, 32)
  let sum = rowTimes(<usize>load<u32>(own) + ((<usize>(unit * inputs)) << 2), input, inputs)
  const bias = <usize>load<u32>(own, 8)
  if (bias !== 0) sum += load<f32>(bias + ((<usize>unit) << 2))
  return sum + rowTimes(<usize>load<u32>(own, 4) + ((<usize>(unit * units)) << 2), hidden, units)
}

/** LSTM of float32 over a sequence, both states kept.
 *  Words: input, output, hidden state, cell state, batches, steps, 1 for time first, inputs, units, clip of the cell state as float32 (0 for none); at 40 three of
 *  each gate: input, forget, cell, output. Scratch: the hidden state that is being made.
 *  @see lstm_eval.h of TFLite Micro */
export function lstmFloat(words: usize): void {
  const batches = load<i32>(words, 16)
  const steps = load<i32>(words, 20)
  const timeFirst = load<i32>(words, 24) !== 0
  const inputBytes = load<i32>(words, 28) << 2
  const units = load<i32>(words, 32)
  const unitBytes = units << 2
  const clip = load<f32>(words, 36)
  const made = <usize>load<u32>(16)
  for (let batch = 0; batch < batches; batch++) {
    const hidden = <usize>load<u32>(words, 8) + <usize>(batch * unitBytes)
    const cells = <usize>load<u32>(words, 12) + <usize>(batch * unitBytes)
    for (let step = 0; step < steps; step++) {
      const at = timeFirst ? step * batches + batch : batch * steps + step
      const input = <usize>load<u32>(words) + <usize>(at * inputBytes)
      for (let unit = 0; unit < units; unit++) {
        const own = (<usize>unit) << 2
        const enter = logisticOf(gate(words, 0, input, hidden, unit))
        const forget = logisticOf(gate(words, 1, input, hidden, unit))
        const candidate = tanhOf(gate(words, 2, input, hidden, unit))
        const leave = logisticOf(gate(words, 3, input, hidden, unit))
        let state = forget * load<f32>(cells + own) + enter * candidate
        if (clip > 0) state = clampFloat(state, -clip, clip)
        store<f32>(cells + own, state)
        store<f32>(made + own, leave * tanhOf(state))
      }
      memory.copy(hidden, made, <usize>unitBytes)
      memory.copy(<usize>load<u32>(words, 4) + <usize>(at * unitBytes), made, <usize>unitBytes)
    }
  }
}
