import { type ContractError, contractError, ERROR_CODES, type ErrorCode } from './errors.ts'

/** Media type of the body that tells of a failure over HTTP. @see RFC 9457 */
export const PROBLEM_TYPE = 'application/problem+json'

/** Problem details; `code` is an extension member, the code of the contract. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: ErrorCode
  readonly detail: string
}

const STATUS: Partial<Record<ErrorCode, number>> = {
  malformed: 400,
  'invalid-request': 400,
  'unknown-schema-version': 400,
  'unknown-field': 400,
  'token-expired': 401,
  'token-invalid': 401,
  'gateway-unknown': 401,
  'gateway-revoked': 401,
  'claim-invalid': 403,
  'foreign-gateway': 403,
  'foreign-site': 403,
  'device-revoked': 403,
  'not-authorized': 403,
  'not-found': 404,
  'artifact-not-found': 404,
  'target-unknown': 404,
  conflict: 409,
  'claim-used': 409,
  'claim-expired': 410,
  'precondition-failed': 412,
  'too-large': 413,
  'rate-limited': 429,
  internal: 500,
  unavailable: 503,
}

/** HTTP status of a code, where the request is what it is about; codes not named above say that the content was understood and refused. */
export const statusOf = (code: ErrorCode): number => STATUS[code] ?? 422

/** @param status where the code alone does not say it (405, 416, 502) */
export const problemOf = ({ code, detail }: ContractError, status = statusOf(code)): Problem => ({
  type: `urn:kinglet:error:${code}`,
  title: code,
  status,
  code,
  detail,
})

/** chosen: a sentence; whoever answers may be no cloud of ours */
const DETAIL_CHARS_MAX = 200

/** What a body says that came with a status of failure.
 *  @param body parsed JSON, or undefined when it was none
 *  @returns undefined when it has no code of the contract: a proxy's page, perhaps */
export function readProblem(body: unknown): ContractError | undefined {
  const { code, detail } = (body ?? {}) as { code?: unknown; detail?: unknown }
  if (!ERROR_CODES.includes(code as ErrorCode)) return undefined
  return contractError(code as ErrorCode, typeof detail === 'string' ? detail.slice(0, DETAIL_CHARS_MAX) : String(code))
}
