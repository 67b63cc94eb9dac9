import { SimdModule } from '../web-assembly.ts'
import { TINY_BASE64 } from './tiny-bytes.ts'

/** The kernels of `wasm/index.ts`, by their exports. */
export type KernelName =
  | 'argMax'
  | 'batchMatmul'
  | 'binary'
  | 'binaryWide'
  | 'castElements'
  | 'clampElements'
  | 'conv2d'
  | 'convWide'
  | 'copyBlocks'
  | 'copyBytes'
  | 'copyPlaced'
  | 'copyStrided'
  | 'cumulativeSum'
  | 'depthwiseConv2d'
  | 'dequantizeElements'
  | 'fillBytes'
  | 'fillElements'
  | 'fullyConnected'
  | 'gatherBlocks'
  | 'gatherPlaces'
  | 'l2Normalization'
  | 'l2NormalizationFloat'
  | 'leakyRelu16'
  | 'logSoftmaxFloat'
  | 'logistic'
  | 'lookUpBytes'
  | 'lstm'
  | 'lstmFloat'
  | 'mapFloats'
  | 'maxElements'
  | 'mirrorPad'
  | 'pool2d'
  | 'poolWide'
  | 'prelu'
  | 'preluFloat'
  | 'quantizeElements'
  | 'reduceFloats'
  | 'requantizeElements'
  | 'resizeBilinear'
  | 'selectElements'
  | 'sigmoid16'
  | 'softmax'
  | 'softmax16'
  | 'softmaxFloat'
  | 'sumElements'
  | 'svdf'
  | 'svdfFloat'
  | 'transposeConv'
  | 'transposeConv16'
  | 'transposeConvFloat'

export interface TinyWasm {
  readonly memory: ArrayBuffer
  /** Each runs on the words at an address. */
  readonly kernels: Readonly<Record<KernelName, (words: number) => void>>
}

const TINY = new SimdModule(TINY_BASE64, 'the engine "tiny"')

/** @param memoryBytes size of its memory, which never grows
 *  @throws Error when the platform has no WebAssembly SIMD */
export function tinyWasm(memoryBytes: number): TinyWasm {
  const { memory, exports } = TINY.instance(memoryBytes)
  return { memory, kernels: exports as TinyWasm['kernels'] }
}
