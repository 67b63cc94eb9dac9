const MIB = 1024 * 1024

/** Bounds of the TFLite reader, held before anything is allocated: the bytes are hostile until their signature is verified.
 *  FlatBuffers may share parts, so a bound on the file bounds neither work nor memory; `readBytes` and `readFactor` do.
 */
export const TFLITE_LIMITS = {
  /** chosen: ten times the larger public models for microcontrollers and edge accelerators (a few MB). */
  modelBytes: 64 * MIB,
  /** chosen: one in most files; control flow and signatures add a few each. */
  subgraphs: 1_024,
  /** chosen: all subgraphs together; measured 35 (keyword spotting) to 106 (a streaming wake word). */
  tensors: 65_536,
  /** chosen: all subgraphs together. */
  operators: 65_536,
  /** chosen: one a tensor, and some for metadata. */
  buffers: 131_072,
  /** chosen: converters write two or three. */
  metadata: 1_024,
  /** spec: the schema knows about 210 operators; versions and custom ones multiply them. */
  operatorCodes: 4_096,
  /** chosen: inputs or outputs of one operator; a wide concatenation is the longest. */
  operatorPorts: 4_096,
  /** chosen: TFLite kernels go to 8; more is only carried. */
  dims: 32,
  /** chosen: the converter joins the names of fused layers with semicolons; several hundred characters are common. */
  nameBytes: 16_384,
  /** chosen: activations and scratch of one plan, whose time grows with their square (a second here, as for ONNX). */
  plannedBuffers: 16_384,
  /** spec: a size is an int32 in TensorFlow Lite Micro; far above modelBytes, and sums of it are exact. */
  elements: 2 ** 31,
  /** chosen: bytes of names, lists and tables that one reading may visit; tensor data is not visited. A model of 64 MiB has about one. */
  readBytes: 32 * MIB,
  /** chosen: and at most so many times the file; what shares nothing needs 2.5 at the very most (nothing but empty buffers). */
  readFactor: 4,
  /** chosen: cost of visiting one table, in bytes of `readBytes`. */
  tableBytes: 16,
} as const
