import { present } from '../../contract/present.ts'
import type { SqliteDatabase } from './database.ts'
import type { GateMetricName, GatePolicy } from './gate-policy.ts'
import type { GateReading } from './gate-reading.ts'
import { RUNNING_CODES_SQL } from './identity-store.ts'

export type RolloutState = 'running' | 'paused' | 'rolled-back' | 'completed'

export interface RolloutRecord {
  readonly id: string
  readonly release: number
  readonly previous: number
  readonly state: RolloutState
  /** percent of the eligible devices exposed by each stage, rising, the last 100 */
  readonly percents: readonly number[]
  /** from 1; 0 before the first */
  readonly stage: number
  readonly stageStartedMs: number
  /** hours a person granted beyond the policy's maximum by resuming */
  readonly grantedHours: number
  readonly policy: GatePolicy
  readonly salt: string
  readonly createdMs: number
  readonly createdBy: string
  readonly endedMs: number | null
  /** one sentence: why the rollout is in its state */
  readonly why: string
  readonly reading: GateReading | null
}

export interface RolloutDevice {
  readonly device: number
  readonly bucket: number
  /** stage that exposed it, null: control */
  readonly stage: number | null
  readonly late: boolean
  readonly zFalse: number | null
  readonly zVerified: number | null
}

export interface StageRecord {
  readonly stage: number
  readonly percent: number
  readonly startedMs: number
  readonly endedMs: number | null
}

interface Row {
  id: string
  release: number
  previous: number
  state: RolloutState
  percents: string
  stage: number
  stage_started_ms: number
  granted_hours: number
  policy: string
  salt: string
  created_ms: number
  created_by: string
  ended_ms: number | null
  why: string
  reading: string | null
}

const toRecord = (row: Row): RolloutRecord => ({
  id: row.id,
  release: row.release,
  previous: row.previous,
  state: row.state,
  percents: JSON.parse(row.percents) as number[],
  stage: row.stage,
  stageStartedMs: row.stage_started_ms,
  grantedHours: row.granted_hours,
  policy: JSON.parse(row.policy) as GatePolicy,
  salt: row.salt,
  createdMs: row.created_ms,
  createdBy: row.created_by,
  endedMs: row.ended_ms,
  why: row.why,
  reading: row.reading === null ? null : (JSON.parse(row.reading) as GateReading),
})

/** Rollouts, their stages, who is in which arm, and the evidence frozen batch by batch. */
export class RolloutStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  add(row: Omit<RolloutRecord, 'state' | 'stage' | 'stageStartedMs' | 'grantedHours' | 'endedMs' | 'reading'>): void {
    this.#db
      .prepare(
        `INSERT INTO rollouts (id, release, previous, state, percents, stage, stage_started_ms, granted_hours, policy, salt,
           created_ms, created_by, why) VALUES (?, ?, ?, 'running', ?, 0, ?, 0, ?, ?, ?, ?, ?)`,
      )
      .run(
        ...[row.id, row.release, row.previous, JSON.stringify(row.percents), row.createdMs],
        ...[JSON.stringify(row.policy), row.salt, row.createdMs, row.createdBy, row.why],
      )
  }

  get(id: string): RolloutRecord | undefined {
    const row = this.#db.prepare<[string], Row>('SELECT * FROM rollouts WHERE id = ?').get(id)
    return row && toRecord(row)
  }

  /** The one rollout that is running or paused. */
  open(): RolloutRecord | undefined {
    const row = this.#db.prepare<[], Row>("SELECT * FROM rollouts WHERE state IN ('running', 'paused')").get()
    return row && toRecord(row)
  }

  /** Newest first. */
  list(limit: number): readonly RolloutRecord[] {
    return this.#db
      .prepare<[number], Row>('SELECT * FROM rollouts ORDER BY created_ms DESC, rowid DESC LIMIT ?')
      .all(limit)
      .map(toRecord)
  }

  setState(id: string, state: RolloutState, why: string, endedMs: number | null): void {
    this.#db.prepare('UPDATE rollouts SET state = ?, why = ?, ended_ms = ? WHERE id = ?').run(state, why, endedMs, id)
  }

  setReading(id: string, reading: GateReading, why: string): void {
    this.#db.prepare('UPDATE rollouts SET reading = ?, why = ? WHERE id = ?').run(JSON.stringify(reading), why, id)
  }

  grant(id: string, hours: number): void {
    this.#db.prepare('UPDATE rollouts SET granted_hours = granted_hours + ? WHERE id = ?').run(hours, id)
  }

  beginStage(id: string, stage: number, percent: number, nowMs: number): void {
    this.#db
      .prepare('UPDATE rollouts SET stage = ?, stage_started_ms = ?, granted_hours = 0 WHERE id = ?')
      .run(stage, nowMs, id)
    this.#db
      .prepare('INSERT INTO rollout_stages (rollout, stage, percent, started_ms) VALUES (?, ?, ?, ?)')
      .run(id, stage, percent, nowMs)
  }

  endStage(id: string, stage: number, nowMs: number): void {
    this.#db.prepare('UPDATE rollout_stages SET ended_ms = ? WHERE rollout = ? AND stage = ?').run(nowMs, id, stage)
  }

  stages(id: string): readonly StageRecord[] {
    return this.#db
      .prepare<[string], StageRecord>(
        `SELECT stage, percent, started_ms AS startedMs, ended_ms AS endedMs FROM rollout_stages
         WHERE rollout = ? ORDER BY stage`,
      )
      .all(id)
  }

  addDevice(id: string, device: number, bucket: number, late: boolean): void {
    this.#db
      .prepare('INSERT INTO rollout_devices (rollout, device, bucket, late) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING')
      .run(id, device, bucket, late ? 1 : 0)
  }

  devices(id: string): readonly RolloutDevice[] {
    return this.#db
      .prepare<[string], Omit<RolloutDevice, 'late'> & { late: number }>(
        `SELECT device, bucket, stage, late, z_false AS zFalse, z_verified AS zVerified FROM rollout_devices
         WHERE rollout = ? ORDER BY device`,
      )
      .all(id)
      .map((row) => ({ ...row, late: row.late === 1 }))
  }

  expose(id: string, device: number, stage: number): void {
    this.#db.prepare('UPDATE rollout_devices SET stage = ? WHERE rollout = ? AND device = ?').run(stage, id, device)
  }

  /** Freezes a device's covariates at the start of a stage that randomises it, which also makes it count from now on. */
  setCovariates(id: string, device: number, zFalse: number | null, zVerified: number | null): void {
    this.#db
      .prepare('UPDATE rollout_devices SET late = 0, z_false = ?, z_verified = ? WHERE rollout = ? AND device = ?')
      .run(zFalse, zVerified, id, device)
  }

  freeze(id: string, stage: number, metric: GateMetricName, d: number, variance: number): void {
    this.#db
      .prepare(
        'INSERT INTO rollout_batches (rollout, stage, metric, d, variance) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
      )
      .run(id, stage, metric, d, variance)
  }

  batches(id: string, metric: GateMetricName): readonly { d: number; variance: number }[] {
    return this.#db
      .prepare<[string, string], { d: number; variance: number }>(
        'SELECT d, variance FROM rollout_batches WHERE rollout = ? AND metric = ? ORDER BY stage',
      )
      .all(id, metric)
  }

  exposed(id: string): number {
    const count = this.#db.prepare<[string], { n: number }>(
      'SELECT count(stage) AS n FROM rollout_devices WHERE rollout = ?',
    )
    return present(count.get(id), 'the row of an aggregate').n
  }

  /** Devices of the rollout that run the model: by their own signed word if they have a key, else by their newest report, which a
   *  gateway could make up. */
  installed(id: string, model: string): number {
    const count = this.#db.prepare<[string, string], { n: number }>(
      `SELECT count(*) AS n FROM rollout_devices r WHERE r.rollout = ? AND r.stage IS NOT NULL AND ? = CASE
           WHEN EXISTS (SELECT 1 FROM device_keys k WHERE k.device = r.device)
           THEN (SELECT e.model FROM events e WHERE e.device = r.device AND e.attested = 1 AND e.model IS NOT NULL
             AND e.code IN (${RUNNING_CODES_SQL}) ORDER BY e.boot DESC, e.seq DESC LIMIT 1)
           ELSE (SELECT model FROM boots b WHERE b.device = r.device ORDER BY boot DESC LIMIT 1) END`,
    )
    return present(count.get(id, model), 'the row of an aggregate').n
  }

  /** Exposed devices that have a key, so that what they say of their installs is their own word. */
  attestable(id: string): number {
    const count = this.#db.prepare<[string], { n: number }>(
      `SELECT count(*) AS n FROM rollout_devices r WHERE r.rollout = ? AND r.stage IS NOT NULL
           AND EXISTS (SELECT 1 FROM device_keys k WHERE k.device = r.device AND k.state = 'active')`,
    )
    return present(count.get(id), 'the row of an aggregate').n
  }

  /** Exposed devices that began to install the model since a time, and those of them that failed or reverted. By device, not
   *  by attempt: attempts of one device are not independent. Of a device with a key only what it signed counts. */
  installs(id: string, model: string, sinceMs: number): { started: number; failed: number; refused: number } {
    const count = (codes: string): number => {
      const devices = this.#db.prepare<[string, string, number], { n: number }>(
        `SELECT count(DISTINCT e.device) AS n FROM events e
           JOIN rollout_devices r ON r.rollout = ? AND r.device = e.device AND r.stage IS NOT NULL
           WHERE e.model = ? AND e.code IN (${codes}) AND e.time_ms >= ? AND e.attested IS NOT 0`,
      )
      return present(devices.get(id, model, sinceMs), 'the row of an aggregate').n
    }
    return {
      started: count("'install-started', 'install-failed', 'reverted', 'install-confirmed'"),
      failed: count("'install-failed', 'reverted'"),
      refused: count("'install-refused'"),
    }
  }
}
