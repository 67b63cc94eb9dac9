import type { SqliteDatabase } from './database.ts'

/** unenrolled: heard of before gateways were enrolled. quarantined: it goes on, and nothing of it is evidence. */
export type GatewayState = 'unenrolled' | 'active' | 'quarantined' | 'revoked'

export interface GatewayRecord {
  readonly name: string
  readonly state: GatewayState
  /** sites that it may speak for, sorted; of an unenrolled one those that its rows named */
  readonly sites: readonly string[]
  /** null: it has a token and no key */
  readonly keyId: string | null
  /** 32 bytes, hex */
  readonly publicKey: string | null
  readonly enrolledMs: number | null
  /** tokens issued before are refused */
  readonly tokensSinceMs: number
  readonly quarantinedMs: number | null
  readonly revokedMs: number | null
  /** of the quarantine or revocation */
  readonly reason: string | null
  readonly firstMs: number
  /** when its last batch came, by the cloud's clock; 0: none yet */
  readonly lastMs: number
  /** rows sent in all, repeated ones too */
  readonly rows: number
  /** rows that were refused, in all */
  readonly refused: number
}

type Row = Omit<GatewayRecord, 'sites' | 'state'> & { readonly sites: string }

function toRecord({ sites, ...row }: Row): GatewayRecord {
  const state =
    row.revokedMs !== null
      ? 'revoked'
      : row.enrolledMs === null
        ? 'unenrolled'
        : row.quarantinedMs !== null
          ? 'quarantined'
          : 'active'
  return { ...row, state, sites: (JSON.parse(sites) as string[]).sort() }
}

/** chosen: what a gateway brought is noted by the hour, so that a report costs no write of its own here */
const NOTED_EVERY_MS = 3_600_000

const SELECT = `SELECT name, key_id AS keyId, public_key AS publicKey, enrolled_ms AS enrolledMs, tokens_since_ms AS tokensSinceMs,
  quarantined_ms AS quarantinedMs, revoked_ms AS revokedMs, reason, first_ms AS firstMs, last_ms AS lastMs, rows, refused,
  (SELECT json_group_array(site) FROM gateway_sites WHERE gateway = name) AS sites FROM gateways`

/** Whether a device gives no evidence: it is at a site of a gateway in quarantine, or such a gateway has brought rows of it. A device as a
 *  whole, since of a slot of which one of two gateways is left out the other's counts are too few.
 *  @param device SQL of its row number */
export const HELD_OUT_SQL = (device: string): string =>
  `EXISTS (SELECT 1 FROM gateways g WHERE g.quarantined_ms IS NOT NULL AND (
     EXISTS (SELECT 1 FROM gateway_devices gd WHERE gd.gateway = g.name AND gd.device = ${device})
     OR EXISTS (SELECT 1 FROM gateway_sites gs JOIN devices gd ON gd.site = gs.site WHERE gs.gateway = g.name AND gd.id = ${device})))`

/** Gateways: who may speak for which sites, what came of them, and whose word is no evidence for now. */
export class GatewayStore {
  readonly #db: SqliteDatabase
  readonly #get
  readonly #heard
  readonly #list
  readonly #note
  readonly #heldOut
  readonly #anyQuarantined

  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#get = db.prepare<[string], Row>(`${SELECT} WHERE name = ?`)
    this.#heard = db.prepare<[{ name: string; rows: number; refused: number; nowMs: number }]>(
      `UPDATE gateways SET last_ms = max(last_ms, @nowMs), rows = rows + @rows, refused = refused + @refused WHERE name = @name`,
    )
    this.#list = db.prepare<[string, number], Row>(`${SELECT} WHERE name > ? ORDER BY name LIMIT ?`)
    this.#note = db.prepare<[string, number, string, number, number]>(
      `INSERT INTO gateway_devices (gateway, device, last_ms) SELECT ?, id, ? FROM devices WHERE name = ?
       ON CONFLICT DO UPDATE SET last_ms = excluded.last_ms WHERE excluded.last_ms >= last_ms + ? OR excluded.last_ms < last_ms - ?`,
    )
    this.#heldOut = db.prepare<[{ device: number }], { held: number }>(`SELECT ${HELD_OUT_SQL('@device')} AS held`)
    this.#anyQuarantined = db.prepare('SELECT 1 FROM gateways WHERE quarantined_ms IS NOT NULL LIMIT 1')
  }

  /** Enrols a gateway, or enrols it anew: with these sites and this key, and with none of its tokens of before. A quarantine stays: what it
   *  said is in doubt whoever it is now. Inside a transaction.
   *  @param key null: it is known by its token alone */
  enrol(
    name: string,
    sites: readonly string[],
    key: { readonly keyId: string; readonly publicKey: string } | null,
    nowMs: number,
  ): void {
    this.#db
      .prepare(
        `INSERT INTO gateways (name, first_ms, last_ms, rows, enrolled_ms, key_id, public_key, tokens_since_ms)
         VALUES (@name, @nowMs, 0, 0, @nowMs, @keyId, @publicKey, @nowMs)
         ON CONFLICT (name) DO UPDATE SET enrolled_ms = @nowMs, key_id = @keyId, public_key = @publicKey, tokens_since_ms = @nowMs,
           revoked_ms = NULL`,
      )
      .run({ name, nowMs, keyId: key?.keyId ?? null, publicKey: key?.publicKey ?? null })
    this.#db.prepare('DELETE FROM gateway_sites WHERE gateway = ?').run(name)
    const add = this.#db.prepare('INSERT INTO gateway_sites (gateway, site) VALUES (?, ?)')
    for (const site of new Set(sites)) add.run(name, site)
  }

  /** Ends its key and tokens. @returns whether that changed anything */
  revoke(name: string, reason: string, nowMs: number): boolean {
    return (
      this.#db
        .prepare('UPDATE gateways SET revoked_ms = ?, reason = ? WHERE name = ? AND revoked_ms IS NULL')
        .run(nowMs, reason, name).changes === 1
    )
  }

  /** @returns whether that changed anything */
  quarantine(name: string, reason: string, nowMs: number): boolean {
    const { changes } = this.#db
      .prepare('UPDATE gateways SET quarantined_ms = ?, reason = ? WHERE name = ? AND quarantined_ms IS NULL')
      .run(nowMs, reason, name)
    // What it has touched leaves the sums of the fleet.
    if (changes === 1) this.#sumAnew()
    return changes === 1
  }

  /** @returns whether that changed anything */
  release(name: string): boolean {
    // Before: the hours are those of the devices that are held out now.
    this.#sumAnew()
    return (
      this.#db
        .prepare('UPDATE gateways SET quarantined_ms = NULL WHERE name = ? AND quarantined_ms IS NOT NULL')
        .run(name).changes === 1
    )
  }

  /** The hours of the devices that are held out are to be summed anew. */
  #sumAnew(): void {
    this.#db
      .prepare(
        `INSERT INTO dirty_hours (hour) SELECT DISTINCT h.hour FROM devices d JOIN device_hours h ON h.device = d.id
         WHERE ${HELD_OUT_SQL('d.id')} ON CONFLICT DO NOTHING`,
      )
      .run()
  }

  /** Whether the device gives no evidence for now. */
  isHeldOut(device: number): boolean {
    return this.#anyQuarantined.get() !== undefined && this.#heldOut.get({ device })?.held === 1
  }

  /** Notes that a batch came, and whose rows were in it.
   *  @param devices by name
   *  @param nowMs the cloud's clock, since a gateway's own may be wrong */
  heard(name: string, devices: Iterable<string>, rows: number, refused: number, nowMs: number): void {
    this.#heard.run({ name, rows, refused, nowMs })
    for (const device of devices) this.#note.run(name, nowMs, device, NOTED_EVERY_MS, NOTED_EVERY_MS)
  }

  byName(name: string): GatewayRecord | undefined {
    const row = this.#get.get(name)
    return row && toRecord(row)
  }

  /** Whether a key is some gateway's. */
  hasKey(keyId: string): boolean {
    return this.#db.prepare('SELECT 1 FROM gateways WHERE key_id = ?').get(keyId) !== undefined
  }

  /** Gateways in order of their names. */
  list(limit: number, after = ''): readonly GatewayRecord[] {
    return this.#list.all(after, limit).map(toRecord)
  }
}
