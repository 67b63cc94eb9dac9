import type { SqliteDatabase, Statement } from './database.ts'
import { SERVICE_ROLES, type ServiceRole } from './roles.ts'

export interface TokenRecord {
  readonly jti: string
  readonly kind: 'device' | ServiceRole
  readonly subject: string
  readonly issuedMs: number
  readonly expiresMs: number
  /** jti of the service token that asked for it; absent: the cloud made it by itself */
  readonly parent?: string
}

/** A service token as lists show it. */
export interface ServiceTokenRow {
  readonly jti: string
  readonly role: ServiceRole
  readonly subject: string
  readonly issuedMs: number
  readonly expiresMs: number
  /** Unix ms; null: it is not revoked */
  readonly revokedMs: number | null
  /** of the token that asked for it; null: none, or it is forgotten */
  readonly parent: string | null
  readonly parentSubject: string | null
}

/** chosen: whoever mints from what was minted, and so on; what lies deeper is ended by the seed of all tokens */
const GENERATIONS_MAX = 1_000

/** By the index of services. */
const OF_SUBJECT = `kind <> 'device' AND kind IN (${SERVICE_ROLES.map((role) => `'${role}'`).join(', ')}) AND subject = ?`

/** The newest token of a service. */
export interface ServiceTokenEnd {
  readonly kind: ServiceRole
  readonly subject: string
  readonly issuedMs: number
  readonly expiresMs: number
}

/** Which tokens were minted, by whom, and which service tokens are refused; the tokens themselves are not kept. */
export class TokenStore {
  readonly #db: SqliteDatabase
  readonly #revoked: Statement<[string], { beforeMs: number }>
  readonly #given: Statement<[string], { kind: ServiceRole; revokedMs: number | null }>

  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#revoked = db.prepare('SELECT before_ms AS beforeMs FROM service_revocations WHERE subject = ?')
    this.#given = db.prepare("SELECT kind, revoked_ms AS revokedMs FROM tokens WHERE jti = ? AND kind <> 'device'")
  }

  add(token: TokenRecord): void {
    this.#db
      .prepare(
        'INSERT INTO tokens (jti, kind, subject, issued_ms, expires_ms, parent) VALUES (@jti, @kind, @subject, @issuedMs, @expiresMs, @parent)',
      )
      .run({ parent: null, ...token })
  }

  /** Notes a token that somebody else has given out, so that what it mints can be found. */
  remember({
    jti,
    role,
    subject,
    issuedMs,
    expiresMs,
  }: Omit<TokenRecord, 'kind'> & { role: TokenRecord['kind'] }): void {
    this.#db
      .prepare(
        'INSERT INTO tokens (jti, kind, subject, issued_ms, expires_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
      )
      .run(jti, role, subject, issuedMs, expiresMs)
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

  /** Refuses every token of a role that the subject was given so far, one by one: what is given in the same millisecond is good.
   *  @returns how many were good until now */
  revokeRole(subject: string, role: ServiceTokenRow['role'], nowMs: number): number {
    return this.#db
      .prepare(
        "UPDATE tokens SET revoked_ms = @nowMs WHERE kind <> 'device' AND kind = @role AND subject = @subject AND revoked_ms IS NULL AND expires_ms > @nowMs",
      )
      .run({ subject, role, nowMs }).changes
  }

  /** Refuses a service token and what it was renewed to.
   *  @returns how many were good until now, or undefined when there is none of that name */
  revokeToken(jti: string, nowMs: number): number | undefined {
    if (this.#given.get(jti) === undefined) return undefined
    return this.#revokeFrom("SELECT jti, subject, 0 FROM tokens WHERE jti = ? AND kind <> 'device'", jti, nowMs, false)
  }

  /** Refuses what the subject's tokens have minted, and what that has, until now; not the subject's own (`revokeServices`).
   *  @returns how many were good until now */
  revokeMinted(subject: string, nowMs: number): number {
    return this.#revokeFrom(`SELECT jti, subject, 0 FROM tokens WHERE ${OF_SUBJECT}`, subject, nowMs, true)
  }

  /** How many tokens that the subject's have minted for others are good still. */
  mintedStill(subject: string, nowMs: number): number {
    const found = this.#db
      .prepare<[string, number], { n: number }>(
        `SELECT count(*) AS n FROM tokens p JOIN tokens t ON t.parent = p.jti
         WHERE ${OF_SUBJECT.replace(/kind|subject/g, 'p.$&')} AND t.subject <> p.subject AND t.revoked_ms IS NULL AND t.expires_ms > ?`,
      )
      .get(subject, nowMs)
    return found?.n ?? 0
  }

  #revokeFrom(roots: string, root: string, nowMs: number, minted: boolean): number {
    return this.#db
      .prepare(
        `WITH RECURSIVE gone (jti, subject, generation) AS (
           ${roots}
           UNION
           SELECT t.jti, t.subject, g.generation + 1 FROM gone g JOIN tokens t ON t.parent = g.jti
           WHERE (? OR t.subject = g.subject) AND g.generation < ${GENERATIONS_MAX}
         )
         UPDATE tokens SET revoked_ms = ? WHERE revoked_ms IS NULL AND jti IN (SELECT jti FROM gone)`,
      )
      .run(root, minted ? 1 : 0, nowMs).changes
  }

  /** Remembers which key signs tokens. When it is another than before, every service token until now is refused: it is of a key that is gone.
   *  @returns whether it is another */
  signedBy(kid: string, nowMs: number): boolean {
    const before = this.#db.prepare<[], { kid: string }>('SELECT kid FROM token_key WHERE id = 1').get()
    if (before?.kid === kid) return false
    this.#db
      .prepare('INSERT INTO token_key (id, kid) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET kid = excluded.kid')
      .run(kid)
    if (before === undefined) return false
    this.#db
      .prepare("UPDATE tokens SET revoked_ms = ? WHERE kind <> 'device' AND jti >= '' AND revoked_ms IS NULL")
      .run(nowMs)
    return true
  }

  /** Service tokens by jti. @param after the last of the page before, '' for the first */
  services(after: string, limit: number): readonly ServiceTokenRow[] {
    return this.#db
      .prepare<[string, number], ServiceTokenRow>(
        `SELECT t.jti, t.kind AS role, t.subject, t.issued_ms AS issuedMs, t.expires_ms AS expiresMs, t.parent,
           (SELECT p.subject FROM tokens p WHERE p.jti = t.parent) AS parentSubject,
           coalesce(t.revoked_ms, (SELECT before_ms FROM service_revocations r WHERE r.subject = t.subject
             AND r.before_ms >= t.issued_ms)) AS revokedMs
         FROM tokens t WHERE t.kind <> 'device' AND t.jti > ? ORDER BY t.jti LIMIT ?`,
      )
      .all(after, limit)
  }

  /** Whether a service token is revoked, by itself or with all of its subject; else whether it was given out here. */
  standing(jti: string, subject: string, issuedMs: number): 'good' | 'revoked' | 'unknown' {
    const given = this.#given.get(jti)
    const row = this.#revoked.get(subject)
    if (row !== undefined && issuedMs <= row.beforeMs) return 'revoked'
    if (given === undefined) return 'unknown'
    return given.revokedMs === null ? 'good' : 'revoked'
  }

  /** What a service token was given out for; undefined: it never was. */
  roleOf(jti: string): ServiceRole | undefined {
    return this.#given.get(jti)?.kind
  }

  /** The last end of each service's tokens that are not revoked, the earliest first. */
  serviceEnds(limit: number): readonly ServiceTokenEnd[] {
    return this.#db
      .prepare<[number], ServiceTokenEnd>(
        `SELECT kind, subject, issued_ms AS issuedMs, max(expires_ms) AS expiresMs FROM tokens t
         WHERE kind <> 'device' AND revoked_ms IS NULL
           AND issued_ms > coalesce((SELECT before_ms FROM service_revocations r WHERE r.subject = t.subject), -1)
         GROUP BY kind, subject ORDER BY expiresMs LIMIT ?`,
      )
      .all(limit)
  }

  /** Whose tokens have minted a token of the subject, or what minted that, and so on: who could be him. */
  mintersOf(subject: string): ReadonlySet<string> {
    const found = this.#db
      .prepare<[string], string>(
        `WITH RECURSIVE before (parent, generation) AS (
           SELECT parent, 0 FROM tokens WHERE ${OF_SUBJECT} AND parent IS NOT NULL
           UNION
           SELECT t.parent, b.generation + 1 FROM before b JOIN tokens t ON t.jti = b.parent
           WHERE t.parent IS NOT NULL AND b.generation < ${GENERATIONS_MAX}
         )
         SELECT DISTINCT t.subject FROM before b JOIN tokens t ON t.jti = b.parent`,
      )
      .pluck()
      .all(subject)
    return new Set(found.filter((each) => each !== subject))
  }

  /** Whether the subject was given a device token after a time that is good still. */
  hasSince(subject: string, afterMs: number): boolean {
    const found = this.#db
      .prepare<[string, number]>("SELECT 1 FROM tokens WHERE kind = 'device' AND subject = ? AND issued_ms > ? LIMIT 1")
      .get(subject, afterMs)
    return found !== undefined
  }
}
