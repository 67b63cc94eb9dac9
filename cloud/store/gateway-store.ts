import type { SqliteDatabase } from './database.ts'

export interface GatewayRecord {
  readonly name: string
  readonly firstMs: number
  /** when its last batch came, by the cloud's clock */
  readonly lastMs: number
  /** rows sent in all, repeated ones too */
  readonly rows: number
  /** sites that its rows named, sorted */
  readonly sites: readonly string[]
}

type Row = Omit<GatewayRecord, 'sites'> & { readonly sites: string }

const toRecord = ({ sites, ...row }: Row): GatewayRecord => ({ ...row, sites: JSON.parse(sites) as string[] })

/** Chosen: a gateway serves a site or a few; what names more is wrong about itself, and the row stays small. */
const SITES_MAX = 64

const SELECT = 'SELECT name, first_ms AS firstMs, last_ms AS lastMs, rows, sites FROM gateways'

/** Which gateways there are: those that have sent telemetry. */
export class GatewayStore {
  readonly #get
  readonly #put
  readonly #list

  constructor(db: SqliteDatabase) {
    this.#get = db.prepare<[string], Row>(`${SELECT} WHERE name = ?`)
    this.#put = db.prepare(
      `INSERT INTO gateways (name, first_ms, last_ms, rows, sites) VALUES (@name, @firstMs, @lastMs, @rows, @sites)
       ON CONFLICT (name) DO UPDATE SET last_ms = excluded.last_ms, rows = excluded.rows, sites = excluded.sites`,
    )
    this.#list = db.prepare<[string, number], Row>(`${SELECT} WHERE name > ? ORDER BY name LIMIT ?`)
  }

  /** Notes that a batch came.
   *  @param sites named by its rows; at most 64 are kept
   *  @param nowMs the cloud's clock, since a gateway's own may be wrong */
  heard(name: string, sites: Iterable<string>, rows: number, nowMs: number): void {
    const known = this.byName(name)
    const all = [...new Set([...(known?.sites ?? []), ...sites])].slice(0, SITES_MAX).sort()
    this.#put.run({
      name,
      firstMs: known?.firstMs ?? nowMs,
      lastMs: Math.max(known?.lastMs ?? 0, nowMs),
      rows: (known?.rows ?? 0) + rows,
      sites: JSON.stringify(all),
    })
  }

  byName(name: string): GatewayRecord | undefined {
    const row = this.#get.get(name)
    return row && toRecord(row)
  }

  /** Gateways in order of their names. */
  list(limit: number, after = ''): readonly GatewayRecord[] {
    return this.#list.all(after, limit).map(toRecord)
  }
}
