import { catching, ModelFault } from '../model-fault.ts'

export type TinyErrorCode =
  /** The file is no graph that could run anywhere: shapes that do not fit each other, tensors used before they are made, data of another size. */
  | 'tiny-malformed'
  /** The graph has an operator that this engine lacks, or one in a form it lacks. */
  | 'tiny-unsupported-operator'
  /** The engine has the operator, but not for these element types or this quantization. */
  | 'tiny-unsupported-type'
  /** More memory than a bound of TINY_LIMITS, or than the caller gives the arena. */
  | 'tiny-too-large'

/** How loading a graph gives up. */
export class TinyFault extends ModelFault<TinyErrorCode> {}

export const catchTinyFault = catching(TinyFault)
