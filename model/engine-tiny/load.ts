import { ok, type Result } from '../../contract/result.ts'
import { hasTfliteIdentifier } from '../tflite/tflite-reader.ts'
import { loadTiny, type TinyError, type TinyGraph, type TinyOptions } from './graph.ts'
import { type LoweringError, lowerOnnx } from './lowering/onnx-lowering.ts'

/** What the engine reads: a TFLite file as it is, an ONNX file as it is lowered. */
const tinyFile = (bytes: Uint8Array): Result<Uint8Array, LoweringError> =>
  hasTfliteIdentifier(bytes) ? ok(bytes) : lowerOnnx(bytes)

/** Loads a graph of either format; see `loadTiny` and `lowerOnnx`. Ends have the names, shapes and types that the file gives them. */
export function loadTinyFile(
  bytes: Uint8Array,
  options: TinyOptions = {},
): Result<TinyGraph, TinyError | LoweringError> {
  const file = tinyFile(bytes)
  return file.ok ? loadTiny(file.value, options) : file
}
