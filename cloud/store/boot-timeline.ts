import { SERVICE_CLOCK_MS_MIN } from '../../contract/time-floor.ts'
import type { SqliteDatabase } from './database.ts'

export const HOUR_MS = 3_600_000

/** Boot numbers of one incarnation are below this: a boot column holds ordinal × BOOTS + boot. */
export const BOOTS = 2 ** 32
/** What a boot column may hold is exact in a double up to here. A device that invents more incarnations is not heard any more. */
const INCARNATIONS_MAX = 2 ** 20
/** chosen: a gateway's clock may be ahead of the cloud's by this much and still be believed */
const AHEAD_MS_MAX = 5 * 60_000
/** chosen: hours that are summed anew when a boot moves in time; a year of them */
const MOVED_HOURS_MAX = 366 * 24
/** chosen: boots of a crash loop whose starts follow from the one after them; those before wait until they are heard of again */
const CASCADE_MAX = 1_000

/** When a row was received: by the gateway's clock, or now where that clock cannot be right.
 *  @param nowMs the cloud's own time, Unix ms */
export const believedReceiptMs = (receivedMs: number, nowMs: number): number =>
  receivedMs < SERVICE_CLOCK_MS_MIN || receivedMs > nowMs + AHEAD_MS_MAX ? nowMs : receivedMs

/** The wall hour of slot 0 of a boot, that of the slot's middle; slot s is of this one + s. */
export const baseHour = (startedMs: number): number => Math.floor((startedMs + HOUR_MS / 2) / HOUR_MS)

interface Start {
  readonly boot: number
  readonly heard_ms: number
  readonly uptime_ms: number
  readonly started_ms: number
}

const SQL = {
  ordinal: 'SELECT ordinal FROM incarnations WHERE device = ? AND incarnation = ?',
  nextOrdinal: 'SELECT count(*) AS n FROM incarnations WHERE device = ?',
  addIncarnation: 'INSERT INTO incarnations (device, incarnation, ordinal) VALUES (?, ?, ?)',
  start: 'SELECT * FROM boot_starts WHERE device = ? AND boot = ?',
  next: 'SELECT * FROM boot_starts WHERE device = ? AND boot > ? AND boot < ? ORDER BY boot LIMIT 1',
  former: 'SELECT * FROM boot_starts WHERE device = ? AND boot < ? AND boot >= ? ORDER BY boot DESC LIMIT 1',
  write: `INSERT INTO boot_starts (device, boot, heard_ms, uptime_ms, started_ms) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET heard_ms = excluded.heard_ms, uptime_ms = excluded.uptime_ms, started_ms = excluded.started_ms`,
  moveBoot: `UPDATE boots SET started_ms = @started, time_ms = @started + uptime_ms, base_hour = @base,
    last_hour = @base + uptime_ms / 3600000 WHERE device = @device AND boot = @boot`,
  moveEvents: `UPDATE events SET time_ms = @started + uptime_ms
    WHERE device = @device AND boot = @boot AND uptime_ms IS NOT NULL`,
  moveHours: 'UPDATE device_hours SET hour = @base + slot WHERE device = @device AND boot = @boot',
  moveVerdicts: `UPDATE verdicts SET hour = @base + slot
    WHERE device = @device AND boot = @boot AND instr(gateway, '@') = 0`,
  moveHourly: `UPDATE verdicts SET slot = max(0, hour - @base)
    WHERE device = @device AND boot = @boot AND instr(gateway, '@') > 0`,
  span: 'SELECT min(slot) AS low, max(slot) AS high FROM device_hours WHERE device = ? AND boot = ?',
  dirty: 'INSERT INTO dirty_hours (hour) VALUES (?) ON CONFLICT DO NOTHING',
} as const

/** When the boots of devices began. A device's wall clock is not asked: a clock that is absent, behind or set back would put what happened
 *  into other hours than it happened in. What is known of a boot is that each of its messages was received after it was made:
 *
 *      started <= received - uptime        for every message of the boot
 *      started <= next boot's start - uptime
 *
 *  and the least of these is the estimate: it is late by the quickest delivery that the boot ever had, seconds as a rule. It can only
 *  fall, and does not depend on the order in which messages come. The second rule tells when a boot was whose messages all waited out an
 *  outage in the device's flash.
 *
 *  A device whose oscillator is slow or fast is as wrong as its uptime is: 100 ppm are four minutes in a month.
 */
export class BootTimeline {
  readonly #run
  readonly #find
  /** at most one entry an incarnation */
  readonly #ordinals = new Map<string, number>()

  constructor(db: SqliteDatabase) {
    const run = (sql: string) => db.prepare<unknown[]>(sql)
    this.#run = {
      addIncarnation: run(SQL.addIncarnation),
      write: run(SQL.write),
      moves: [SQL.moveBoot, SQL.moveEvents].map(run),
      hourMoves: [SQL.moveHours, SQL.moveVerdicts, SQL.moveHourly].map(run),
      dirty: run(SQL.dirty),
    }
    this.#find = {
      ordinal: db.prepare<[number, number], { ordinal: number }>(SQL.ordinal),
      nextOrdinal: db.prepare<[number], { n: number }>(SQL.nextOrdinal),
      start: db.prepare<[number, number], Start>(SQL.start),
      next: db.prepare<[number, number, number], Start>(SQL.next),
      former: db.prepare<[number, number, number], Start>(SQL.former),
      span: db.prepare<[number, number], { low: number | null; high: number | null }>(SQL.span),
    }
  }

  /** What boot columns hold for a boot of an incarnation of a device: the newest incarnation has the highest numbers.
   *  @returns undefined past INCARNATIONS_MAX */
  boot(device: number, incarnation: number, boot: number): number | undefined {
    const key = `${device}/${incarnation}`
    let ordinal = this.#ordinals.get(key) ?? this.#find.ordinal.get(device, incarnation)?.ordinal
    if (ordinal === undefined) {
      ordinal = this.#find.nextOrdinal.get(device)?.n ?? 0
      if (ordinal >= INCARNATIONS_MAX) return undefined
      this.#run.addIncarnation.run(device, incarnation, ordinal)
    }
    this.#ordinals.set(key, ordinal)
    return ordinal * BOOTS + boot
  }

  /** After a rollback: what the table says is true. */
  reset(): void {
    this.#ordinals.clear()
  }

  /** Unix ms at which the boot began, as far as is known; undefined when nothing was heard that tells. */
  startedMs(device: number, boot: number): number | undefined {
    return this.#find.start.get(device, boot)?.started_ms
  }

  /** Takes in that a message of this uptime was received then, and moves what is stored of the boot, and of boots before it, where it began
   *  earlier than was thought.
   *  @returns when the boot began, Unix ms */
  observe(device: number, boot: number, receivedMs: number, uptimeMs: number): number {
    const known = this.#find.start.get(device, boot)
    const heard = Math.min(known?.heard_ms ?? receivedMs - uptimeMs, receivedMs - uptimeMs)
    const uptime = Math.max(known?.uptime_ms ?? 0, uptimeMs)
    if (known !== undefined && heard === known.heard_ms && uptime === known.uptime_ms) return known.started_ms
    const next = this.#find.next.get(device, boot, incarnationEnd(boot))
    const started = this.#settle(
      device,
      { boot, heard_ms: heard, uptime_ms: uptime },
      next?.started_ms,
      known?.started_ms,
    )
    let after = { boot, started_ms: started }
    for (let i = 0; started !== known?.started_ms && i < CASCADE_MAX; i++) {
      const former = this.#find.former.get(device, after.boot, incarnationEnd(boot) - BOOTS)
      if (former === undefined) break
      const moved = this.#settle(device, former, after.started_ms, former.started_ms)
      if (moved === former.started_ms) break
      after = { boot: former.boot, started_ms: moved }
    }
    return started
  }

  /** An hour's sums are to be made anew. */
  dirtyHour(hour: number): void {
    this.#run.dirty.run(hour)
  }

  #settle(
    device: number,
    { boot, heard_ms, uptime_ms }: Omit<Start, 'started_ms'>,
    nextMs: number | undefined,
    formerly: number | undefined,
  ): number {
    const started = Math.max(0, Math.min(heard_ms, nextMs === undefined ? heard_ms : nextMs - uptime_ms))
    this.#run.write.run(device, boot, heard_ms, uptime_ms, started)
    if (started === formerly) return started
    const base = baseHour(started)
    const place = { device, boot, started, base }
    for (const move of this.#run.moves) move.run(place)
    if (formerly !== undefined && baseHour(formerly) === base) return started
    const { low, high } = this.#find.span.get(device, boot) ?? {}
    for (const move of this.#run.hourMoves) move.run(place)
    if (low == null || high == null) return started
    for (const hour of formerly === undefined ? [base] : [baseHour(formerly), base]) {
      for (let slot = Math.max(0, high - MOVED_HOURS_MAX); slot <= high; slot++) this.#run.dirty.run(hour + slot)
    }
    return started
  }
}

/** The first number of a boot column that is of the next incarnation. */
const incarnationEnd = (boot: number): number => (Math.floor(boot / BOOTS) + 1) * BOOTS
