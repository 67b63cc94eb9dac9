import { prepareHardSwish, prepareLeakyRelu, prepareTanh } from './kernels/byte-functions.ts'
import { prepareFullyConnected } from './kernels/fully-connected.ts'
import {
  prepareGather,
  preparePack,
  prepareResizeNearestNeighbor,
  prepareSlice,
  prepareTranspose,
  prepareUnpack,
} from './kernels/moving.ts'
import { preparePrelu } from './kernels/prelu.ts'
import { prepareArgMax, prepareL2Normalization, prepareReduceMax, prepareSum } from './kernels/reducing.ts'
import { prepareSvdf } from './kernels/svdf.ts'
import { prepareTransposeConv } from './kernels/transpose-conv.ts'
import type { NodeContext, Prepared } from './node-context.ts'

/** An operator of this engine. */
export interface TinyOperator {
  /** BuiltinOperator of the schema, as people know it. */
  readonly name: string
  readonly prepare: (node: NodeContext) => Prepared
}

/** By BuiltinOperator code of schema.fbs, version 3c; operators on resources are in `graph.ts`, for they are resolved at load. */
export const TINY_OPERATORS: ReadonlyMap<number, TinyOperator> = new Map([
  [9, { name: 'FULLY_CONNECTED', prepare: prepareFullyConnected }],
  [11, { name: 'L2_NORMALIZATION', prepare: prepareL2Normalization }],
  [27, { name: 'SVDF', prepare: prepareSvdf }],
  [28, { name: 'TANH', prepare: prepareTanh }],
  [36, { name: 'GATHER', prepare: prepareGather }],
  [39, { name: 'TRANSPOSE', prepare: prepareTranspose }],
  [54, { name: 'PRELU', prepare: preparePrelu }],
  [56, { name: 'ARG_MAX', prepare: prepareArgMax }],
  [65, { name: 'SLICE', prepare: prepareSlice }],
  [67, { name: 'TRANSPOSE_CONV', prepare: prepareTransposeConv }],
  [74, { name: 'SUM', prepare: prepareSum }],
  [82, { name: 'REDUCE_MAX', prepare: prepareReduceMax }],
  [83, { name: 'PACK', prepare: preparePack }],
  [88, { name: 'UNPACK', prepare: prepareUnpack }],
  [97, { name: 'RESIZE_NEAREST_NEIGHBOR', prepare: prepareResizeNearestNeighbor }],
  [98, { name: 'LEAKY_RELU', prepare: prepareLeakyRelu }],
  [117, { name: 'HARD_SWISH', prepare: prepareHardSwish }],
])
