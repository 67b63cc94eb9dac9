import { LIMITS } from '../contract/limits.ts'
import { readProblem } from '../contract/problem.ts'
import { readBounded } from '../platform/bounded-body.ts'
import { CommandFailure } from './failure.ts'

/** Chosen: an answer takes milliseconds; a busy machine gets room, a dead cloud is noticed. */
const TIMEOUT_MS = 15_000
/** Chosen: as much as a gateway may send at once; the longest list that an operator asks for is far below. */
const ANSWER_BYTES_MAX = LIMITS.ingestBytes

/** The cloud's HTTP API as an operator's tool calls it. */
export class CloudApi {
  readonly url: string
  readonly #token: string

  constructor(url: string, token: string) {
    if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
      throw new CommandFailure(`"${url}" is no address of a cloud`, {
        hint: 'for example http://127.0.0.1:8080',
        exitCode: 2,
      })
    }
    this.url = url.replace(/\/+$/, '')
    this.#token = token
  }

  get<T>(path: string): Promise<T> {
    return this.#call('GET', path)
  }

  /** @param bytesMax an answer that is longer is refused */
  getBytes(path: string, bytesMax: number): Promise<Uint8Array> {
    return this.#send('GET', path, bytesMax)
  }

  post<T>(path: string, body: unknown): Promise<T> {
    return this.#call('POST', path, JSON.stringify(body), 'application/json')
  }

  delete<T>(path: string): Promise<T> {
    return this.#call('DELETE', path)
  }

  /** @param body bytes as they are; anything else as JSON */
  put<T>(path: string, body: unknown): Promise<T> {
    return body instanceof Uint8Array
      ? this.#call('PUT', path, body, 'application/octet-stream')
      : this.#call('PUT', path, JSON.stringify(body), 'application/json')
  }

  async #call<T>(method: string, path: string, body?: string | Uint8Array, type?: string): Promise<T> {
    const text = new TextDecoder().decode(await this.#send(method, path, ANSWER_BYTES_MAX, body, type))
    try {
      return (text === '' ? undefined : JSON.parse(text)) as T
    } catch {
      throw new CommandFailure(`${method} ${this.url}${path}: the answer is no JSON`, {
        hint: 'is this the address of a Kinglet cloud?',
      })
    }
  }

  async #send(
    method: string,
    path: string,
    bytesMax: number,
    body?: string | Uint8Array,
    type?: string,
  ): Promise<Uint8Array> {
    let response: Response
    let answer: Buffer | undefined
    try {
      response = await fetch(`${this.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${this.#token}`, ...(type && { 'content-type': type }) },
        ...(body !== undefined && { body: typeof body === 'string' ? body : Buffer.from(body) }),
        // The socket's time, not the fleet's.
        signal: AbortSignal.timeout(TIMEOUT_MS),
      })
      answer = await readBounded(response.body, bytesMax)
    } catch (cause) {
      throw new CloudUnreachable(`${method} ${this.url}${path}: the cloud does not answer`, cause)
    }
    if (answer === undefined) throw new CommandFailure(`${method} ${path}: the answer has more than ${bytesMax} bytes`)
    if (response.ok) return answer
    throw new CommandFailure(`${method} ${path}: ${problemWords(answer.toString('utf8'), response.status)}`)
  }
}

/** The cloud is down or restarting; the call may be repeated. */
export class CloudUnreachable extends CommandFailure {
  constructor(message: string, cause: unknown) {
    super(message, { hint: 'is "kinglet cloud run" up, and is the address right?', cause })
  }
}

/** One line from problem details, or from whatever else came. */
function problemWords(text: string, status: number): string {
  try {
    const problem = readProblem(JSON.parse(text))
    if (problem !== undefined) return `${problem.code}: ${problem.detail}`
  } catch {
    // Not JSON: a proxy's page, perhaps.
  }
  return `HTTP ${status} ${text.slice(0, 200)}`
}
