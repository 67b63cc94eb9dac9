import { expect, it } from 'vitest'
import { contractError, ERROR_CODES } from '../../../contract/errors.ts'
import { PROBLEM_TYPE, problemOf, readProblem, statusOf } from '../../../contract/problem.ts'
import { problemResponse } from '../../../platform/problem-response.ts'

it('every code has a status of failure, and reads back from its own problem', () => {
  for (const code of ERROR_CODES) {
    expect(statusOf(code), code).toBeGreaterThanOrEqual(400)
    const error = contractError(code, 'one sentence')
    expect(readProblem(JSON.parse(JSON.stringify(problemOf(error))))).toEqual(error)
  }
})

it.each([
  [400, ['malformed', 'invalid-request', 'unknown-schema-version', 'unknown-field']],
  [401, ['token-expired', 'token-invalid']],
  [403, ['claim-invalid', 'device-revoked', 'not-authorized']],
  [404, ['not-found', 'artifact-not-found', 'target-unknown']],
  [409, ['conflict', 'claim-used']],
  [410, ['claim-expired']],
  [413, ['too-large']],
  [422, ['hash-mismatch', 'bad-signature', 'wrong-board']],
  [429, ['rate-limited']],
  [500, ['internal']],
  [503, ['unavailable']],
] as const)('%i is the status of %j, which clients decide by', (status, codes) => {
  for (const code of codes) expect(statusOf(code), code).toBe(status)
})

it('a problem says what RFC 9457 asks for, and a status of its own where the code does not tell', async () => {
  const error = contractError('invalid-request', 'no such range')
  expect(problemOf(error)).toEqual({
    ...{ type: 'urn:kinglet:error:invalid-request', title: 'invalid-request', status: 400 },
    ...{ code: 'invalid-request', detail: 'no such range' },
  })
  const response = problemResponse(error, { status: 416, headers: { 'content-range': 'bytes */5' } })
  expect([response.status, response.headers.get('content-range')]).toEqual([416, 'bytes */5'])
  expect(response.headers.get('content-type')).toBe(PROBLEM_TYPE)
  expect(await response.json()).toMatchObject({ status: 416, code: 'invalid-request' })
})

it.each([[undefined], [null], ['text'], [[]], [{}], [{ code: 7 }], [{ code: 'no-such-code', detail: 'x' }]])(
  '%j is no problem of ours',
  (body) => expect(readProblem(body)).toBeUndefined(),
)

it('a detail of somebody else is bounded, or the code when there is none', () => {
  expect(readProblem({ code: 'conflict', detail: 'x'.repeat(10_000) })?.detail).toHaveLength(200)
  expect(readProblem({ code: 'conflict', detail: 7 })).toEqual(contractError('conflict', 'conflict'))
})
