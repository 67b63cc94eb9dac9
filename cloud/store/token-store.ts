import type { SqliteDatabase } from './database.ts'

export interface TokenRecord {
  readonly jti: string
  readonly kind: 'device' | 'operator' | 'gateway' | 'viewer'
  readonly subject: string
  readonly issuedMs: number
  readonly expiresMs: number
}

/** Which tokens were minted, for audits; the tokens themselves are not kept. */
export class TokenStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  add(token: TokenRecord): void {
    this.#db
      .prepare(
        'INSERT INTO tokens (jti, kind, subject, issued_ms, expires_ms) VALUES (@jti, @kind, @subject, @issuedMs, @expiresMs)',
      )
      .run(token)
  }

  /** Whether the subject was given a device token after a time that is good still. */
  hasSince(subject: string, afterMs: number): boolean {
    const found = this.#db
      .prepare<[string, number]>("SELECT 1 FROM tokens WHERE kind = 'device' AND subject = ? AND issued_ms > ? LIMIT 1")
      .get(subject, afterMs)
    return found !== undefined
  }
}
