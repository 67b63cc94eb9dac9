export interface OnnxLimits {
  readonly modelBytes: number
  readonly nodes: number
  readonly tensors: number
  readonly attributes: number
  readonly values: number
  readonly nodePorts: number
  readonly graphPorts: number
  readonly dims: number
  readonly dimension: number
  readonly elements: number
  readonly nameBytes: number
  readonly attributeList: number
  readonly varintElements: number
  readonly decodedNumbers: number
  readonly graphDepth: number
  readonly opsetImports: number
}

/** Bounds of the ONNX reader, held before anything is allocated: the bytes are hostile until their signature is verified.
 *  They are limits of the parser, not of a device; what fits a board is the arena planner's question.
 */
export const ONNX_LIMITS: OnnxLimits = {
  /** chosen: eight times the largest public model tried (silero-vad, 2.3 MB) and larger than any bundle may be. */
  modelBytes: 32 * 1024 * 1024,
  /** chosen: measured 40 nodes (DS-CNN in QDQ form) to 689 (silero-vad with its subgraphs). */
  nodes: 8_192,
  /** chosen: initializers and tensor attributes together, all subgraphs included. */
  tensors: 16_384,
  /** chosen: all nodes together; a node has rarely more than six. */
  attributes: 65_536,
  /** chosen: values that nodes compute, one buffer each at most; the planner's time grows with their square (a second here). */
  values: 16_384,
  /** chosen: inputs or outputs of one node; Concat of a wide network is the longest. */
  nodePorts: 1_024,
  /** chosen: inputs or outputs of a graph. */
  graphPorts: 256,
  /** chosen: 5-D convolution is the deepest in use; three to spare. */
  dims: 8,
  /** spec: TFLite's and CMSIS-NN's dimensions are int32; a larger one is no dimension of a device. */
  dimension: 2 ** 31 - 1,
  /** chosen: elements of one tensor, far above modelBytes but exact in arithmetic. */
  elements: 2 ** 31,
  /** chosen: tf2onnx joins the names of fused layers with semicolons; several hundred characters are common. */
  nameBytes: 4_096,
  /** chosen: numbers in one list attribute. */
  attributeList: 65_536,
  /** chosen: elements stored as varints in one tensor; exporters write larger ones as raw bytes, and each costs 32 bytes here. */
  varintElements: 1_048_576,
  /** chosen: numbers of all lists and varint tensors together; a bundle of 4 MiB cannot hold more. Each takes a byte or more in the
   *  file, up to 32 here, and half a microsecond. */
  decodedNumbers: 4_194_304,
  /** chosen: measured 5 in silero-vad (If inside If); bounds the recursion of the reader. */
  graphDepth: 12,
  /** chosen: standard domain, com.microsoft and a few converters' own. */
  opsetImports: 64,
}

/** Bounds for tensor maps, which are made where patches are made and from other people's files too: no device holds these. Time and
 *  memory stay linear in the file. */
export const ONNX_MAP_LIMITS: OnnxLimits = {
  ...ONNX_LIMITS,
  /** chosen: the bound of TFLite files too (TFLITE_LIMITS). */
  modelBytes: 64 * 1024 * 1024,
  /** chosen: eight times as many as a device; networks unrolled in time have tens of thousands. */
  nodes: 65_536,
  tensors: 131_072,
  attributes: 524_288,
  /** chosen: a loop that carries the state of every layer. */
  nodePorts: 16_384,
  graphPorts: 16_384,
  /** chosen: deeper than any runtime computes; they are only carried. */
  dims: 32,
  /** spec: ONNX's dimensions are int64; exact in a double. */
  dimension: Number.MAX_SAFE_INTEGER,
  elements: Number.MAX_SAFE_INTEGER,
  nameBytes: 65_536,
  /** chosen: as deep as protobuf's own readers recurse (100 messages; each graph in a graph takes three). */
  graphDepth: 32,
}
