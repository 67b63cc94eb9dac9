import { present } from '../../contract/present.ts'
import { HOUR_MS } from './boot-timeline.ts'
import type { SqliteDatabase } from './database.ts'
import type { GatePolicy } from './gate-policy.ts'
import type { BatchEvidence, Exposure, GateReading } from './gate-reading.ts'
import { HELD_OUT_SQL } from './gateway-store.ts'
import { isRunningWord } from './identity-store.ts'
import type { InstallingMax } from './install-turns.ts'
import type { RolloutPlan } from './rollout-plan.ts'

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
  /** since when it is paused, null while it is not */
  readonly pausedSinceMs: number | null
  /** how long the running stage has been paused before */
  readonly pausedMs: number
  readonly policy: GatePolicy
  /** name@version of the policy that it was started with, before what was changed for it; null: none */
  readonly policyName: string | null
  /** the query that chose its devices, which were frozen at the start, '': all that there were; null: of its family and boards whoever is enrolled
   *  takes part, and at its end the release becomes production */
  readonly cohort: string | null
  /** how long two releases run side by side before everybody goes back; null: it is no experiment */
  readonly experimentHours: number | null
  /** how many of its devices install at once */
  readonly installingMax: InstallingMax
  /** what was worked out at the start: who takes part, what each stage can find */
  readonly plan: RolloutPlan
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
  /** enrolled while a stage ran, so not randomised with it: no evidence from it */
  readonly late: boolean
  /** release it ran before, which it goes back to */
  readonly previous: number
  /** stays as control until the rollout completes */
  readonly holdback: boolean
  /** since when it is in its arm */
  readonly sinceMs: number
  /** first contact in its arm, null: none yet. What is asked of a device's contact begins there */
  readonly enteredMs: number | null
  /** first contact as control, of a device that was exposed later */
  readonly controlEnteredMs: number | null
  /** number of the first assignment of the candidate since it was last told to run something else; null: none has been signed. What the
   *  device signs counts as an install of this rollout from this one on */
  readonly sinceSeq: number | null
  /** when it had been silent for longer than it ever was before, null: never since it entered */
  readonly silentMs: number | null
  /** how long it may be silent, by its own gaps before the rollout */
  readonly boundMs: number
  /** last contact of all */
  readonly lastSeenMs: number
  /** slices of the fleet that it is in, as of when it joined; null: it joined before there were any, or (environment) is in none */
  readonly board: string | null
  readonly site: string | null
  readonly environment: string | null
  /** y and x of each signal before its stage; null: not frozen yet */
  readonly past: Readonly<Record<string, readonly [y: number, x: number]>> | null
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
  paused_since_ms: number | null
  paused_ms: number
  policy: string
  policy_name: string | null
  cohort: string | null
  experiment_hours: number | null
  installing_max: number | null
  installing_max_site: number | null
  plan: string
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
  pausedSinceMs: row.paused_since_ms,
  pausedMs: row.paused_ms,
  policy: JSON.parse(row.policy) as GatePolicy,
  policyName: row.policy_name,
  cohort: row.cohort,
  experimentHours: row.experiment_hours,
  installingMax: { fleet: row.installing_max, site: row.installing_max_site },
  plan: JSON.parse(row.plan) as RolloutPlan,
  salt: row.salt,
  createdMs: row.created_ms,
  createdBy: row.created_by,
  endedMs: row.ended_ms,
  why: row.why,
  reading: row.reading === null ? null : (JSON.parse(row.reading) as GateReading),
})

interface DeviceRow extends Omit<RolloutDevice, 'late' | 'holdback' | 'past'> {
  readonly late: number
  readonly holdback: number
  readonly past: string | null
}

const toDevice = (row: DeviceRow): RolloutDevice => ({
  ...row,
  late: row.late === 1,
  holdback: row.holdback === 1,
  past: row.past === null ? null : (JSON.parse(row.past) as RolloutDevice['past']),
})

const DEVICE = `SELECT r.device, r.bucket, r.stage, r.late, r.previous, r.holdback, r.since_ms AS sinceMs,
  r.entered_ms AS enteredMs, r.control_entered_ms AS controlEnteredMs, r.since_seq AS sinceSeq, r.silent_ms AS silentMs,
  r.bound_ms AS boundMs, r.board, r.site, r.environment, r.past, d.last_seen_ms AS lastSeenMs
  FROM rollout_devices r JOIN devices d ON d.id = r.device WHERE r.rollout = ? AND r.left_ms IS NULL`

export interface RolloutFilter {
  readonly family?: string | undefined
  /** only those that are running or paused */
  readonly isOpen?: boolean | undefined
}

/** Whether it has been heard in its arm, noted or not. */
const ENTERED = '(r.entered_ms IS NOT NULL OR d.last_seen_ms > r.since_ms)'
const OF_FAMILY_SQL = '(@family IS NULL OR release IN (SELECT id FROM releases WHERE family = @family))'
const OPEN_SQL = "state IN ('running', 'paused')"
/** chosen: rollouts are looked back at once an hour, and an hour may be missed */
const LOOK_HOURS = 2

/** Whether the evidence that a stage left behind is free of what a gateway in quarantine said: no device of the rollout is held out for a
 *  gateway that was taken for honest when the stage ended. The sums cannot be taken apart, so they wait for the gateway's release. */
const UNTAINTED = `NOT EXISTS (SELECT 1 FROM rollout_stages s JOIN gateways g ON g.quarantined_ms >= s.ended_ms
  WHERE s.rollout = f.rollout AND s.stage = f.stage AND EXISTS (SELECT 1 FROM rollout_devices r JOIN devices d ON d.id = r.device
    WHERE r.rollout = f.rollout AND (
      EXISTS (SELECT 1 FROM gateway_devices gd WHERE gd.gateway = g.name AND gd.device = r.device)
      OR EXISTS (SELECT 1 FROM gateway_sites gs WHERE gs.gateway = g.name AND gs.site = d.site))))`

/** Rollouts, their stages, who is in which arm, and the evidence frozen batch by batch. */
export class RolloutStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  add(
    row: Pick<
      RolloutRecord,
      | 'id'
      | 'release'
      | 'previous'
      | 'percents'
      | 'policy'
      | 'plan'
      | 'salt'
      | 'createdMs'
      | 'createdBy'
      | 'why'
      | 'policyName'
      | 'cohort'
      | 'experimentHours'
      | 'installingMax'
    >,
  ): void {
    this.#db
      .prepare(
        `INSERT INTO rollouts (id, release, previous, state, percents, stage, stage_started_ms, granted_hours, policy, plan,
           salt, created_ms, created_by, why, policy_name, cohort, experiment_hours,
           installing_max, installing_max_site)
         VALUES (?, ?, ?, 'running', ?, 0, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        ...[row.id, row.release, row.previous, JSON.stringify(row.percents), row.createdMs],
        ...[JSON.stringify(row.policy), JSON.stringify(row.plan), row.salt, row.createdMs, row.createdBy, row.why],
        ...[row.policyName, row.cohort, row.experimentHours, row.installingMax.fleet, row.installingMax.site],
      )
  }

  get(id: string): RolloutRecord | undefined {
    const row = this.#db.prepare<[string], Row>('SELECT * FROM rollouts WHERE id = ?').get(id)
    return row && toRecord(row)
  }

  /** Rollouts of a family, or of all, that are running or paused, oldest first. */
  allOpen(family?: string): readonly RolloutRecord[] {
    return this.#db
      .prepare<[{ family: string | null }], Row>(
        `SELECT * FROM rollouts WHERE ${OPEN_SQL} AND ${OF_FAMILY_SQL} ORDER BY created_ms, rowid`,
      )
      .all({ family: family ?? null })
      .map(toRecord)
  }

  /** The open rollout that a device takes part in, or was chosen for. */
  openOf(device: number): RolloutRecord | undefined {
    const row = this.#db
      .prepare<[{ device: number }], Row>(
        `SELECT * FROM rollouts WHERE ${OPEN_SQL} AND id IN
           (SELECT rollout FROM rollout_devices WHERE device = @device AND left_ms IS NULL
            UNION SELECT rollout FROM rollout_cohort WHERE device = @device AND left_ms IS NULL)`,
      )
      .get({ device })
    return row && toRecord(row)
  }

  /** Devices that take part in an open rollout other than this, or were chosen for it. */
  takenByOthers(id: string | null): ReadonlySet<number> {
    const taken = this.#db
      .prepare<[{ id: string | null }], number>(
        ['rollout_devices', 'rollout_cohort']
          .map(
            (table) => `SELECT d.device FROM rollouts r JOIN ${table} d ON d.rollout = r.id
              WHERE r.${OPEN_SQL} AND r.id IS NOT @id AND d.left_ms IS NULL`,
          )
          .join(' UNION ALL '),
      )
      .pluck()
    return new Set(taken.all({ id }))
  }

  /** Newest first. @param before id of the last of the page before; one that is not known is followed by nothing */
  list(limit: number, before?: string, { family, isOpen }: RolloutFilter = {}): readonly RolloutRecord[] {
    return this.#db
      .prepare<[{ before: string | null; family: string | null; open: 0 | 1; limit: number }], Row>(
        `SELECT * FROM rollouts WHERE
           (@before IS NULL OR (created_ms, rowid) < (SELECT created_ms, rowid FROM rollouts WHERE id = @before))
           AND ${OF_FAMILY_SQL}
           AND (@open = 0 OR ${OPEN_SQL})
         ORDER BY created_ms DESC, rowid DESC LIMIT @limit`,
      )
      .all({ before: before ?? null, family: family ?? null, open: isOpen === true ? 1 : 0, limit })
      .map(toRecord)
  }

  /** Completed rollouts whose devices are still compared with their past, as far as their policy says, oldest first. */
  completedLately(nowMs: number): readonly RolloutRecord[] {
    return this.#db
      .prepare<[number], Row>(
        `SELECT * FROM rollouts WHERE state = 'completed' AND experiment_hours IS NULL
           AND ended_ms + ${HOUR_MS} * (json_extract(policy, '$.afterHours') + ${LOOK_HOURS}) >= ? ORDER BY created_ms, rowid`,
      )
      .all(nowMs)
      .map(toRecord)
  }

  /** The newest rollout of a release, however it went. */
  newestOf(release: number): RolloutRecord | undefined {
    const row = this.#db
      .prepare<[number], Row>('SELECT * FROM rollouts WHERE release = ? ORDER BY created_ms DESC, rowid DESC LIMIT 1')
      .get(release)
    return row && toRecord(row)
  }

  /** The newest completed rollout of a release over whoever fits. */
  completedOf(release: number): RolloutRecord | undefined {
    const row = this.#db
      .prepare<[number], Row>(
        `SELECT * FROM rollouts WHERE release = ? AND state = 'completed' AND cohort IS NULL ORDER BY created_ms DESC, rowid DESC LIMIT 1`,
      )
      .get(release)
    return row && toRecord(row)
  }

  /** Rollouts that were started after this one, without experiments that are over: of those nothing is left. */
  startedAfter(id: string): readonly Pick<RolloutRecord, 'id' | 'release' | 'cohort'>[] {
    return this.#db
      .prepare<[string], Pick<RolloutRecord, 'id' | 'release' | 'cohort'>>(
        `SELECT id, release, cohort FROM rollouts
         WHERE (created_ms, rowid) > (SELECT created_ms, rowid FROM rollouts WHERE id = ?)
           AND (experiment_hours IS NULL OR ${OPEN_SQL})`,
      )
      .all(id)
  }

  /** Whether it has ended, or is not there. */
  isOver(id: string): boolean {
    return this.#db.prepare(`SELECT 1 FROM rollouts WHERE id = ? AND ${OPEN_SQL}`).get(id) === undefined
  }

  setState(id: string, state: RolloutState, why: string, endedMs: number | null): void {
    this.#db.prepare('UPDATE rollouts SET state = ?, why = ?, ended_ms = ? WHERE id = ?').run(state, why, endedMs, id)
  }

  /** Stops the stage's clock. */
  stopClock(id: string, nowMs: number): void {
    this.#db.prepare('UPDATE rollouts SET paused_since_ms = coalesce(paused_since_ms, ?) WHERE id = ?').run(nowMs, id)
  }

  startClock(id: string, nowMs: number): void {
    this.#db
      .prepare(
        `UPDATE rollouts SET paused_ms = paused_ms + max(0, ? - coalesce(paused_since_ms, ?)), paused_since_ms = NULL
         WHERE id = ?`,
      )
      .run(nowMs, nowMs, id)
  }

  setPolicy(id: string, policy: GatePolicy): void {
    this.#db.prepare('UPDATE rollouts SET policy = ? WHERE id = ?').run(JSON.stringify(policy), id)
  }

  /** @param reading null: nothing has been said of the stage yet */
  setReading(id: string, reading: GateReading | null, why: string): void {
    const text = reading === null ? null : JSON.stringify(reading)
    this.#db.prepare('UPDATE rollouts SET reading = ?, why = ? WHERE id = ?').run(text, why, id)
  }

  grant(id: string, hours: number): void {
    this.#db.prepare('UPDATE rollouts SET granted_hours = granted_hours + ? WHERE id = ?').run(hours, id)
  }

  beginStage(id: string, stage: number, percent: number, nowMs: number): void {
    this.#db
      .prepare(
        `UPDATE rollouts SET stage = ?, stage_started_ms = ?, granted_hours = 0, paused_ms = 0, paused_since_ms = NULL
         WHERE id = ?`,
      )
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

  addDevice(
    id: string,
    row: Pick<
      RolloutDevice,
      'device' | 'bucket' | 'late' | 'previous' | 'holdback' | 'sinceMs' | 'boundMs' | 'board' | 'site' | 'environment'
    >,
  ): void {
    this.#db
      .prepare(
        `INSERT INTO rollout_devices (rollout, device, bucket, late, previous, holdback, since_ms, bound_ms, board, site,
           environment) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
      )
      .run(
        ...[id, row.device, row.bucket, row.late ? 1 : 0, row.previous, row.holdback ? 1 : 0],
        ...[row.sinceMs, row.boundMs, row.board, row.site, row.environment],
      )
  }

  /** Devices that take part, in order of their row numbers; not those that were removed or revoked since. */
  devices(id: string): readonly RolloutDevice[] {
    return this.#db.prepare<[string], DeviceRow>(`${DEVICE} ORDER BY r.device`).all(id).map(toDevice)
  }

  /** Devices that take part, or did. */
  members(id: string): ReadonlySet<number> {
    const members = this.#db.prepare<[string], { device: number }>(
      'SELECT device FROM rollout_devices WHERE rollout = ?',
    )
    return new Set(members.all(id).map(({ device }) => device))
  }

  /** One of those that take part. */
  device(id: string, device: number): RolloutDevice | undefined {
    const row = this.#db.prepare<[string, number], DeviceRow>(`${DEVICE} AND r.device = ?`).get(id, device)
    return row && toDevice(row)
  }

  /** Puts devices into the canary arm; what was known of their contact as control is kept beside. */
  expose(id: string, devices: readonly number[], stage: number, nowMs: number): void {
    this.#db
      .prepare(
        `UPDATE rollout_devices SET stage = ?, since_ms = ?, control_entered_ms = entered_ms, entered_ms = NULL
         WHERE rollout = ? AND device IN (SELECT value FROM json_each(?))`,
      )
      .run(stage, nowMs, id, JSON.stringify(devices))
  }

  /** Notes what a device that the open rollout has exposed is told by an assignment. Numbers of assignments only rise, and a device signs with
   *  what it does the number under which it did it: a word from before a rollout of the same release, or from before it was taken back,
   *  cannot be brought out later as one of this rollout. */
  noteTold(device: number, release: number, seq: number): void {
    this.#db
      .prepare(
        `UPDATE rollout_devices SET
           first_seq = iif(o.release = @release, coalesce(first_seq, @seq), first_seq),
           since_seq = iif(o.release = @release, coalesce(since_seq, @seq), NULL)
         FROM (SELECT id, release FROM rollouts WHERE state IN ('running', 'paused')) o
         WHERE rollout_devices.rollout = o.id AND rollout_devices.device = @device AND rollout_devices.stage IS NOT NULL`,
      )
      .run({ device, release, seq })
  }

  /** Freezes what a device did before a stage that randomises it, which also makes it count from now on.
   *  @param past of RolloutDevice, as JSON */
  setPast(id: string, device: number, past: string): void {
    this.#db
      .prepare('UPDATE rollout_devices SET late = 0, past = ? WHERE rollout = ? AND device = ?')
      .run(past, id, device)
  }

  /** Notes when a device was heard in its arm for the first time, and when it had been silent for too long. Both stay: a device that comes back
   *  was lost all the same, for as long as it takes to say so. */
  noteContact(
    id: string,
    { device, enteredMs, silentMs }: Pick<RolloutDevice, 'device' | 'enteredMs' | 'silentMs'>,
  ): void {
    this.#db
      .prepare(
        `UPDATE rollout_devices SET entered_ms = coalesce(entered_ms, ?), silent_ms = coalesce(silent_ms, ?)
         WHERE rollout = ? AND device = ?`,
      )
      .run(enteredMs, silentMs, id, device)
  }

  freeze(id: string, stage: number, signal: string, evidence: { batch: BatchEvidence | null; later: number }): void {
    const { batch, later } = evidence
    if (batch !== null) {
      this.#db
        .prepare(
          'INSERT INTO rollout_batches (rollout, stage, metric, d, variance) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
        )
        .run(id, stage, signal, batch.d, batch.variance)
    }
    this.#db
      .prepare('INSERT INTO rollout_later (rollout, stage, signal, log_e) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING')
      .run(id, stage, signal, later)
  }

  freezeSlice(
    id: string,
    stage: number,
    signal: string,
    { slice, batch, later }: { slice: number; batch: BatchEvidence | null; later: number },
  ): void {
    this.#db
      .prepare(
        `INSERT INTO rollout_slices (rollout, stage, signal, slice, d, variance, log_e) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING`,
      )
      .run(id, stage, signal, slice, batch?.d ?? null, batch?.variance ?? null, later)
  }

  /** What the slices said of each signal in the stages that have ended. */
  sliceEvidence(id: string): readonly {
    readonly signal: string
    readonly slice: number
    readonly stage: number
    readonly batch: BatchEvidence | null
    readonly later: number
  }[] {
    return this.#db
      .prepare<
        [string],
        { signal: string; slice: number; stage: number; d: number | null; variance: number | null; later: number }
      >(
        `SELECT signal, slice, stage, d, variance, log_e AS later FROM rollout_slices f WHERE rollout = ? AND ${UNTAINTED}
         ORDER BY signal, slice, stage`,
      )
      .all(id)
      .map(({ d, variance, ...row }) => ({ ...row, batch: d === null || variance === null ? null : { d, variance } }))
  }

  batches(id: string, signal: string): readonly BatchEvidence[] {
    return this.#db
      .prepare<[string, string], BatchEvidence>(
        `SELECT d, variance FROM rollout_batches f WHERE rollout = ? AND metric = ? AND ${UNTAINTED} ORDER BY stage`,
      )
      .all(id, signal)
  }

  /** Log e-values of what everybody exposed said in the stages that have ended, from the second on. */
  later(id: string, signal: string): readonly { stage: number; logE: number }[] {
    return this.#db
      .prepare<[string, string], { stage: number; logE: number }>(
        `SELECT stage, log_e AS logE FROM rollout_later f WHERE rollout = ? AND signal = ? AND stage > 1 AND ${UNTAINTED}
         ORDER BY stage`,
      )
      .all(id, signal)
  }

  exposed(id: string): number {
    const count = this.#db.prepare<[string], { n: number }>(
      'SELECT count(stage) AS n FROM rollout_devices WHERE rollout = ?',
    )
    return present(count.get(id), 'the row of an aggregate').n
  }

  /** Exposed devices: how many, how many of them were heard since they were told, how many of those run the model and are not silent, and
   *  how many are silent. What a device runs is its own signed word if it has a key: its newest, under an assignment of this rollout. Else it is
   *  its newest report, which a gateway could make up. */
  exposure(id: string, model: string, nowMs: number): Omit<Exposure, 'minShare'> {
    const count = this.#db.prepare<[number, string, number, string], Record<keyof Omit<Exposure, 'minShare'>, number>>(
      `SELECT count(*) AS assigned, count(nullif(${ENTERED}, 0)) AS heard,
         total(NOT EXISTS (SELECT 1 FROM device_keys k WHERE k.device = r.device)) AS unkeyed,
         total(${ENTERED} AND d.last_seen_ms + r.bound_ms < ?) AS silent,
         total(${ENTERED} AND ? = CASE
           WHEN EXISTS (SELECT 1 FROM device_keys k WHERE k.device = r.device)
           THEN (SELECT iif(coalesce(e.assignment_seq, 0) >= r.since_seq, e.model, NULL) FROM events e
             WHERE e.device = r.device AND ${isRunningWord('e')} ORDER BY e.boot DESC, e.seq DESC LIMIT 1)
           ELSE (SELECT model FROM boots b WHERE b.device = r.device ORDER BY boot DESC LIMIT 1) END
           AND d.last_seen_ms + r.bound_ms >= ?) AS installed
       FROM rollout_devices r JOIN devices d ON d.id = r.device
       WHERE r.rollout = ? AND r.stage IS NOT NULL AND r.left_ms IS NULL AND NOT ${HELD_OUT_SQL('r.device')}`,
    )
    return present(count.get(nowMs, model, nowMs, id), 'the row of an aggregate')
  }

  /** Exposed devices that have a key, so that what they say of their installs is their own word. */
  attestable(id: string): number {
    const count = this.#db.prepare<[string], { n: number }>(
      `SELECT count(*) AS n FROM rollout_devices r WHERE r.rollout = ? AND r.stage IS NOT NULL
           AND EXISTS (SELECT 1 FROM device_keys k WHERE k.device = r.device AND k.state = 'active')`,
    )
    return present(count.get(id), 'the row of an aggregate').n
  }

  /** Exposed devices that never had a key: that they run the candidate is the word of their gateway. */
  unkeyed(id: string): number {
    const count = this.#db.prepare<[string], { n: number }>(
      `SELECT count(*) AS n FROM rollout_devices r WHERE r.rollout = ? AND r.stage IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM device_keys k WHERE k.device = r.device)`,
    )
    return present(count.get(id), 'the row of an aggregate').n
  }

  /** Exposed devices that began to install the model, and those of them that failed or reverted. By device, not by attempt: attempts of one
   *  device are not independent. Of a device with a key only what it signed counts, under the assignments of this rollout; of others what is
   *  said since a time. */
  installs(id: string, model: string, sinceMs: number): { started: number; failed: number; refused: number } {
    const count = (codes: string): number => {
      const devices = this.#db.prepare<[string, string, number], { n: number }>(
        `SELECT count(DISTINCT e.device) AS n FROM events e
           JOIN rollout_devices r ON r.rollout = ? AND r.device = e.device AND r.stage IS NOT NULL
           WHERE e.model = ? AND e.code IN (${codes}) AND e.attested IS NOT 0
             AND iif(e.attested = 1, coalesce(e.assignment_seq, 0) >= r.first_seq, e.time_ms >= ?)
             AND (e.attested = 1 OR NOT ${HELD_OUT_SQL('e.device')})`,
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
