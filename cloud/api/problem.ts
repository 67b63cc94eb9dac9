import type { Context } from 'hono'
import { type ContractError, contractError, type ErrorCode } from '../../contract/errors.ts'

/** A failure that a handler or middleware answers with. Thrown only inside the HTTP layer, where hono unwinds to onError. */
export class ProblemError extends Error {
  readonly problem: ContractError
  readonly headers: Record<string, string>
  constructor(problem: ContractError, headers: Record<string, string> = {}) {
    super(`${problem.code}: ${problem.detail}`)
    this.name = 'ProblemError'
    this.problem = problem
    this.headers = headers
  }
}

export const fail = (code: ErrorCode, detail: string, headers?: Record<string, string>): never => {
  throw new ProblemError(contractError(code, detail), headers)
}

/** Unwraps a result; its error becomes the response. */
export function unwrap<T>(result: { ok: true; value: T } | { ok: false; error: ContractError }): T {
  if (!result.ok) throw new ProblemError(result.error)
  return result.value
}

/** Query value as an integer within bounds, or the fallback when absent. */
export function integerQuery(c: Context, name: string, fallback: number, min: number, max: number): number {
  const text = c.req.query(name)
  if (text === undefined) return fallback
  const value = Number(text)
  if (!Number.isInteger(value) || value < min || value > max) {
    return fail('invalid-request', `"${name}" must be an integer from ${min} to ${max}`)
  }
  return value
}
