const MIB = 1024 * 1024

/** Bounds of the engine `tiny`, held before memory is taken: a graph is hostile until its signature is verified. */
export const TINY_LIMITS = {
  /** chosen: a tensor of an image of 1024 × 1024 and 16 channels; what this engine is for has a hundredth. */
  tensorBytes: 16 * MIB,
  /** chosen: activations at the same time. */
  arenaBytes: 32 * MIB,
  /** chosen: variables kept from run to run; streaming wake words measure a few KB. */
  stateBytes: 4 * MIB,
  /** chosen: parameters, multipliers, tables: 12 bytes a channel of a convolution. */
  recordBytes: 16 * MIB,
  /** chosen: operations of one node; MobileNetV1 of 224 × 224 has 569 million multiply-accumulates in all its nodes. */
  work: 2 ** 32,
  /** chosen: indices of a GATHER, places of a RESIZE; a table of 256 KiB. */
  tableEntries: 65_536,
  /** spec: TensorFlow Lite's kernels go to six dimensions, and pad, slice and transpose no further than five. */
  dims: 6,
} as const

/** What goes in front of everything in the memory: the words that all kernels share, and room for the address 0 to mean "none". */
export const GLOBAL_BYTES = 64
/** Where kernels find the address of their scratch. */
export const SCRATCH_WORD = 16
/** Where they find constants that a compiler would make anew in a loop, and these: 1.5 · 2^23 as float32, the sign and the exponent of a float32. */
export const CONSTANTS_WORD = 20
export const CONSTANTS: readonly number[] = [0x4b400000, 0x80000000, 0x7f800000]
/** spec: alignment of buffers in an arena, TFLite Micro's. */
export const ALIGNMENT_BYTES = 16

export const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES
