import type { Context } from 'hono'
import { type ContractError, contractError, type ErrorCode } from '../../contract/errors.ts'

/** HTTP status of an error code; codes not named here say that the content was understood and refused. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  malformed: 400,
  'invalid-request': 400,
  'unknown-schema-version': 400,
  'unknown-field': 400,
  'token-expired': 401,
  'token-invalid': 401,
  'claim-invalid': 403,
  'device-revoked': 403,
  'not-authorized': 403,
  'not-found': 404,
  'artifact-not-found': 404,
  'target-unknown': 404,
  conflict: 409,
  'claim-used': 409,
  'claim-expired': 410,
  'too-large': 413,
  'rate-limited': 429,
  internal: 500,
  unavailable: 503,
}

const statusOf = (code: ErrorCode): number => STATUS[code] ?? 422

/** RFC 9457 problem details; `code` is the contract's. */
export function problemResponse(error: ContractError, headers: Record<string, string> = {}): Response {
  const status = statusOf(error.code)
  const body = {
    type: `urn:kinglet:error:${error.code}`,
    title: error.code,
    status,
    code: error.code,
    detail: error.detail,
  }
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/problem+json', ...headers },
  })
}

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
