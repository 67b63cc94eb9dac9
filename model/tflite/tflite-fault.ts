import { catching, ModelFault, type ModelFileError } from '../model-fault.ts'

export type TfliteErrorCode =
  /** Not a well-formed FlatBuffer of the schema: offsets out of the file, indices that lead nowhere. */
  | 'tflite-malformed'
  /** Larger than a bound of TFLITE_LIMITS. */
  | 'tflite-too-large'
  /** Another schema version than 3. */
  | 'tflite-unknown-version'
  /** Tensors that are read before they are made, made twice, or made though they are constants: no schedule runs it. */
  | 'tflite-bad-graph'
  /** A dimension that only the run fixes. */
  | 'tflite-dynamic-shape'
  /** Shapes that contradict the operator, or data that contradict the shape. */
  | 'tflite-shape-mismatch'
  /** Control flow, whose memory depends on the data. */
  | 'tflite-unsupported-op'
  /** An activation whose elements have no fixed width. */
  | 'tflite-unsupported-type'

export type TfliteError = ModelFileError<TfliteErrorCode>

/** How reader and planner of TFLite give up. */
export class TfliteFault extends ModelFault<TfliteErrorCode> {}

export const catchTfliteFault = catching(TfliteFault)
