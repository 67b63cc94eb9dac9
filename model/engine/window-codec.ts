import { err, ok, type Result } from '../../contract/result.ts'
import type { EngineError, EngineInput } from './engine.ts'
import type { TensorIo } from './tensor-io.ts'

/** Conversion between windows and the tensors of a graph's ends, the same for every engine. */

/** 1.5 * 2^52: a float64 next to it has no fraction, so adding it rounds, half to even, and subtracting gives back the rest. */
const WHOLE = 6_755_399_441_055_744

/** Rounds half to even, as ONNX QuantizeLinear does, so that a window quantized here equals one quantized in the graph.
 *  @param value at most 2^51 either way; beyond, it comes back near enough to saturate any integer of 32 bits */
export function roundHalfToEven(value: number): number {
  return value + WHOLE - WHOLE
}

/** Writes a window into the memory of an input tensor, quantizing or dequantizing where the types differ.
 *  @param target of `io.elements` elements and the type `io.elementType`
 *  @returns `engine-bad-input` for a wrong element count, NaN, or a conversion without parameters; `target` then holds nothing
 *  that may be run */
export function writeWindow(window: EngineInput, io: TensorIo, target: EngineInput): Result<null, EngineError> {
  if (window.length !== io.elements) {
    return err({
      code: 'engine-bad-input',
      detail: `window of ${window.length} elements, "${io.name}" has ${io.elements}`,
    })
  }
  if (window.constructor === target.constructor) {
    target.set(window)
    return window instanceof Float32Array && hasNaN(window) ? refusedNaN(io) : ok(null)
  }
  const { quantization } = io
  if (quantization === null || !(window instanceof Float32Array)) {
    // Stored bytes carry no scale of their own, so only real values can be converted.
    const reason =
      quantization === null && window instanceof Float32Array ? 'its quantization is not known' : 'it wants real values'
    return err({ code: 'engine-bad-input', detail: `window does not match ${io.elementType} "${io.name}": ${reason}` })
  }
  const { scale, zeroPoint } = quantization
  const least = io.elementType === 'int8' ? -128 : 0
  const most = least + 255
  let notANumber = false
  for (let i = 0; i < window.length; i++) {
    const value = Math.fround(window[i]! / scale)
    const stored = roundHalfToEven(value) + zeroPoint
    target[i] = stored < least ? least : stored > most ? most : stored
    if (Number.isNaN(value)) notANumber = true
  }
  return notANumber ? refusedNaN(io) : ok(null)
}

/** A NaN quantizes to an arbitrary, plausible number, and the posterior after it says nothing of the sort. */
const refusedNaN = (io: TensorIo): Result<null, EngineError> =>
  err({ code: 'engine-bad-input', detail: `window for "${io.name}" has a NaN` })

/** `some(Number.isNaN)`, at a tenth of the time: this stands in front of every inference. */
function hasNaN(window: Float32Array): boolean {
  for (let i = 0; i < window.length; i++) if (Number.isNaN(window[i]!)) return true
  return false
}

/** Copies an output tensor out as real values; the caller owns the result. */
export function readResult(source: EngineInput, io: TensorIo): Float32Array {
  if (source instanceof Float32Array) return source.slice()
  const { scale, zeroPoint } = io.quantization ?? { scale: 1, zeroPoint: 0 }
  const values = new Float32Array(source.length)
  for (let i = 0; i < source.length; i++) values[i] = (source[i]! - zeroPoint) * scale
  return values
}
