import { randomUUID } from 'node:crypto'
import { LIMITS } from '../contract/limits.ts'
import { readProblem } from '../contract/problem.ts'
import { readBounded } from '../platform/bounded-body.ts'
import { type Patience, patientFetch } from '../platform/patient-fetch.ts'
import { CommandFailure } from './failure.ts'
import { chance } from './random-secure.ts'

/** Chosen: an answer takes milliseconds; a busy machine gets room, a cloud that restarts some seconds, and one that is not there is noticed
 *  within three. */
const PATIENCE: Patience = { attemptsMax: 5, firstPauseMs: 250, pauseMsMax: 10_000, attemptMs: 20_000, totalMs: 60_000 }
/** Chosen: as much as a gateway may send at once; the longest list that an operator asks for is far below. */
const ANSWER_BYTES_MAX = LIMITS.ingestBytes

/** @returns the address without slashes at its end
 *  @throws CommandFailure with exit code 2 when it is none */
export function cloudAddress(url: string): string {
  if (/^https?:\/\/./.test(url) && URL.canParse(url)) return url.replace(/\/+$/, '')
  throw new CommandFailure(`"${url}" is no address of a cloud`, {
    hint: 'for example http://127.0.0.1:8080',
    exitCode: 2,
  })
}

interface Content {
  readonly body: string | Uint8Array
  readonly type: string
  readonly repeatable: boolean
  readonly headers?: Readonly<Record<string, string>>
}

/** How a change is asked for. */
export interface ChangeOptions {
  /** entity tag of what was looked at; the cloud refuses when it has changed since */
  readonly ifMatch?: string | undefined
}

const json = (body: unknown, repeatable: boolean, headers: Readonly<Record<string, string>> = {}): Content => ({
  ...{ body: JSON.stringify(body), type: 'application/json', repeatable, headers },
})

/** A change that may be sent again when its answer is lost: the cloud knows it by its key. */
const change = (body: unknown, { ifMatch }: ChangeOptions): Content =>
  json(body, true, {
    'idempotency-key': `"${randomUUID()}"`,
    ...(ifMatch !== undefined && { 'if-match': ifMatch }),
  })

/** The cloud's HTTP API as an operator's tool calls it. */
export class CloudApi {
  readonly url: string
  readonly #token: string

  constructor(url: string, token: string) {
    this.url = cloudAddress(url)
    this.#token = token
  }

  get<T>(path: string): Promise<T> {
    return this.#call('GET', path)
  }

  /** @param bytesMax an answer that is longer is refused */
  getBytes(path: string, bytesMax: number): Promise<Uint8Array> {
    return this.#send('GET', path, bytesMax)
  }

  /** What makes something new each time it comes, of routes that take no key: sent once. */
  postOnce<T>(path: string, body: unknown): Promise<T> {
    return this.#call('POST', path, json(body, false))
  }

  /** A change: done once, however often it has to be sent. */
  post<T>(path: string, body: unknown, options: ChangeOptions = {}): Promise<T> {
    return this.#call('POST', path, change(body, options))
  }

  /** What the cloud may get twice and answers alike. */
  postAgain<T>(path: string, body: unknown): Promise<T> {
    return this.#call('POST', path, json(body, true))
  }

  /** Sets a field of something that is there: the same again changes nothing. */
  patch<T>(path: string, body: unknown, options: ChangeOptions = {}): Promise<T> {
    return this.#call('PATCH', path, change(body, options))
  }

  delete<T>(path: string): Promise<T> {
    return this.#call('DELETE', path)
  }

  /** @param body bytes as they are; anything else as JSON */
  put<T>(path: string, body: unknown): Promise<T> {
    const content =
      body instanceof Uint8Array ? { body, type: 'application/octet-stream', repeatable: true } : json(body, true)
    return this.#call('PUT', path, content)
  }

  async #call<T>(method: string, path: string, content?: Content): Promise<T> {
    const text = new TextDecoder().decode(await this.#send(method, path, ANSWER_BYTES_MAX, content))
    try {
      return (text === '' ? undefined : JSON.parse(text)) as T
    } catch {
      throw new CommandFailure(`${method} ${this.url}${path}: the answer is no JSON`, {
        hint: 'is this the address of a Kinglet cloud?',
      })
    }
  }

  async #send(method: string, path: string, bytesMax: number, content?: Content): Promise<Uint8Array> {
    const { body, type, repeatable = true, headers: more } = content ?? {}
    const url = `${this.url}${path}`
    const headers = {
      authorization: `Bearer ${this.#token}`,
      ...(type !== undefined && { 'content-type': type }),
      ...more,
    }
    let response: Response
    let answer: Buffer | undefined
    try {
      // A command computes for seconds between two requests; a connection that was kept could be closed by then.
      const request = { url, method, headers, body, repeatable, ownConnection: true, patience: PATIENCE, chance }
      ;[response, answer] = await patientFetch(request, async (got) => [got, await readBounded(got.body, bytesMax)])
    } catch (cause) {
      throw new CloudUnreachable(`${method} ${url}: the cloud does not answer`, cause)
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
