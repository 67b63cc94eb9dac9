import { prepareBatchMatmul } from './kernels/batch-matmul.ts'
import {
  FLOOR_QUOTIENT,
  FLOOR_REMAINDER,
  flooredQuotient,
  logical,
  prepareAdd,
  prepareAddN,
  prepareDiv,
  prepareMaximum,
  prepareMinimum,
  prepareMul,
  prepareSquaredDifference,
  prepareSub,
  RELATIONS,
  relation,
} from './kernels/binary.ts'
import { prepareAbs, prepareElu, prepareHardSwish, prepareLeakyRelu, prepareTanh } from './kernels/byte-functions.ts'
import { prepareCast, prepareLogicalNot, prepareSelect } from './kernels/choosing.ts'
import { prepareConv2d, prepareDepthwiseConv2d } from './kernels/convolution.ts'
import {
  FLOAT_FUNCTIONS,
  floatFunction,
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
import { prepareDynamicUpdateSlice, prepareMirrorPad } from './kernels/placing.ts'
import { prepareAveragePool2d, prepareL2Pool2d, prepareMaxPool2d } from './kernels/pooling.ts'
import { preparePrelu } from './kernels/prelu.ts'
import {
  prepareGather,
  prepareGatherNd,
  preparePack,
  prepareSlice,
  prepareTranspose,
  prepareUnpack,
} from './kernels/rearranging.ts'
import {
  prepareArgMax,
  prepareArgMin,
  prepareL2Normalization,
  prepareReduceMax,
  prepareReduceMin,
} from './kernels/reducing.ts'
import { prepareResizeBilinear, prepareResizeNearestNeighbor } from './kernels/resizing.ts'
import { prepareLogSoftmax, prepareSoftmax } from './kernels/softmax.ts'
import {
  prepareBatchToSpaceNd,
  prepareBroadcastTo,
  prepareCumsum,
  prepareDepthToSpace,
  prepareFill,
  prepareReverse,
  prepareShape,
  prepareSpaceToBatchNd,
  prepareSpaceToDepth,
  prepareZerosLike,
} from './kernels/spacing.ts'
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
  [5, prepareDepthToSpace],
  [8, floatFunction(FLOAT_FUNCTIONS.floor)],
  [12, prepareL2Pool2d],
  // RELU_N1_TO_1.
  [20, floatFunction(FLOAT_FUNCTIONS.reluOne)],
  [23, prepareResizeBilinear],
  [26, prepareSpaceToDepth],
  [37, prepareBatchToSpaceNd],
  [38, prepareSpaceToBatchNd],
  [42, prepareDiv],
  [47, floatFunction(FLOAT_FUNCTIONS.exponential)],
  [50, prepareLogSoftmax],
  [53, prepareCast],
  [58, relation(RELATIONS.below)],
  [59, floatFunction(FLOAT_FUNCTIONS.negative)],
  [61, relation(RELATIONS.above)],
  [62, relation(RELATIONS.notBelow)],
  [63, relation(RELATIONS.notAbove)],
  [71, relation(RELATIONS.equal)],
  [72, relation(RELATIONS.unequal)],
  [73, floatFunction(FLOAT_FUNCTIONS.logarithm)],
  [75, floatFunction(FLOAT_FUNCTIONS.root)],
  [76, floatFunction(FLOAT_FUNCTIONS.inverseRoot)],
  [77, prepareShape],
  [79, prepareArgMin],
  [84, logical(RELATIONS.any)],
  [86, logical(RELATIONS.both)],
  [87, prepareLogicalNot],
  [89, prepareReduceMin],
  [90, flooredQuotient(FLOOR_QUOTIENT)],
  [92, floatFunction(FLOAT_FUNCTIONS.square)],
  [93, prepareZerosLike],
  [94, prepareFill],
  [95, flooredQuotient(FLOOR_REMAINDER)],
  [99, prepareSquaredDifference],
  [100, prepareMirrorPad],
  [101, prepareAbs],
  [104, floatFunction(FLOAT_FUNCTIONS.ceiling)],
  [105, prepareReverse],
  [106, prepareAddN],
  [111, prepareElu],
  [116, floatFunction(FLOAT_FUNCTIONS.round)],
  // SELECT_V2.
  [123, prepareSelect],
  [126, prepareBatchMatmul],
  [128, prepareCumsum],
  [130, prepareBroadcastTo],
  [151, prepareDynamicUpdateSlice],
])
