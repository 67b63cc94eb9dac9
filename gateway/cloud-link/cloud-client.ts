import { type ContractError, contractError, type ErrorCode } from '../../contract/errors.ts'
import { readProblem } from '../../contract/problem.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { CLOUD_TIME_HEADER } from '../../contract/uplink.ts'
import { readBounded } from '../../platform/bounded-body.ts'
import { type Patience, patientFetch } from '../../platform/patient-fetch.ts'

/** A failed request: `unavailable` is worth a retry, the others are the cloud's answer. */
export interface CloudError extends ContractError {
  /** HTTP status; undefined when there was no answer */
  readonly status: number | undefined
}

/** Times are of sockets, hence in real time whatever clock the process runs on. Chosen: the feed waits up to 25 s; a connection that was just
 *  closed or a cloud that is being replaced is got over here, and what lasts longer by whoever asked. */
const PATIENCE: Patience = { attemptsMax: 3, firstPauseMs: 200, pauseMsMax: 2_000, attemptMs: 40_000, totalMs: 45_000 }
/** What may not be sent twice, and what somebody waits for. */
const ONCE: Patience = { ...PATIENCE, attemptsMax: 2, totalMs: 40_000 }
/** chosen: a problem+json body */
const ERROR_BYTES_MAX = 4_096

const failure = (code: ErrorCode, detail: string, status?: number): { ok: false; error: CloudError } =>
  err({ ...contractError(code, detail), status })

interface Listener {
  /** the cloud has answered; @param isRefused with 401: it does not take the token; undefined: it was not asked for one, and says nothing of it.
   *  @param cloudMs its time, if it said so, Unix ms */
  heard(isRefused: boolean | undefined, cloudMs: number | undefined): void
  /** a request has failed for good, without an answer */
  failed(error: CloudError): void
}

/** HTTP towards the cloud: bounded bodies, a bearer token, failures as values. */
export class CloudClient {
  readonly #baseUrl: string
  readonly #token: () => string
  readonly #chance: () => number
  readonly #listener: Listener | undefined
  readonly #closing = new AbortController()
  #refusals = 0

  /** @param token as it is, or as it is now
   *  @param chance uniform in [0, 1), for the pauses before what failed is tried again
   *  @throws when the address is none */
  constructor(baseUrl: string, token: string | (() => string), chance: () => number = () => 0.5, listener?: Listener) {
    if (!/^https?:\/\/./.test(baseUrl) || !URL.canParse(baseUrl)) {
      throw new Error(`"${baseUrl.slice(0, 200)}" is no address of a cloud; for example https://cloud.example:8080`)
    }
    this.#baseUrl = baseUrl.replace(/\/+$/, '')
    this.#token = typeof token === 'string' ? () => token : token
    this.#chance = chance
    this.#listener = listener
  }

  /** @param isPublic whether the cloud answers anybody, so that an answer says nothing of the token */
  getJson(path: string, bytesMax: number, isPublic = false): Promise<Result<unknown, CloudError>> {
    return this.#json('GET', path, bytesMax, undefined, isPublic)
  }

  /** Sends a document that is JSON already; what the cloud says beside "taken" is of no interest. */
  async postJson(path: string, body: Uint8Array): Promise<Result<void, CloudError>> {
    const answer = await this.#request('POST', path, body, async (response) => {
      // Read to the end so that the connection can be used again.
      await readBounded(response.body, ERROR_BYTES_MAX).catch(() => undefined)
    })
    return answer.ok ? ok(undefined) : answer
  }

  /** Sends a document that is JSON already and may come twice. @returns the JSON that the cloud answers with */
  exchange(path: string, body: Uint8Array, bytesMax: number): Promise<Result<unknown, CloudError>> {
    return this.#json('POST', path, bytesMax, body)
  }

  /** Carries a request of somebody else to the cloud and brings back what it says, whether it likes it or not.
   *  @param more headers that tell of him */
  async relay(
    path: string,
    body: Uint8Array,
    bytesMax: number,
    more: Readonly<Record<string, string>> = {},
  ): Promise<Result<{ readonly status: number; readonly type: string; readonly body: Buffer }, CloudError>> {
    try {
      const [{ status, headers }, content] = await patientFetch(
        { ...this.#to('POST', path, body, more), repeatable: false, patience: ONCE },
        async (got) => [got, await readBounded(got.body, bytesMax)] as const,
      )
      // What a device proves needs no token of the gateway's.
      this.#listener?.heard(undefined, timeOf(headers))
      if (content === undefined) return failure('too-large', `answer of more than ${bytesMax} bytes`, status)
      return ok({ status, type: headers.get('content-type') ?? 'application/octet-stream', body: content })
    } catch (cause) {
      return this.#failed(cause)
    }
  }

  /** The body as it arrives, in chunks; the caller bounds it. Throws when the connection breaks underway. */
  async stream(path: string): Promise<Result<AsyncIterable<Uint8Array>, CloudError>> {
    const answer = await this.#request('GET', path, undefined, (response) => Promise.resolve(response))
    if (!answer.ok) return answer
    const { body } = answer.value
    return body === null ? failure('unavailable', 'empty body', answer.value.status) : ok(body)
  }

  /** Aborts what is under way; later requests fail with `unavailable`. */
  close(): void {
    this.#closing.abort()
  }

  async #json(
    method: string,
    path: string,
    bytesMax: number,
    body?: Uint8Array,
    isPublic = false,
  ): Promise<Result<unknown, CloudError>> {
    const read = async (response: Response) => ({
      status: response.status,
      bytes: await readBounded(response.body, bytesMax),
    })
    const answer = await this.#request(method, path, body, read, isPublic)
    if (!answer.ok) return answer
    const { status, bytes } = answer.value
    if (bytes === undefined) return failure('too-large', `answer of more than ${bytesMax} bytes`, status)
    try {
      return ok(bytes.length === 0 ? undefined : (JSON.parse(bytes.toString('utf8')) as unknown))
    } catch (cause) {
      return failure('unavailable', messageOf(cause), status)
    }
  }

  /** @param read reads the answer, when it is one of success */
  async #request<T>(
    method: string,
    path: string,
    body: Uint8Array | undefined,
    read: (response: Response) => Promise<T>,
    isPublic = false,
  ): Promise<Result<T, CloudError>> {
    const before = this.#refusals
    try {
      return await patientFetch(
        { ...this.#to(method, path, body), repeatable: true, waitsForServer: method === 'GET', patience: PATIENCE },
        async (response) => {
          this.#listener?.heard(isPublic ? undefined : this.#isRefused(response, before), timeOf(response.headers))
          if (response.ok) return ok(await read(response))
          const problem = await readBounded(response.body, ERROR_BYTES_MAX).catch(() => undefined)
          const { status } = response
          return failure(codeOf(problem, status), `${method} ${path.split('?')[0]}: HTTP ${status}`, status)
        },
      )
    } catch (cause) {
      return this.#failed(cause)
    }
  }

  /** @param before refusals when the request was made: one that was let in before the last of them, and waited, says nothing of the token
   *  @returns undefined: nothing is said */
  #isRefused({ status }: Response, before: number): boolean | undefined {
    if (status !== 401) return before === this.#refusals ? false : undefined
    this.#refusals++
    return true
  }

  #failed(cause: unknown): { ok: false; error: CloudError } {
    const failed = failure('unavailable', messageOf(cause))
    // What is aborted at the end is nobody's fault.
    if (!this.#closing.signal.aborted) this.#listener?.failed(failed.error)
    return failed
  }

  #to(method: string, path: string, body: Uint8Array | undefined, more: Readonly<Record<string, string>> = {}) {
    const token = this.#token()
    const headers = {
      ...(token !== '' && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...more,
    }
    const { signal } = this.#closing
    return {
      url: this.#baseUrl + path,
      method,
      headers,
      body,
      redirect: 'error',
      signal,
      chance: this.#chance,
    } as const
  }
}

/** What the cloud says the time is, Unix ms. */
function timeOf(headers: Headers): number | undefined {
  const time = headers.get(CLOUD_TIME_HEADER)
  return time !== null && /^\d{1,15}$/.test(time) ? Number(time) : undefined
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
