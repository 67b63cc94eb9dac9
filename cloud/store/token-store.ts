import type { SqliteDatabase, Statement } from './database.ts'

export interface TokenRecord {
  readonly jti: string
  readonly kind: 'device' | 'operator' | 'gateway' | 'viewer'
  readonly subject: string
  readonly issuedMs: number
  readonly expiresMs: number
}

/** The newest token of a service. */
export interface ServiceTokenEnd {
  readonly kind: 'operator' | 'gateway' | 'viewer'
  readonly subject: string
  readonly issuedMs: number
  readonly expiresMs: number
}

/** Which tokens were minted, for audits, and which service tokens are refused; the tokens themselves are not kept. */
export class TokenStore {
  readonly #db: SqliteDatabase
  readonly #revoked: Statement<[string], { beforeMs: number }>

  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#revoked = db.prepare('SELECT before_ms AS beforeMs FROM service_revocations WHERE subject = ?')
  }

  add(token: TokenRecord): void {
    this.#db
      .prepare(
        'INSERT INTO tokens (jti, kind, subject, issued_ms, expires_ms) VALUES (@jti, @kind, @subject, @issuedMs, @expiresMs)',
      )
      .run(token)
  }

  /** Refuses the service tokens that the subject was given until now. */
  revokeServices(subject: string, beforeMs: number): void {
    this.#db
      .prepare(
        `INSERT INTO service_revocations (subject, before_ms) VALUES (?, ?)
         ON CONFLICT (subject) DO UPDATE SET before_ms = max(before_ms, excluded.before_ms)`,
      )
      .run(subject, beforeMs)
  }

  /** Whether a service token is refused. */
  refuses(subject: string, issuedMs: number): boolean {
    const row = this.#revoked.get(subject)
    return row !== undefined && issuedMs <= row.beforeMs
  }

  /** The last end of each service's tokens that are not revoked, the earliest first. */
  serviceEnds(limit: number): readonly ServiceTokenEnd[] {
    return this.#db
      .prepare<[number], ServiceTokenEnd>(
        `SELECT kind, subject, issued_ms AS issuedMs, max(expires_ms) AS expiresMs FROM tokens t
         WHERE kind <> 'device'
           AND issued_ms > coalesce((SELECT before_ms FROM service_revocations r WHERE r.subject = t.subject), -1)
         GROUP BY kind, subject ORDER BY expiresMs LIMIT ?`,
      )
      .all(limit)
  }

  /** Whether the subject was given a device token after a time that is good still. */
  hasSince(subject: string, afterMs: number): boolean {
    const found = this.#db
      .prepare<[string, number]>("SELECT 1 FROM tokens WHERE kind = 'device' AND subject = ? AND issued_ms > ? LIMIT 1")
      .get(subject, afterMs)
    return found !== undefined
  }
}
