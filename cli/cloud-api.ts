import { CommandFailure } from './failure.ts'

/** Chosen: an answer takes milliseconds; a busy machine gets room, a dead cloud is noticed. */
const TIMEOUT_MS = 15_000

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
  async getBytes(path: string, bytesMax: number): Promise<Uint8Array> {
    const body = await this.#send('GET', path)
    if (body.length > bytesMax) throw new CommandFailure(`GET ${path}: more than ${bytesMax} bytes`)
    return body
  }

  post<T>(path: string, body: unknown): Promise<T> {
    return this.#call('POST', path, JSON.stringify(body), 'application/json')
  }

  put<T>(path: string, body: Uint8Array): Promise<T> {
    return this.#call('PUT', path, body, 'application/octet-stream')
  }

  async #call<T>(method: string, path: string, body?: string | Uint8Array, type?: string): Promise<T> {
    const text = new TextDecoder().decode(await this.#send(method, path, body, type))
    try {
      return (text === '' ? undefined : JSON.parse(text)) as T
    } catch {
      throw new CommandFailure(`${method} ${this.url}${path}: the answer is no JSON`, {
        hint: 'is this the address of a Kinglet cloud?',
      })
    }
  }

  async #send(method: string, path: string, body?: string | Uint8Array, type?: string): Promise<Uint8Array> {
    let response: Response
    let answer: Uint8Array
    try {
      response = await fetch(`${this.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${this.#token}`, ...(type && { 'content-type': type }) },
        ...(body !== undefined && { body: typeof body === 'string' ? body : Buffer.from(body) }),
        // The socket's time, not the fleet's.
        signal: AbortSignal.timeout(TIMEOUT_MS),
      })
      answer = new Uint8Array(await response.arrayBuffer())
    } catch (cause) {
      throw new CloudUnreachable(`${method} ${this.url}${path}: the cloud does not answer`, cause)
    }
    if (response.ok) return answer
    throw new CommandFailure(`${method} ${path}: ${problemOf(new TextDecoder().decode(answer), response.status)}`)
  }
}

/** The cloud is down or restarting; the call may be repeated. */
export class CloudUnreachable extends CommandFailure {
  constructor(message: string, cause: unknown) {
    super(message, { hint: 'is "kinglet cloud run" up, and is the address right?', cause })
  }
}

/** One line from an RFC 9457 problem, or from whatever else came. */
function problemOf(text: string, status: number): string {
  try {
    const problem = JSON.parse(text) as { code?: string; title?: string; detail?: string }
    const words = [problem.code ?? problem.title, problem.detail].filter((word) => word !== undefined)
    if (words.length > 0) return words.join(': ')
  } catch {
    // Not JSON: a proxy's page, perhaps.
  }
  return `HTTP ${status} ${text.slice(0, 200)}`
}
