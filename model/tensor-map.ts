import { decodeBundle, hasBundleMagic } from '../contract/bundle.ts'
import type { ErrorCode } from '../contract/errors.ts'
import { err, ok, type Result } from '../contract/result.ts'
import type { MappedTensor } from './mapped-tensor.ts'
import type { ModelFileError } from './model-fault.ts'
import { ONNX_MAP_LIMITS } from './onnx/onnx-limits.ts'
import { readOnnx } from './onnx/onnx-reader.ts'
import { mapOnnx } from './onnx/onnx-tensor-map.ts'
import type { OnnxErrorCode } from './onnx/onnx-types.ts'
import type { TfliteErrorCode } from './tflite/tflite-fault.ts'
import { hasTfliteIdentifier, readTflite } from './tflite/tflite-reader.ts'
import { mapTflite } from './tflite/tflite-tensor-map.ts'

export interface TensorMap {
  readonly format: 'onnx' | 'tflite' | 'bundle'
  /** By offset; no two overlap, and all lie inside the file. */
  readonly tensors: readonly MappedTensor[]
}

/** `not-a-model`, or what is wrong with a file that looks like one. */
export type TensorMapError = ModelFileError<'not-a-model' | OnnxErrorCode | TfliteErrorCode | ErrorCode>

/** Says where the tensors of a model file lie and what they are, for encoders of patches; never throws, whatever the bytes.
 *
 *  Only tensors whose bytes lie in one piece are there, so the map need not cover the file. In a bundle the sections that are graphs
 *  are mapped; one that cannot be read as a graph is just bytes.
 *  @param bytes an ONNX or TFLite file of at most 64 MiB, or a bundle of at most LIMITS.bundleBytes; not trusted
 *  @returns the map, empty for a model without constants; or `not-a-model`, or what `readOnnx`, `readTflite` and `decodeBundle` refuse
 */
export function readTensorMap(bytes: Uint8Array): Result<TensorMap, TensorMapError> {
  return hasBundleMagic(bytes) ? bundleMap(bytes) : graphMap(bytes)
}

function bundleMap(bytes: Uint8Array): Result<TensorMap, TensorMapError> {
  const sections = decodeBundle(bytes)
  if (!sections.ok) return sections
  const tensors: MappedTensor[] = []
  // Sections lie in the order of the table, one after the other, so the tensors stay ordered.
  for (const [section, data] of sections.value) {
    const graph = graphMap(data)
    if (!graph.ok) continue
    const start = data.byteOffset - bytes.byteOffset
    for (const tensor of graph.value.tensors) {
      const range = { offset: start + tensor.range.offset, length: tensor.range.length }
      tensors.push({ ...tensor, name: `${section}/${tensor.name}`, range })
    }
  }
  return ok({ format: 'bundle', tensors })
}

/** The tag of ModelProto.ir_version, the only field that every ONNX file must have: writers put it first. */
const IR_VERSION_TAG = 0x08

function graphMap(bytes: Uint8Array): Result<TensorMap, TensorMapError> {
  const tflite = hasTfliteIdentifier(bytes) ? readTflite(bytes) : null
  if (tflite?.ok) return ok({ format: 'tflite', tensors: mapTflite(tflite.value) })
  // An ONNX file whose producer is called "TFL3" carries TFLite's identifier in TFLite's place.
  const onnx = readOnnx(bytes, { limits: ONNX_MAP_LIMITS, omits: true })
  if (onnx.ok) return ok({ format: 'onnx', tensors: mapOnnx(onnx.value) })
  if (tflite !== null) return tflite
  if (bytes[0] === IR_VERSION_TAG) return onnx
  return err({ code: 'not-a-model', detail: 'neither ONNX nor TFLite nor a Kinglet bundle' })
}
