import { prepareAdd, prepareMaximum, prepareMinimum, prepareMul, prepareSub } from './kernels/binary.ts'
import { prepareHardSwish, prepareLeakyRelu, prepareTanh } from './kernels/byte-functions.ts'
import { prepareConv2d, prepareDepthwiseConv2d } from './kernels/convolution.ts'
import {
  prepareDequantize,
  prepareLogistic,
  prepareQuantize,
  prepareRelu,
  prepareRelu6,
} from './kernels/elementwise.ts'
import { prepareFullyConnected } from './kernels/fully-connected.ts'
import { prepareLstm } from './kernels/lstm.ts'
import { prepareMean, prepareSum } from './kernels/mean.ts'
import {
  prepareConcatenation,
  preparePad,
  prepareReshape,
  prepareSplit,
  prepareSplitV,
  prepareStridedSlice,
} from './kernels/moving.ts'
import { prepareAveragePool2d, prepareMaxPool2d } from './kernels/pooling.ts'
import { preparePrelu } from './kernels/prelu.ts'
import {
  prepareGather,
  prepareGatherNd,
  preparePack,
  prepareResizeNearestNeighbor,
  prepareSlice,
  prepareTranspose,
  prepareUnpack,
} from './kernels/rearranging.ts'
import { prepareArgMax, prepareL2Normalization, prepareReduceMax } from './kernels/reducing.ts'
import { prepareSoftmax } from './kernels/softmax.ts'
import { prepareSvdf } from './kernels/svdf.ts'
import { prepareTransposeConv } from './kernels/transpose-conv.ts'
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
  [11, prepareL2Normalization],
  [27, prepareSvdf],
  [28, prepareTanh],
  [36, prepareGather],
  [107, prepareGatherNd],
  [39, prepareTranspose],
  [54, preparePrelu],
  [56, prepareArgMax],
  [65, prepareSlice],
  [67, prepareTransposeConv],
  [74, prepareSum],
  [82, prepareReduceMax],
  [83, preparePack],
  [88, prepareUnpack],
  [97, prepareResizeNearestNeighbor],
  [98, prepareLeakyRelu],
  // UNIDIRECTIONAL_SEQUENCE_LSTM.
  [44, prepareLstm],
  [117, prepareHardSwish],
])
