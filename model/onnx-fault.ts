import { err, ok, type Result } from '../contract/result.ts'
import type { OnnxError, OnnxErrorCode } from './onnx-types.ts'

/** How reader and shape inference give up deep inside nested calls. It never leaves `model/`: `catchFault` turns it into a
 *  value at the public functions, and everything else that is thrown is a bug and stays one. */
export class OnnxFault extends Error {
  readonly code: OnnxErrorCode

  constructor(code: OnnxErrorCode, detail: string) {
    super(detail)
    this.code = code
  }
}

export function catchFault<T>(body: () => T): Result<T, OnnxError> {
  try {
    return ok(body())
  } catch (fault) {
    if (fault instanceof OnnxFault) return err({ code: fault.code, detail: fault.message })
    throw fault
  }
}
