import { err, ok, type Result } from '../contract/result.ts'

/** What the readers of model files say when they give up: a code, and one sentence for people. */
export interface ModelFileError<Code extends string> {
  readonly code: Code
  readonly detail: string
}

/** How a reader of model files gives up deep inside nested calls; each format has a class of its own. It never leaves `model/`:
 *  `catching` turns it into a value at the public functions, and everything else that is thrown is a bug and stays one. */
export class ModelFault<Code extends string> extends Error {
  readonly code: Code

  constructor(code: Code, detail: string) {
    super(detail)
    this.code = code
  }
}

/** @returns a function that runs a body and returns its value, or as an error the fault of this class that it threw */
export const catching =
  <Code extends string>(kind: new (code: Code, detail: string) => ModelFault<Code>) =>
  <T>(body: () => T): Result<T, ModelFileError<Code>> => {
    try {
      return ok(body())
    } catch (fault) {
      if (fault instanceof kind) return err({ code: fault.code, detail: fault.message })
      throw fault
    }
  }
