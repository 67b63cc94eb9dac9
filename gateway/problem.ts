import type { ServerResponse } from 'node:http'
import type { ErrorCode } from '../contract/errors.ts'

/** HTTP status of what a gateway refuses; codes not named here are its own failure. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  'invalid-request': 400,
  'token-invalid': 401,
  'token-expired': 401,
  'not-authorized': 403,
  'device-revoked': 403,
  'not-found': 404,
  'artifact-not-found': 404,
  'rate-limited': 429,
  'hash-mismatch': 502,
  'too-large': 502,
  unavailable: 503,
}

/** Answers with RFC 9457 problem details. */
export function problem(
  response: ServerResponse,
  code: ErrorCode,
  detail: string,
  more: { readonly status?: number; readonly headers?: Readonly<Record<string, string>> } = {},
): void {
  const status = more.status ?? STATUS[code] ?? 500
  response
    .writeHead(status, { 'content-type': 'application/problem+json', ...more.headers })
    .end(JSON.stringify({ status, code, title: code, detail }))
}
