import { type ContractError, contractError, type ErrorCode } from '../../contract/errors.ts'
import { readProblem } from '../../contract/problem.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { CLOUD_TIME_HEADER } from '../../contract/uplink.ts'
import { readBounded } from '../../platform/bounded-body.ts'

/** A failed request: `unavailable` is worth a retry, the others are the cloud's answer. */
export interface CloudError extends ContractError {
  /** HTTP status; undefined when there was no answer */
  readonly status: number | undefined
}

/** Timeouts are of sockets, hence in real time whatever clock the process runs on. Chosen: the feed waits up to 25 s. */
const TIMEOUT_MS = 40_000
/** chosen: a problem+json body */
const ERROR_BYTES_MAX = 4_096

const failure = (code: ErrorCode, detail: string, status?: number): { ok: false; error: CloudError } =>
  err({ ...contractError(code, detail), status })

/** HTTP towards the cloud: bounded bodies, a bearer token, failures as values. */
export class CloudClient {
  readonly #baseUrl: string
  readonly #serviceToken: string
  readonly #closing = new AbortController()
  readonly #toldTime: (cloudMs: number) => void

  /** @param toldTime told the cloud's time, Unix ms, with each of its answers that says it */
  constructor(baseUrl: string, serviceToken: string, toldTime: (cloudMs: number) => void = () => undefined) {
    this.#baseUrl = baseUrl.replace(/\/+$/, '')
    this.#serviceToken = serviceToken
    this.#toldTime = toldTime
  }

  getJson(path: string, bytesMax: number): Promise<Result<unknown, CloudError>> {
    return this.#json(path, bytesMax)
  }

  /** Sends a document that is JSON already; what the cloud says beside "taken" is of no interest. */
  async postJson(path: string, body: Uint8Array): Promise<Result<void, CloudError>> {
    const answer = await this.#request('POST', path, body)
    if (!answer.ok) return answer
    // Read to the end so that the connection can be used again.
    await readBounded(answer.value.body, ERROR_BYTES_MAX).catch(() => undefined)
    return ok(undefined)
  }

  /** Carries a request of somebody else to the cloud and brings back what it says, whether it likes it or not. */
  async relay(
    path: string,
    body: Uint8Array,
    bytesMax: number,
  ): Promise<Result<{ readonly status: number; readonly type: string; readonly body: Buffer }, CloudError>> {
    try {
      const response = await fetch(this.#baseUrl + path, {
        method: 'POST',
        headers: { authorization: `Bearer ${this.#serviceToken}`, 'content-type': 'application/json' },
        body: Buffer.from(body),
        redirect: 'error',
        signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(TIMEOUT_MS)]),
      })
      const { status, headers } = response
      const content = await readBounded(response.body, bytesMax)
      if (content === undefined) return failure('too-large', `answer of more than ${bytesMax} bytes`, status)
      return ok({ status, type: headers.get('content-type') ?? 'application/octet-stream', body: content })
    } catch (cause) {
      return failure('unavailable', messageOf(cause))
    }
  }

  /** The body as it arrives, in chunks; the caller bounds it. Throws when the connection breaks underway. */
  async stream(path: string): Promise<Result<AsyncIterable<Uint8Array>, CloudError>> {
    const answer = await this.#request('GET', path, undefined)
    if (!answer.ok) return answer
    const { body } = answer.value
    return body === null ? failure('unavailable', 'empty body', answer.value.status) : ok(body)
  }

  /** Aborts what is under way; later requests fail with `unavailable`. */
  close(): void {
    this.#closing.abort()
  }

  async #json(path: string, bytesMax: number): Promise<Result<unknown, CloudError>> {
    const answer = await this.#request('GET', path, undefined)
    if (!answer.ok) return answer
    const { status } = answer.value
    try {
      const bytes = await readBounded(answer.value.body, bytesMax)
      if (bytes === undefined) return failure('too-large', `answer of more than ${bytesMax} bytes`, status)
      return ok(bytes.length === 0 ? undefined : (JSON.parse(bytes.toString('utf8')) as unknown))
    } catch (cause) {
      return failure('unavailable', messageOf(cause), status)
    }
  }

  async #request(method: string, path: string, body: Uint8Array | undefined): Promise<Result<Response, CloudError>> {
    try {
      const response = await fetch(this.#baseUrl + path, {
        method,
        headers: {
          authorization: `Bearer ${this.#serviceToken}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body }),
        redirect: 'error',
        signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(TIMEOUT_MS)]),
      })
      const time = response.headers.get(CLOUD_TIME_HEADER)
      if (time !== null && /^\d{1,15}$/.test(time)) this.#toldTime(Number(time))
      if (response.ok) return ok(response)
      const problem = await readBounded(response.body, ERROR_BYTES_MAX).catch(() => undefined)
      const { status } = response
      return failure(codeOf(problem, status), `${method} ${path.split('?')[0]}: HTTP ${status}`, status)
    } catch (cause) {
      return failure('unavailable', messageOf(cause))
    }
  }
}

/** The code of problem+json, else what the status says. */
function codeOf(body: Buffer | undefined, status: number): ErrorCode {
  const problem = readProblem(parseJson(body))
  if (problem !== undefined) return problem.code
  if (status === 404) return 'not-found'
  if (status === 401 || status === 403) return 'not-authorized'
  if (status === 429) return 'rate-limited'
  return status >= 500 ? 'unavailable' : 'invalid-request'
}

function parseJson(body: Buffer | undefined): unknown {
  try {
    return JSON.parse(body?.toString('utf8') ?? '')
  } catch {
    return undefined
  }
}

const messageOf = (cause: unknown): string => {
  if (!(cause instanceof Error)) return String(cause)
  return cause.cause instanceof Error ? `${cause.message}: ${cause.cause.message}` : cause.message
}
