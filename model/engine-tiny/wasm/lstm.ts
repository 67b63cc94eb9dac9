import { logistic16, tanh16 } from './elementwise'
import { clamp, requantize } from './fixed-point'
import { saturate16 } from './wide-arithmetic'

/** What a gate gets from a vector: rows of weights times the vector, requantized to 1/4096. Words of a matrix: weights, bias (0 for none), multiplier, shift. */
function matrixOf(matrix: usize, vector: usize, inputs: i32, zeroPoint: i32, unit: i32): i32 {
  const row = <usize>load<u32>(matrix) + <usize>(unit * inputs)
  const bias = <usize>load<u32>(matrix, 4)
  let sum: i32 = bias === 0 ? 0 : load<i32>(bias + ((<usize>unit) << 2))
  for (let at: usize = 0; at < <usize>inputs; at++) {
    sum += (<i32>load<i8>(vector + at) - zeroPoint) * load<i8>(row + at)
  }
  return saturate16(requantize(sum, load<i32>(matrix, 8), load<i32>(matrix, 12)))
}

/** One gate of one unit before its function. */
function gate(words: usize, index: i32, input: usize, hidden: usize, unit: i32): i32 {
  const own = words + 76 + ((<usize>index) << 5)
  const fromInput = matrixOf(own, input, load<i32>(words, 28), load<i32>(words, 36), unit)
  const fromHidden = matrixOf(own + 16, hidden, load<i32>(words, 32), load<i32>(words, 40), unit)
  return saturate16(fromInput + fromHidden)
}

/** LSTM of int8 with a cell state of int16 over a sequence, both states kept.
 *  Words: input, output, hidden state, cell state, batches, steps, 1 for time first, inputs, units, zero point of the input, of the hidden state, table of
 *  the logistic function, multiplier and shift of tanh for the cell state, clip of the cell state (-1 for none), multiplier and shift
 *  of input times cell gate, of the output; at 76: two matrices (input, hidden) of each gate: input, forget, cell, output.
 *  Scratch: the hidden state that is being made.
 *  @see lstm_eval.h and lstm_eval_common.cc of TFLite Micro */
export function lstm(words: usize): void {
  const batches = load<i32>(words, 16)
  const steps = load<i32>(words, 20)
  const timeFirst = load<i32>(words, 24) !== 0
  const inputs = load<i32>(words, 28)
  const units = load<i32>(words, 32)
  const hiddenZero = load<i32>(words, 40)
  const table = <usize>load<u32>(words, 44)
  const tanhMultiplier = load<i32>(words, 48)
  const tanhShift = load<i32>(words, 52)
  const clip = load<i32>(words, 56)
  const made = <usize>load<u32>(16)
  for (let batch = 0; batch < batches; batch++) {
    const hidden = <usize>load<u32>(words, 8) + <usize>(batch * units)
    const cells = <usize>load<u32>(words, 12) + ((<usize>(batch * units)) << 1)
    for (let step = 0; step < steps; step++) {
      const at = timeFirst ? step * batches + batch : batch * steps + step
      const input = <usize>load<u32>(words) + <usize>(at * inputs)
      for (let unit = 0; unit < units; unit++) {
        const cell = cells + ((<usize>unit) << 1)
        const enter = logistic16(gate(words, 0, input, hidden, unit), 3, 0, table)
        const forget = logistic16(gate(words, 1, input, hidden, unit), 3, 0, table)
        const candidate = tanh16(gate(words, 2, input, hidden, unit), 3, 0, table)
        const leave = logistic16(gate(words, 3, input, hidden, unit), 3, 0, table)
        // A factor of 2^-15.
        const kept = saturate16(requantize(forget * load<i16>(cell), 1 << 30, -14))
        const added = saturate16(requantize(enter * candidate, load<i32>(words, 60), load<i32>(words, 64)))
        let state = saturate16(kept + added)
        if (clip >= 0) state = max(min(clip, state), -clip)
        store<i16>(cell, <i16>state)
        const out = leave * tanh16(state, tanhMultiplier, tanhShift, table)
        const scaled = requantize(out, load<i32>(words, 68), load<i32>(words, 72)) + hiddenZero
        store<i8>(made + <usize>unit, clamp(scaled, -128, 127))
      }
      memory.copy(hidden, made, <usize>units)
      memory.copy(<usize>load<u32>(words, 4) + <usize>(at * units), made, <usize>units)
    }
  }
}
