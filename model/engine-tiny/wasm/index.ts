// Kernels of the engine `tiny`, compiled by `npm run build:wasm` into ../tiny-bytes.ts. A kernel has one argument: the address of its words of
// 32 bits, which ../kernels wrote after checking every size, so that no kernel reads outside its inputs or writes outside its outputs
// and its scratch. Addresses among the words are absolute.

export { binary } from './binary'
export { copyBlocks, lookUpBytes } from './blocks'
export { conv2d, finish, sumRows, sumWidened } from './conv'
export { copyBytes, copyStrided, fillBytes } from './copy'
export { convolvePlace, depthwiseConv2d } from './depthwise'
export { clampElements, dequantizeElements, logistic, quantizeElements, requantizeElements } from './elementwise'
export { argMax, l2Normalization, maxElements } from './extremes'
export { softmaxFloat } from './float-functions'
export { fullyConnected } from './fully-connected'
export { pool2d } from './pool'
export { prelu } from './prelu'
export { sumElements } from './reduce'
export { softmax } from './softmax'
export { svdf } from './svdf'
export { transposeConv } from './transpose-conv'
