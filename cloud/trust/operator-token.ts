import { existsSync, readFileSync } from 'node:fs'
import type { Clock } from '../../contract/clock.ts'
import { writeFileDurably } from '../../platform/durable-file.ts'
import type { Logger } from '../../platform/logger.ts'
import type { Store } from '../store/store.ts'
import type { TokenIssuer } from './tokens.ts'

/** chosen: the wall clock may jump, so the file is looked at this often */
const LOOK_EVERY_MS = 6 * 3_600_000

/** whose the token is */
const SUBJECT = 'operator'
/** Who has the cloud's folder may do everything. */
const ROLE = 'admin'

interface Parts {
  readonly store: Store
  readonly tokens: TokenIssuer
  readonly clock: Clock
  readonly logger: Logger
}

/** The operator's token in the cloud's folder: made at the first start, and made anew in the last third of its life, when it is missing or
 *  when it is refused. What somebody has copied from it stays good until it expires, or until the file is deleted: then whatever was ever in it
 *  is refused from the next look on. */
export class OperatorToken {
  readonly #parts: Parts
  readonly #path: string
  readonly #ttlMs: number
  #current = ''
  #cancel: () => void = () => {}

  /** @param ttlMs of a token that is made */
  constructor(parts: Parts, path: string, ttlMs: number) {
    this.#parts = parts
    this.#path = path
    this.#ttlMs = ttlMs
  }

  get current(): string {
    return this.#current
  }

  /** Reads the file, or makes it. @throws what the file system throws */
  async refresh(): Promise<void> {
    const { store, tokens, clock, logger } = this.#parts
    const kept = existsSync(this.#path) ? readFileSync(this.#path, 'utf8').trim() : ''
    const verified = kept === '' ? undefined : await tokens.verifyService(kept)
    const now = clock.wallMs()
    if (verified?.ok && verified.value.role === ROLE) {
      const { issuedMs, expiresMs } = verified.value
      this.#current = kept
      if (expiresMs - now > (expiresMs - issuedMs) / 3) return
    }
    const minted = await tokens.mintService(SUBJECT, ROLE, this.#ttlMs)
    const { token, jti, issuedMs, expiresMs } = minted
    store.atomically(() => {
      const revoked = kept === '' ? store.tokens.revokeRole(SUBJECT, ROLE, now) : 0
      store.tokens.add({ jti, kind: ROLE, subject: SUBJECT, issuedMs, expiresMs })
      if (revoked === 0) return
      const detail = { reason: 'operator.token was deleted', revoked }
      store.audit.append({ atMs: now, actor: 'kinglet', action: 'token.revoked', subject: SUBJECT, detail })
      logger.info({ revoked }, 'the operator token was deleted: whatever was in its file is refused from now on')
    })
    writeFileDurably(this.#path, `${token}\n`, { mode: 0o600 })
    this.#current = token
    if (kept !== '') logger.info({ path: this.#path, expiresMs }, 'the operator token was made anew')
  }

  /** Looks at the file now and then until `stop`. */
  start(): void {
    this.#cancel = this.#parts.clock.after(LOOK_EVERY_MS, () => {
      this.refresh().catch((cause: unknown) =>
        this.#parts.logger.error({ err: cause, path: this.#path }, 'the operator token could not be made anew'),
      )
      this.start()
    })
  }

  stop(): void {
    this.#cancel()
  }
}
