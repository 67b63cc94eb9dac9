import { prepareAdd, prepareMaximum, prepareMinimum, prepareMul, prepareSub } from './kernels/binary.ts'
import { prepareConv2d, prepareDepthwiseConv2d } from './kernels/convolution.ts'
import {
  prepareDequantize,
  prepareLogistic,
  prepareQuantize,
  prepareRelu,
  prepareRelu6,
} from './kernels/elementwise.ts'
import { prepareFullyConnected } from './kernels/fully-connected.ts'
import { prepareMean } from './kernels/mean.ts'
import {
  prepareConcatenation,
  preparePad,
  prepareReshape,
  prepareSplit,
  prepareSplitV,
  prepareStridedSlice,
} from './kernels/moving.ts'
import { prepareAveragePool2d, prepareMaxPool2d } from './kernels/pooling.ts'
import { prepareSoftmax } from './kernels/softmax.ts'
import type { NodeContext, Prepared } from './node-context.ts'

/** By BuiltinOperator code of schema.fbs, version 3c; operators on resources are in `graph.ts`, for they are resolved at load. */
export const TINY_OPERATORS: ReadonlyMap<number, (node: NodeContext) => Prepared> = new Map([
  [0, prepareAdd],
  [1, prepareAveragePool2d],
  [2, prepareConcatenation],
  [3, prepareConv2d],
  [4, prepareDepthwiseConv2d],
  [6, prepareDequantize],
  [9, prepareFullyConnected],
  [14, prepareLogistic],
  [17, prepareMaxPool2d],
  [18, prepareMul],
  [19, prepareRelu],
  [21, prepareRelu6],
  // RESHAPE, SQUEEZE and EXPAND_DIMS.
  [22, prepareReshape],
  [43, prepareReshape],
  [70, prepareReshape],
  [25, prepareSoftmax],
  // PAD and PADV2.
  [34, preparePad],
  [60, preparePad],
  [40, prepareMean],
  [41, prepareSub],
  [45, prepareStridedSlice],
  [49, prepareSplit],
  [55, prepareMaximum],
  [57, prepareMinimum],
  [102, prepareSplitV],
  [114, prepareQuantize],
])
