import { RUNNING_CODES, TRIAL_DETAILS } from '../../contract/attested-event.ts'
import { present } from '../../contract/present.ts'
import type { SqliteDatabase } from './database.ts'

export interface ClaimRecord {
  readonly id: string
  /** 32 bytes, hex */
  readonly publicKey: string
  readonly device: string
  readonly site: string
  readonly board: string
  readonly tags: readonly string[]
  readonly model: string | null
  /** what the device is to follow; null: the claim is a gateway's */
  readonly family: string | null
  /** of a gateway's claim, whose name stands in `device`: what it is to speak for; null: the claim is a device's */
  readonly sites: readonly string[] | null
  readonly createdMs: number
  readonly createdBy: string
  readonly expiresMs: number
  readonly usedMs: number | null
}

interface ClaimRow extends Omit<ClaimRecord, 'tags' | 'sites'> {
  readonly tags: string
  readonly sites: string | null
}

/** active: the one the device has. retired: replaced by the device itself; what it signed before may still be on its way. revoked: not
 *  believed any more, whenever it signed. */
export type KeyState = 'active' | 'retired' | 'revoked'

export interface DeviceKeyRecord {
  readonly keyId: string
  /** 32 bytes, hex */
  readonly publicKey: string
  /** row number of the device */
  readonly device: number
  readonly state: KeyState
  readonly sinceMs: number
  readonly untilMs: number | null
  /** 1: it has signed a report, so that one without its signature is not the device's */
  readonly signsReports: 0 | 1
}

/** What a device with a key last signed about what it runs. */
export interface AttestedRun {
  readonly model: string
  readonly assignmentSeq: number | null
  readonly atMs: number
}

/** Literals of the contract, for use in SQL. */
const literals = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(', ')

/** Whether a row of `events` is the device's signed word of the model that it runs. One of a boot on trial is none: it may be gone by the
 *  next, and who carries the device's word may keep back that it is.
 *  @param row alias of the table in the query */
export const isRunningWord = (row: string): string =>
  `${row}.attested = 1 AND ${row}.model IS NOT NULL AND ${row}.code IN (${literals(RUNNING_CODES)})
   AND NOT (${row}.code = 'booted' AND coalesce(${row}.detail, '') IN (${literals(TRIAL_DETAILS)}))`

const CLAIM = `SELECT id, public_key AS publicKey, device, site, board, tags, model, family, sites, created_ms AS createdMs, created_by AS createdBy,
  expires_ms AS expiresMs, used_ms AS usedMs FROM claims`
const KEY = `SELECT key_id AS keyId, public_key AS publicKey, device, state, since_ms AS sinceMs, until_ms AS untilMs,
  signs_reports AS signsReports FROM device_keys`

/** Claims, keys of devices, and revocations. */
export class IdentityStore {
  readonly #db: SqliteDatabase
  readonly #signsReports
  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#signsReports = db.prepare<[number]>(
      "UPDATE device_keys SET signs_reports = 1 WHERE device = ? AND state = 'active' AND signs_reports = 0",
    )
  }

  addClaim({ tags, sites, ...claim }: Omit<ClaimRecord, 'usedMs'>): void {
    this.#db
      .prepare(
        `INSERT INTO claims (id, public_key, device, site, board, tags, model, family, sites, created_ms, created_by, expires_ms)
         VALUES (@id, @publicKey, @device, @site, @board, @tags, @model, @family, @sites, @createdMs, @createdBy, @expiresMs)`,
      )
      .run({ ...claim, tags: JSON.stringify(tags), sites: sites === null ? null : JSON.stringify(sites) })
  }

  claim(id: string): ClaimRecord | undefined {
    const row = this.#db.prepare<[string], ClaimRow>(`${CLAIM} WHERE id = ?`).get(id)
    if (row === undefined) return undefined
    const sites = row.sites === null ? null : (JSON.parse(row.sites) as string[])
    return { ...row, tags: JSON.parse(row.tags) as string[], sites }
  }

  /** @returns false when it was used before: of two that try, one wins */
  burnClaim(id: string, nowMs: number): boolean {
    return (
      this.#db.prepare('UPDATE claims SET used_ms = ? WHERE id = ? AND used_ms IS NULL').run(nowMs, id).changes === 1
    )
  }

  /** Claims that nobody has used yet are good for nothing from now on.
   *  @param of of a device or of a gateway with this name */
  endClaims(of: 'device' | 'gateway', name: string, nowMs: number): void {
    this.#db
      .prepare(
        'UPDATE claims SET expires_ms = ? WHERE device = ? AND (sites IS NULL) = ? AND used_ms IS NULL AND expires_ms > ?',
      )
      .run(nowMs, name, of === 'device' ? 1 : 0, nowMs)
  }

  key(keyId: string): DeviceKeyRecord | undefined {
    return this.#db.prepare<[string], DeviceKeyRecord>(`${KEY} WHERE key_id = ?`).get(keyId)
  }

  /** All keys the device ever had, oldest first. */
  keysOf(device: number): readonly DeviceKeyRecord[] {
    return this.#db.prepare<[number], DeviceKeyRecord>(`${KEY} WHERE device = ? ORDER BY since_ms`).all(device)
  }

  activeKey(device: number): DeviceKeyRecord | undefined {
    return this.#db.prepare<[number], DeviceKeyRecord>(`${KEY} WHERE device = ? AND state = 'active'`).get(device)
  }

  addKey(key: Pick<DeviceKeyRecord, 'keyId' | 'publicKey' | 'device' | 'sinceMs'>): void {
    this.#db
      .prepare(
        `INSERT INTO device_keys (key_id, public_key, device, state, since_ms) VALUES (@keyId, @publicKey, @device, 'active', @sinceMs)`,
      )
      .run(key)
  }

  /** From now on what comes as a report of the device is one only if it is signed, also by the key that follows this one. */
  noteSignedReport(device: number): void {
    this.#signsReports.run(device)
  }

  /** Ends the active key. */
  retireKey(device: number, nowMs: number): void {
    this.#db
      .prepare("UPDATE device_keys SET state = 'retired', until_ms = ? WHERE device = ? AND state = 'active'")
      .run(nowMs, device)
  }

  /** Ends all keys: also those that were retired, since who stole the active one may have those before it.
   *  @returns how many were not revoked before */
  revokeKeys(device: number, nowMs: number): number {
    return this.#db
      .prepare("UPDATE device_keys SET state = 'revoked', until_ms = ? WHERE device = ? AND state != 'revoked'")
      .run(nowMs, device).changes
  }

  /** Tokens that the device was given before now are refused by gateways that have heard of it. */
  revokeTokens(name: string, beforeMs: number): void {
    this.#db
      .prepare(
        `INSERT INTO revocations (name, cursor, before_ms, site)
         VALUES (?, (SELECT coalesce(max(cursor), 0) + 1 FROM revocations), ?, (SELECT site FROM devices WHERE name = ?))
         ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor, before_ms = excluded.before_ms, site = excluded.site`,
      )
      .run(name, beforeMs, name)
  }

  revokedBefore(name: string): number | undefined {
    return this.#db
      .prepare<[string], { beforeMs: number }>('SELECT before_ms AS beforeMs FROM revocations WHERE name = ?')
      .get(name)?.beforeMs
  }

  /** Devices whose tokens were revoked and that have no key since, and when. */
  revokedDevices(): ReadonlyMap<number, number> {
    const rows = this.#db
      .prepare<[], { device: number; beforeMs: number }>(
        `SELECT d.id AS device, v.before_ms AS beforeMs FROM revocations v JOIN devices d ON d.name = v.name
         WHERE NOT EXISTS (SELECT 1 FROM device_keys k WHERE k.device = d.id AND k.state = 'active')`,
      )
      .all()
    return new Map(rows.map(({ device, beforeMs }) => [device, beforeMs]))
  }

  newestRevocation(): number {
    const newest = this.#db.prepare<[], { n: number }>('SELECT coalesce(max(cursor), 0) AS n FROM revocations')
    return present(newest.get(), 'the row of an aggregate').n
  }

  /** What gateways are to refuse, changed after the cursor.
   *  @param sites only of devices that are there, or were; undefined: of all */
  revocationsAfter(
    cursor: number,
    limit: number,
    sites?: readonly string[],
  ): readonly { cursor: number; device: string; beforeMs: number }[] {
    return this.#db
      .prepare<[Record<string, string | number | null>], { cursor: number; device: string; beforeMs: number }>(
        `SELECT cursor, name AS device, before_ms AS beforeMs FROM revocations r
         WHERE cursor > @cursor AND (@sites IS NULL OR site IS NULL OR site IN (SELECT value FROM json_each(@sites))
           OR EXISTS (SELECT 1 FROM devices d JOIN device_moves m ON m.device = d.id
             WHERE d.name = r.name AND m.site IN (SELECT value FROM json_each(@sites))))
         ORDER BY cursor LIMIT @limit`,
      )
      .all({ cursor, limit, sites: sites === undefined ? null : JSON.stringify(sites) })
  }

  /** What the device last signed about the model it runs. */
  attestedRun(device: number): AttestedRun | undefined {
    return this.#db
      .prepare<[number], AttestedRun>(
        `SELECT e.model, e.assignment_seq AS assignmentSeq, e.time_ms AS atMs FROM events e
         WHERE e.device = ? AND ${isRunningWord('e')} ORDER BY e.boot DESC, e.seq DESC LIMIT 1`,
      )
      .get(device)
  }
}
