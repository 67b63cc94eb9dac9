import { roundHalfAway } from '../multiplier.ts'

const STEPS = 512

/** A function at 513 points for int16 at the input, in 1/32768, each moved so that the straight line to the next is off by as much in the middle as at its ends.
 *  @param of float32 to a number, which is rounded to float32
 *  @see gen_lut and LUTPopulate of TensorFlow Lite's common.h, in float32 as it is called from softmax_common.cc of TFLite Micro */
export function interpolationTable(least: number, most: number, of: (x: number) => number): Int16Array {
  const step = Math.fround((most - least) / STEPS)
  const scaled = (at: number): number => Math.fround(Math.fround(of(Math.fround(least + at * step))) * 2 ** 15)
  const table = new Int16Array(STEPS + 1)
  for (let at = 0; at < STEPS; at++) {
    const value = roundHalfAway(scaled(at))
    const line = roundHalfAway(Math.fround(scaled(at + 1) + value) / 2)
    const bias = roundHalfAway((line - roundHalfAway(scaled(at + 0.5))) / 2)
    table[at] = Math.min(Math.max(value - bias, -0x8000), 0x7fff)
  }
  table[STEPS] = Math.min(roundHalfAway(scaled(STEPS)), 0x7fff)
  return table
}
