import { realpathSync } from 'node:fs'
import { decodeJwt } from 'jose'
import * as z from 'zod/mini'
import { LIMITS } from '../../contract/limits.ts'
import { writeFileDurably } from '../../platform/durable-file.ts'
import { tightenSecret } from '../../platform/secret-rights.ts'
import { WatchedFile } from '../../platform/watched-file.ts'
import type { CloudToken, TokenParts } from './keyed-token.ts'

/** chosen: a token that somebody has put into the file is in use within half a minute */
const LOOK_EVERY_MS = 30_000
/** chosen: the cloud refuses before two thirds; a little after that, so that clocks may differ */
const RENEW_SHARE = 0.7
/** chosen: between two attempts that failed; times a random half to one and a half */
const RETRY_MS = 15 * 60_000
/** chosen: a gateway whose clock is before the token's cannot know when it is due, and asks this often */
const ASK_BLINDLY_MS = 6 * 3_600_000

const renewalSchema = z.object({ token: z.string().check(z.maxLength(LIMITS.tokenLength)), expiresMs: z.number() })

interface Held {
  readonly token: string
  /** Unix ms; undefined: the token does not say, and is never renewed */
  readonly issuedMs: number | undefined
  readonly expiresMs: number | undefined
  readonly subject: string | undefined
}

/** The token by which the cloud knows the gateway. It is renewed before it expires and written back to its file, and the file is read
 *  again whenever somebody has changed it. Without a file, what was renewed ends with the process. */
export class ServiceToken implements CloudToken {
  readonly #file: WatchedFile | undefined
  #held: Held
  /** what was renewed is not on disk yet */
  #unsaved = false
  #parts: TokenParts | undefined
  #askedMs = Number.NEGATIVE_INFINITY
  #waitMs = 0
  #running: Promise<void> | undefined
  #cancel: () => void = () => {}

  /** @param token what it is, or begins with
   *  @param path the file that the token comes from
   *  @throws when there is neither, or the file holds none */
  constructor(token: string | undefined, path: string | undefined) {
    this.#file = path === undefined ? undefined : new WatchedFile(path, LIMITS.tokenLength + 64)
    if (this.#file === undefined && token === undefined)
      throw new Error('the gateway needs a service token, or a file with one')
    this.#held = heldOf(this.#file === undefined ? (token ?? '') : readToken(this.#file))
  }

  get current(): string {
    return this.#held.token
  }

  /** whose it is; undefined: it does not say */
  get subject(): string | undefined {
    return this.#held.subject
  }

  /** Unix ms; undefined when the token does not say */
  get expiresMs(): number | undefined {
    return this.#held.expiresMs
  }

  /** Whether the token should have been renewed by now and was not. */
  isOverdue(nowMs: number): boolean {
    const { issuedMs, expiresMs } = this.#held
    return issuedMs !== undefined && expiresMs !== undefined && nowMs > expiresMs - (expiresMs - issuedMs) / 6
  }

  /** Looks after the token until `close`. */
  start(parts: TokenParts): void {
    this.#parts = parts
    if (this.#file === undefined) {
      parts.logger.warn(
        {},
        'the service token comes from no file: what it is renewed to is lost when this process ends',
      )
    }
    this.#keepToOwner()
    void this.look()
    this.#await(parts)
  }

  close(): Promise<void> {
    this.#cancel()
    this.#parts = undefined
    return this.#running ?? Promise.resolve()
  }

  /** Reads the file if it has changed, and renews the token when that is due. */
  look(): Promise<void> {
    this.#reread()
    this.#running ??= this.#upkeep().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** The cloud does not take the token: perhaps there is another in the file by now. */
  refused(): void {
    this.#reread()
  }

  #await(parts: TokenParts): void {
    this.#cancel = parts.clock.after(LOOK_EVERY_MS, () => {
      void this.look()
      this.#await(parts)
    })
  }

  #reread(): void {
    const file = this.#file
    if (file === undefined || this.#parts === undefined || !file.hasChanged) return
    const { logger, counters } = this.#parts
    try {
      const held = heldOf(readToken(file))
      this.#keepToOwner()
      if (held.token === this.#held.token) return
      this.#held = held
      this.#unsaved = false
      this.#waitMs = 0
      counters.add('service-token', 'reread')
      logger.info({ path: file.path, expiresMs: held.expiresMs }, 'the service token was read anew')
    } catch (cause) {
      counters.add('service-token', 'unreadable')
      logger.warn({ err: cause, path: file.path }, 'the token file holds no token now: the one before stays in use')
    }
  }

  /** Whoever reads the file speaks to the cloud as this gateway. */
  #keepToOwner(): void {
    const path = this.#file?.path
    const warning = path === undefined ? undefined : tightenSecret(path)
    if (warning !== undefined) this.#parts?.logger.warn({ path }, warning)
  }

  async #upkeep(): Promise<void> {
    if (this.#unsaved) this.#save()
    const { issuedMs, expiresMs } = this.#held
    const parts = this.#parts
    if (parts === undefined || issuedMs === undefined || expiresMs === undefined) return
    const now = parts.clock.wallMs()
    const monotonicMs = parts.clock.monotonicMs()
    const isBlind = now < issuedMs - 3_600_000
    if (!isBlind && now < issuedMs + (expiresMs - issuedMs) * RENEW_SHARE) return
    if (monotonicMs - this.#askedMs < Math.max(this.#waitMs, isBlind ? ASK_BLINDLY_MS : 0)) return
    this.#askedMs = monotonicMs
    this.#waitMs = RETRY_MS * (0.5 + parts.random.next())
    await this.#renew(parts)
  }

  async #renew({ cloud, logger, counters }: TokenParts): Promise<void> {
    const { token: former, expiresMs } = this.#held
    const answer = await cloud.exchange('/v1/tokens/renew', Buffer.from('{}'), 4_096)
    const given = answer.ok ? renewalSchema.safeParse(answer.value) : undefined
    // Whoever has put another one into the file meanwhile meant it.
    this.#reread()
    if (this.#parts === undefined || this.#held.token !== former) return
    if (answer.ok && given?.success) {
      const held = heldOf(given.data.token)
      this.#held = { ...held, expiresMs: held.expiresMs ?? given.data.expiresMs }
      this.#waitMs = 0
      counters.add('service-token', 'renewed')
      logger.info({ expiresMs: given.data.expiresMs }, 'the service token was renewed')
      this.#unsaved = this.#file !== undefined
      if (this.#unsaved) this.#save()
      return
    }
    counters.add('service-token', 'not-renewed')
    const error = answer.ok ? ({ code: 'malformed', detail: 'the answer is no token' } as const) : answer.error
    // Too early by the cloud's clock: nothing is wrong.
    if (error.code === 'conflict') return
    logger.warn({ error, expiresMs }, 'the service token could not be renewed; "kinglet token make" mints another')
  }

  /** Through a link to the file behind it, for its owner alone. */
  #save(): void {
    const file = this.#file
    const parts = this.#parts
    if (file === undefined || parts === undefined) return
    try {
      const path = realpathSync(file.path)
      writeFileDurably(path, `${this.#held.token}\n`, { mode: 0o600 })
      this.#unsaved = false
      file.read()
    } catch (cause) {
      parts.counters.add('service-token', 'not-saved')
      parts.logger.warn(
        { err: cause, path: file.path },
        'the renewed service token could not be written: it is in use until this process ends, and written when that works again',
      )
    }
  }
}

/** @throws when the file cannot be read or holds none */
function readToken(file: WatchedFile): string {
  const text = file.read().toString('latin1').trim()
  if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text)) return text
  throw new Error(`${file.path} holds no token; "kinglet token make" writes one`)
}

function heldOf(token: string): Held {
  try {
    const { iat, exp, sub: subject } = decodeJwt(token)
    return {
      token,
      issuedMs: iat === undefined ? undefined : iat * 1000,
      expiresMs: exp === undefined ? undefined : exp * 1000,
      subject,
    }
  } catch {
    return { token, issuedMs: undefined, expiresMs: undefined, subject: undefined }
  }
}
