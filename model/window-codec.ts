import { err, ok, type Result } from '../contract/result.ts'
import type { EngineError, EngineInput } from './engine.ts'
import type { TensorIo } from './tensor-io.ts'

/** Conversion between windows and the tensors of a graph's ends, the same for every engine. */

/** Rounds half to even, as ONNX QuantizeLinear does, so that a window quantized here equals one quantized in the graph. */
export function roundHalfToEven(value: number): number {
  const rounded = Math.round(value)
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded
}

/** Writes a window into the memory of an input tensor, quantizing or dequantizing where the types differ.
 *  @param target of `io.elements` elements and the type `io.elementType`
 *  @returns `engine-bad-input` for a wrong element count, NaN, or a conversion without parameters */
export function writeWindow(window: EngineInput, io: TensorIo, target: EngineInput): Result<null, EngineError> {
  if (window.length !== io.elements) {
    return err({
      code: 'engine-bad-input',
      detail: `window of ${window.length} elements, "${io.name}" has ${io.elements}`,
    })
  }
  // A NaN quantizes to an arbitrary, plausible number, and the posterior after it says nothing of the sort.
  const notANumber = window instanceof Float32Array ? firstNaN(window) : -1
  if (notANumber >= 0) {
    return err({ code: 'engine-bad-input', detail: `window has NaN at element ${notANumber}` })
  }
  if (window.constructor === target.constructor) {
    target.set(window)
    return ok(null)
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
  for (let i = 0; i < window.length; i++) {
    const stored = roundHalfToEven(Math.fround(window[i]! / scale)) + zeroPoint
    target[i] = Math.min(most, Math.max(least, stored))
  }
  return ok(null)
}

/** `findIndex(Number.isNaN)`, at a tenth of the time: this stands in front of every inference. */
function firstNaN(window: Float32Array): number {
  for (let i = 0; i < window.length; i++) if (Number.isNaN(window[i]!)) return i
  return -1
}

/** Copies an output tensor out as real values; the caller owns the result. */
export function readResult(source: EngineInput, io: TensorIo): Float32Array {
  if (source instanceof Float32Array) return source.slice()
  const { scale, zeroPoint } = io.quantization ?? { scale: 1, zeroPoint: 0 }
  const values = new Float32Array(source.length)
  for (let i = 0; i < source.length; i++) values[i] = (source[i]! - zeroPoint) * scale
  return values
}
