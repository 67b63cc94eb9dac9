import { type ContractError, contractError } from '../errors.ts'

/** Thrown inside a decoder and caught where it was called. */
export class PatchFault {
  readonly error: ContractError
  constructor(error: ContractError) {
    this.error = error
  }
}

export const malformed: (what: string) => never = (what) => {
  throw new PatchFault(contractError('patch-malformed', what))
}
