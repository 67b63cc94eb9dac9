import { catching, ModelFault } from '../model-fault.ts'
import type { TfliteErrorCode } from './tflite-types.ts'

/** How the reader of TFLite gives up. */
export class TfliteFault extends ModelFault<TfliteErrorCode> {}

export const catchTfliteFault = catching(TfliteFault)
