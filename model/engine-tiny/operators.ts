import { prepareFullyConnected } from './kernels/fully-connected.ts'
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
])
