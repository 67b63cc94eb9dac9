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
}
