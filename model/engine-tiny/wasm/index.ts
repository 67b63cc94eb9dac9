// Kernels of the engine `tiny`, compiled by `npm run build:wasm` into ../tiny-bytes.ts. A kernel has one argument: the address of its words of
// 32 bits, which ../kernels wrote after checking every size, so that no kernel writes outside its outputs and its scratch, or reads outside its inputs
// and tables but for up to seven elements behind one, which come into no result. Addresses among the words are absolute.

export { batchMatmul } from './batch-matmul'
export { binary } from './binary'
export { binaryWide } from './binary-wide'
export { copyBlocks, gatherBlocks, gatherPlaces, lookUpBytes } from './blocks'
export { castElements, cumulativeSum, selectElements } from './cast'
export { conv2d, sumRows, sumTiles } from './conv'
export { convWide, transposeConvFloat } from './conv-wide'
export { copyBytes, copyStrided, fillBytes, fillElements } from './copy'
export { depthwiseConv2d, sumPlaces } from './depthwise'
export {
  clampElements,
  dequantizeElements,
  leakyRelu16,
  logistic,
  quantizeElements,
  requantizeElements,
  sigmoid16,
} from './elementwise'
export { argMax, l2Normalization, maxElements } from './extremes'
export { l2NormalizationFloat, logSoftmaxFloat, mapFloats, reduceFloats, softmaxFloat } from './float-functions'
export { fullyConnected } from './fully-connected'
export { lstm } from './lstm'
export { lstmFloat } from './lstm-float'
export { copyPlaced, mirrorPad } from './place'
export { pool2d } from './pool'
export { poolWide } from './pool-wide'
export { prelu, preluFloat } from './prelu'
export { sumElements } from './reduce'
export { resizeBilinear } from './resize-bilinear'
export { softmax } from './softmax'
export { softmax16 } from './softmax-16'
export { svdf, svdfFloat } from './svdf'
export { finishTiles } from './tiles'
export { transposeConv, transposeConv16 } from './transpose-conv'
