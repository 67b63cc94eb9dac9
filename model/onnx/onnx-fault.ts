import { catching, ModelFault } from '../model-fault.ts'
import type { OnnxErrorCode } from './onnx-types.ts'

/** How reader and shape inference of ONNX give up. */
export class OnnxFault extends ModelFault<OnnxErrorCode> {}

export const catchFault = catching(OnnxFault)
