import type { BundleManifest } from '../../contract/manifest.ts'
import { present } from '../../contract/present.ts'
import type { Release, ReleaseVerifier } from '../../contract/release.ts'
import type { ReleaseRisk } from './approval-store.ts'
import type { SqliteDatabase, Statement } from './database.ts'

export const RELEASE_STATES = ['candidate', 'staging', 'production', 'archived'] as const
export type ReleaseState = (typeof RELEASE_STATES)[number]

/** The family of all releases and devices from before there were several. */
export const DEFAULT_FAMILY = 'default'

/** Whether some board may run both. */
export const shareBoards = ({ content: a }: ReleaseRecord, { content: b }: ReleaseRecord): boolean =>
  a.boards.length === 0 || b.boards.length === 0 || a.boards.some((board) => b.boards.includes(board))

/** What a pipeline of a release counts. */
export type PipelineSignals = Pick<BundleManifest['pipelines'][number], 'id' | 'signals'>

export interface ReleaseRecord {
  readonly id: number
  readonly name: string
  readonly version: number
  readonly sha256: string
  /** first 8 bytes of sha256, hex: what reports carry */
  readonly prefix: string
  readonly bytes: number
  readonly parent: string | null
  readonly state: ReleaseState
  /** versions of one family replace each other */
  readonly family: string
  /** its own; its family may have a higher one */
  readonly risk: ReleaseRisk
  readonly content: Release
  /** sha256 of the bundle that judges its wakes; null: what gateways have does */
  readonly verifier: string | null
  /** by pipeline, in the order of its bundle; empty: it declares none */
  readonly signals: readonly PipelineSignals[]
  readonly registeredMs: number
}

export interface ReleaseTransition {
  readonly from: ReleaseState | null
  readonly to: ReleaseState
  readonly atMs: number
  readonly by: string
  readonly reason: string
}

interface Row extends Omit<ReleaseRecord, 'content' | 'signals' | 'registeredMs'> {
  content: string
  signals: string | null
  registered_ms: number
}

const toRecord = ({ registered_ms, content, signals, ...row }: Row): ReleaseRecord => ({
  ...row,
  content: JSON.parse(content) as Release,
  signals: signals === null ? [] : (JSON.parse(signals) as PipelineSignals[]),
  registeredMs: registered_ms,
})

/** When `r` came into production last, as a number of its history. */
const PRODUCED_SQL = "(SELECT max(h.id) FROM release_history h WHERE h.release = r.id AND h.to_state = 'production')"

/** What a release has besides its document. */
export interface ReleaseExtras {
  /** what is to judge its wakes; undefined: what gateways have */
  readonly verifier?: ReleaseVerifier | undefined
  /** by pipeline */
  readonly signals?: readonly PipelineSignals[] | undefined
  readonly family?: string | undefined
}

/** Releases, their lineage and every change of their state. */
export class ModelStore {
  readonly #db: SqliteDatabase
  /** by condition, of which there are five */
  readonly #lookups = new Map<string, Statement<(string | number)[], Row>>()
  readonly #endApprovals: Statement<[number, string]>
  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#endApprovals = db.prepare('UPDATE approvals SET ended_ms = ? WHERE sha256 = ? AND ended_ms IS NULL')
  }

  putArtifact(sha256: string, bytes: number, nowMs: number): void {
    this.#db
      .prepare('INSERT INTO artifacts (sha256, bytes, created_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING')
      .run(sha256, bytes, nowMs)
  }

  artifact(sha256: string): { bytes: number } | undefined {
    return this.#db.prepare<[string], { bytes: number }>('SELECT bytes FROM artifacts WHERE sha256 = ?').get(sha256)
  }

  /** All that were ever stored. */
  artifacts(): readonly { readonly sha256: string; readonly bytes: number }[] {
    return this.#db.prepare<[], { sha256: string; bytes: number }>('SELECT sha256, bytes FROM artifacts').all()
  }

  add(
    release: Release,
    parent: string | null,
    nowMs: number,
    { verifier, signals = [], family = DEFAULT_FAMILY }: ReleaseExtras = {},
  ): ReleaseRecord {
    const { name, version, sha256, bytes } = release
    this.#db
      .prepare(
        `INSERT INTO releases (name, version, sha256, prefix, bytes, parent, state, content, verifier, signals, registered_ms, family)
         VALUES (?, ?, ?, ?, ?, ?, 'candidate', ?, ?, ?, ?, ?)`,
      )
      .run(
        ...[name, version, sha256, sha256.slice(0, 16), bytes, parent, JSON.stringify(release)],
        ...[verifier?.sha256 ?? null, signals.length === 0 ? null : JSON.stringify(signals), nowMs, family],
      )
    return present(this.bySha256(sha256), 'the model just stored')
  }

  #one(where: string, ...values: (string | number)[]): ReleaseRecord | undefined {
    let lookup = this.#lookups.get(where)
    if (lookup === undefined) {
      lookup = this.#db.prepare<(string | number)[], Row>(`SELECT * FROM releases WHERE ${where}`)
      this.#lookups.set(where, lookup)
    }
    const row = lookup.get(...values)
    return row && toRecord(row)
  }

  byId(id: number): ReleaseRecord | undefined {
    return this.#one('id = ?', id)
  }
  bySha256(sha256: string): ReleaseRecord | undefined {
    return this.#one('sha256 = ?', sha256)
  }
  /** By the first 8 bytes of its hash, hex. */
  byPrefix(prefix: string): ReleaseRecord | undefined {
    return this.#one('prefix = ?', prefix)
  }
  /** The version given, or the newest of the name. */
  byName(name: string, version?: number): ReleaseRecord | undefined {
    return version === undefined
      ? this.#one('name = ? ORDER BY version DESC LIMIT 1', name)
      : this.#one('name = ? AND version = ?', name, version)
  }
  /** Families that have a release, by name. */
  families(): readonly string[] {
    return this.#db.prepare<[], string>('SELECT DISTINCT family FROM releases ORDER BY family').pluck().all()
  }

  /** Releases of a family, or of all, that are in production, the one that came last first. */
  productions(family?: string): readonly ReleaseRecord[] {
    return this.#db
      .prepare<[{ family: string | null }], Row>(
        `SELECT r.* FROM releases r WHERE r.state = 'production' AND (@family IS NULL OR r.family = @family)
         ORDER BY ${PRODUCED_SQL} DESC, r.id DESC`,
      )
      .all({ family: family ?? null })
      .map(toRecord)
  }

  /** The production model of a family on a board: the one that came last of those that are for it. */
  productionFor(family: string, board: string): ReleaseRecord | undefined {
    return this.productions(family).find(({ content }) => content.boards.length === 0 || content.boards.includes(board))
  }

  /** Productions of a family that no board would be given any more: of each board that they are for, another came later. */
  superseded(family: string): readonly ReleaseRecord[] {
    const later = new Set<string>()
    let isAllLater = false
    return this.productions(family).filter(({ content: { boards } }) => {
      const isReplaced = isAllLater || (boards.length > 0 && boards.every((board) => later.has(board)))
      isAllLater ||= boards.length === 0
      for (const board of boards) later.add(board)
      return isReplaced
    })
  }

  /** Puts releases that were archived back into production, in the order in which they came into it before: of two for one board the later
   *  one is the board's again. */
  restore(ids: Iterable<number>, by: string, reason: string, nowMs: number): void {
    const archived = this.#db
      .prepare<[string], Row>(
        `SELECT r.* FROM releases r WHERE r.state = 'archived' AND r.id IN (SELECT value FROM json_each(?)) ORDER BY ${PRODUCED_SQL}, r.id`,
      )
      .all(JSON.stringify([...ids]))
    for (const row of archived) this.setState(toRecord(row), 'production', by, reason, nowMs)
  }

  /** Oldest first. */
  list(family?: string): readonly ReleaseRecord[] {
    return this.#db
      .prepare<[{ family: string | null }], Row>(
        'SELECT * FROM releases WHERE @family IS NULL OR family = @family ORDER BY id',
      )
      .all({ family: family ?? null })
      .map(toRecord)
  }

  /** Whether devices of the sites may need an artifact: the bundle of a release that is in production, or that one of them is to run, was
   *  given or has run, a patch to it, or what judges its wakes. */
  isNeededAt(sha256: string, sites: readonly string[]): boolean {
    const isOf = ({ sha256: own, content, verifier }: ReleaseRecord): boolean =>
      own === sha256 || verifier === sha256 || content.patches?.some((patch) => patch.sha256 === sha256) === true
    return this.list().some((release) => isOf(release) && this.#isRunAt(release, sites))
  }

  #isRunAt(release: ReleaseRecord, sites: readonly string[]): boolean {
    if (release.state === 'production') return true
    const own = 'IN (SELECT value FROM json_each(@sites))'
    const found = this.#db.prepare<[{ id: number; prefix: string; sites: string }], { needed: number }>(
      `SELECT EXISTS (SELECT 1 FROM devices WHERE target = @id AND site ${own})
         OR EXISTS (SELECT 1 FROM assignments WHERE release = @id AND site ${own})
         OR EXISTS (SELECT 1 FROM boots b JOIN devices d ON d.id = b.device WHERE b.model = @prefix AND d.site ${own}) AS needed`,
    )
    const { id, prefix } = release
    return found.get({ id, prefix, sites: JSON.stringify(sites) })?.needed === 1
  }

  setRisk(release: number, risk: ReleaseRisk): void {
    this.#db.prepare('UPDATE releases SET risk = ? WHERE id = ?').run(risk, release)
  }

  /** What takes a release out of use ends what people have approved. */
  setState(release: ReleaseRecord, to: ReleaseState, by: string, reason: string, nowMs: number): void {
    this.#db.prepare('UPDATE releases SET state = ? WHERE id = ?').run(to, release.id)
    if (to === 'archived') this.#endApprovals.run(nowMs, release.sha256)
    this.record(release.id, release.state, to, by, reason, nowMs)
  }

  record(
    release: number,
    from: ReleaseState | null,
    to: ReleaseState,
    by: string,
    reason: string,
    nowMs: number,
  ): void {
    this.#db
      .prepare(
        'INSERT INTO release_history (release, from_state, to_state, at_ms, actor, reason) VALUES (?, ?, ?, ?, ?, ?)',
      )
      .run(release, from, to, nowMs, by, reason)
  }

  history(release: number): readonly ReleaseTransition[] {
    return this.#db
      .prepare<[number], ReleaseTransition>(
        `SELECT from_state AS "from", to_state AS "to", at_ms AS atMs, actor AS "by", reason
         FROM release_history WHERE release = ? ORDER BY id`,
      )
      .all(release)
  }
}
