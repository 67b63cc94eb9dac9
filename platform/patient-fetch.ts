import { setTimeout as sleep } from 'node:timers/promises'

/** Bounds of a request that is tried again. Times are of sockets, hence real ms whatever clock the process runs on. */
export interface Patience {
  readonly attemptsMax: number
  /** bound of the first pause; it doubles, and each pause is a random part of it */
  readonly firstPauseMs: number
  readonly pauseMsMax: number
  /** of one attempt of what may be repeated, to the end of its answer; what may not has `totalMs` */
  readonly attemptMs: number
  /** of all attempts and pauses */
  readonly totalMs: number
}

export interface PatientRequest {
  readonly url: string
  readonly method: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array | undefined
  /** Whether the server may get it twice. What may not is tried again only when no connection came about, so that nothing was sent. */
  readonly repeatable: boolean
  /** whether 502, 503 and 504 are waited for; default true. Not where who asks has a loop of its own for them */
  readonly waitsForServer?: boolean
  /** Whether its connection ends with it. A process whose requests all have one of their own never writes into one that the server has just
   *  closed; default: connections are kept for the next request */
  readonly ownConnection?: boolean
  /** as `fetch` has it */
  readonly redirect?: 'error' | 'follow'
  /** ends whatever is under way */
  readonly signal?: AbortSignal
  readonly patience: Patience
  /** uniform in [0, 1): whoever failed together must not come back together */
  readonly chance: () => number
}

/** No connection came about. A name that does not exist (ENOTFOUND) is a mistake and does not mend itself. */
const UNSENT = new Set([
  'ECONNREFUSED',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
])
/** The connection was there and ended: a keep-alive that had just run out, a restart. */
const BROKEN = new Set([
  'ECONNRESET',
  'EPIPE',
  'ECONNABORTED',
  'UND_ERR_SOCKET',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
])
/** "Not now", of the server or of what stands before it. */
const NOT_NOW = new Set([502, 503, 504])

/** Makes a request and tries it again, with exponential back-off and full jitter, within bounds, when that can help and can do no harm:
 *  a broken or refused connection, no answer in time, 502, 503 and 504 (`Retry-After` is honoured within `totalMs`).
 *  @param read reads the answer, of whatever status; its failure counts as the connection's
 *  @returns what `read` returns of the last attempt; throws what that threw
 *  @see M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 */
export async function patientFetch<T>(request: PatientRequest, read: (response: Response) => Promise<T>): Promise<T> {
  const { patience, chance, repeatable, waitsForServer = true, signal } = request
  // Of sockets: the process may run on another clock.
  const total = AbortSignal.timeout(patience.totalMs)
  const ended = signal === undefined ? total : AbortSignal.any([signal, total])
  for (let attempt = 1; ; attempt++) {
    const isLast = attempt >= patience.attemptsMax
    let pauseMs = Math.min(patience.pauseMsMax, patience.firstPauseMs * 2 ** (attempt - 1)) * chance()
    try {
      const response = await fetch(request.url, initOf(request, ended))
      if (isLast || !repeatable || !waitsForServer || !NOT_NOW.has(response.status)) return await read(response)
      const askedMs = retryAfterMs(response)
      // It cannot be waited for: this answer is the one.
      if (askedMs > patience.pauseMsMax) return await read(response)
      await response.body?.cancel()
      pauseMs = Math.max(pauseMs, askedMs)
    } catch (cause) {
      if (isLast || ended.aborted || !mayHelp(cause, repeatable)) throw cause
    }
    await sleep(pauseMs, undefined, { signal: ended })
  }
}

function initOf(request: PatientRequest, ended: AbortSignal): RequestInit {
  const { method, headers, body, repeatable, ownConnection, redirect, patience } = request
  return {
    method,
    headers: { ...headers, ...(ownConnection === true && { connection: 'close' }) },
    ...(body !== undefined && { body: typeof body === 'string' ? body : Buffer.from(body) }),
    ...(redirect !== undefined && { redirect }),
    signal: repeatable ? AbortSignal.any([ended, AbortSignal.timeout(patience.attemptMs)]) : ended,
  }
}

function mayHelp(cause: unknown, repeatable: boolean): boolean {
  const code = codeOf(cause)
  if (UNSENT.has(code)) return true
  return repeatable && (BROKEN.has(code) || (cause as { name?: unknown }).name === 'TimeoutError')
}

/** Of a failed `fetch`, whose own error says nothing: the cause is the socket's. */
function codeOf(error: unknown): string {
  const { code, cause } = error as { code?: unknown; cause?: unknown }
  if (cause instanceof Error) return codeOf(cause)
  return typeof code === 'string' ? code : ''
}

/** Seconds only: a date would need a clock that agrees with the server's. */
function retryAfterMs({ headers }: Response): number {
  const seconds = headers.get('retry-after') ?? ''
  return /^\d{1,6}$/.test(seconds) ? Number(seconds) * 1000 : 0
}
