import type { ContractError } from '../contract/errors.ts'
import { PROBLEM_TYPE, problemOf } from '../contract/problem.ts'

/** Answers a request with problem details.
 *  @param more status: see problemOf */
export function problemResponse(
  error: ContractError,
  more: { readonly status?: number; readonly headers?: Readonly<Record<string, string>> } = {},
): Response {
  const problem = problemOf(error, more.status)
  const headers = { 'content-type': PROBLEM_TYPE, ...more.headers }
  return new Response(JSON.stringify(problem), { status: problem.status, headers })
}
