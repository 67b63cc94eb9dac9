import { HOUR_MS } from './boot-timeline.ts'
import type { SqliteDatabase } from './database.ts'

/** chosen: slots of uptime on either side of a report that are looked at again when it comes; a device that says nothing for longer than a
 *  week between two reports has its wakes of that time unbounded by slot */
const SLOTS_MAX = 7 * 24

/** chosen: a wake is counted when the stretch of listening ends in which it was heard, and belongs to the moment at which it was: a report that
 *  counts all of an hour is at least this much after it. A simulated device hears five minutes at a time, a real one a fifth of a second. */
const STRETCH_MS = 10 * 60_000

/** What a device has signed at one moment of a boot. */
export interface SignedCount {
  readonly uptimeMs: number
  /** wakes of the boot so far, which is the index of the newest */
  readonly wakes: number
  /** names the newest wake, see contract/attested-report.ts */
  readonly link: Uint8Array
  /** first 8 bytes of the running bundle's sha256, hex */
  readonly model: string
  /** messages of the boot that it has dropped so far */
  readonly drops: number
}

const COUNT = `json_extract(body, '$.uptimeMs') AS uptimeMs, json_extract(body, '$.counters[4]') AS wakes,
  wake_link AS link, json_extract(body, '$.model') AS model, json_extract(body, '$.counters[7]') AS drops`

/** How many wakes there can have been in an hour of a boot, by what the device signed before and after it, and in all hours until its newest
 *  report: whoever judges wakes cannot have judged more. A bound on what gateways say of devices that sign their reports; of others there is none. */
export class WakeBounds {
  readonly #newest
  readonly #before
  readonly #after
  readonly #said
  readonly #rows
  readonly #drop
  readonly #between

  constructor(db: SqliteDatabase) {
    // Uptime rises with the number of the report.
    const at = (where: string, order: string) =>
      db.prepare<[{ device: number; boot: number; uptimeMs: number }], SignedCount>(
        `SELECT ${COUNT} FROM reports WHERE device = @device AND boot = @boot AND wake_link IS NOT NULL
           AND json_extract(body, '$.uptimeMs') ${where} @uptimeMs ORDER BY seq ${order} LIMIT 1`,
      )
    // By itself SQLite walks the primary key: of a device that signs nothing through all reports of the boot.
    this.#newest = db.prepare<[number, number], SignedCount>(
      `SELECT ${COUNT} FROM reports INDEXED BY reports_signed
       WHERE device = ? AND boot = ? AND wake_link IS NOT NULL ORDER BY seq DESC LIMIT 1`,
    )
    this.#before = at('<=', 'DESC')
    this.#after = at('>=', 'ASC')
    this.#between = db.prepare<[number, number, number, number], SignedCount>(
      `SELECT ${COUNT} FROM reports WHERE device = ? AND boot = ? AND wake_link IS NOT NULL
         AND json_extract(body, '$.counters[4]') BETWEEN ? AND ? GROUP BY json_extract(body, '$.counters[4]') ORDER BY seq`,
    )
    this.#said = db.prepare<
      [{ device: number; boot: number; low: number; high: number; slot: number; gateway: string; pipeline: number }],
      { n: number }
    >(
      `SELECT total(confirmed + rejected + unjudged) AS n FROM verdicts
       WHERE device = @device AND boot = @boot AND slot BETWEEN @low AND @high AND NOT (slot = @slot AND gateway = @gateway AND pipeline = @pipeline)`,
    )
    this.#rows = db.prepare<[number, number, number, number], { slot: number; n: number; other: number }>(
      `SELECT v.slot, sum(v.confirmed + v.rejected + v.unjudged) AS n, max(v.model <> b.model OR instr(v.gateway, '@') > 0) AS other
       FROM verdicts v JOIN boots b ON b.device = v.device AND b.boot = v.boot
       WHERE v.device = ? AND v.boot = ? AND v.slot BETWEEN ? AND ? GROUP BY v.slot`,
    )
    this.#drop = db.prepare<[number, number, number], { gateway: string; hour: number | null }>(
      'DELETE FROM verdicts WHERE device = ? AND boot = ? AND slot = ? RETURNING gateway, hour',
    )
  }

  /** What the device signed last before a slot and first after it. @returns undefined until both are known, or if it signs nothing */
  around(
    device: number,
    boot: number,
    slot: number,
  ): { readonly from: Pick<SignedCount, 'wakes' | 'link'> | undefined; readonly to: SignedCount } | undefined {
    const to = this.#after.get({ device, boot, uptimeMs: (slot + 1) * HOUR_MS + STRETCH_MS })
    if (to === undefined) return undefined
    return { from: this.#before.get({ device, boot, uptimeMs: slot * HOUR_MS }), to }
  }

  /** What the device signed while it sent these wakes, once for each count. */
  between(device: number, boot: number, first: number, last: number): readonly SignedCount[] {
    return this.#between.all(device, boot, first, last)
  }

  /** Whether a gateway may say so many verdicts of a slot, with what other gateways say of it.
   *  @param given.slot undefined: of an hour of receipt, which those that hand on signed reports do not say */
  allows(given: {
    readonly device: number
    readonly boot: number
    readonly slot: number | undefined
    readonly gateway: string
    readonly model: string
    readonly pipeline: number
    readonly verdicts: number
  }): boolean {
    const { device, boot, slot, gateway, pipeline } = given
    const newest = this.#newest.get(device, boot)
    if (newest === undefined) return true
    if (slot === undefined || given.model !== newest.model) return false
    const fits = (low: number, high: number, wakes: number): boolean =>
      (this.#said.get({ device, boot, low, high, slot, gateway, pipeline })?.n ?? 0) + given.verdicts <= wakes
    const closed = lastClosed(newest)
    if (slot > closed) return true
    const around = this.around(device, boot, slot)
    return fits(0, closed, newest.wakes) && (around === undefined || fits(slot, slot, wakesIn(around)))
  }

  /** Drops verdicts, of slots that a report has closed, that are more than the device signed to have sent.
   *  @returns what was dropped */
  enforce(device: number, boot: number, uptimeMs: number): readonly { gateway: string; hour: number | null }[] {
    const slot = Math.floor(uptimeMs / HOUR_MS)
    const before = this.#before.get({ device, boot, uptimeMs: uptimeMs - 1 })
    const after = this.#after.get({ device, boot, uptimeMs: uptimeMs + 1 })
    // The slot before may be closed by this one only.
    const low = Math.max(Math.floor((before?.uptimeMs ?? 0) / HOUR_MS) - 1, slot - SLOTS_MAX)
    const high = Math.min(Math.floor((after?.uptimeMs ?? uptimeMs) / HOUR_MS), slot + SLOTS_MAX)
    const drop = ({ slot: at }: { readonly slot: number }) => this.#drop.all(device, boot, at)
    const rows = this.#rows.all(device, boot, low, high)
    const wrong = rows.filter(({ slot: at, n, other }) => {
      const around = this.around(device, boot, at)
      return other === 1 || (around !== undefined && n > wakesIn(around))
    })
    const dropped = wrong.flatMap(drop)
    const newest = this.#newest.get(device, boot)
    const closed = newest === undefined ? -1 : lastClosed(newest)
    const all = this.#said.get({ device, boot, low: 0, high: closed, slot: -1, gateway: '', pipeline: 0 })?.n ?? 0
    if (newest === undefined || all <= newest.wakes) return dropped
    // Which of the new ones were made up nobody can say.
    return [...dropped, ...rows.filter((row) => row.slot <= closed && !wrong.includes(row)).flatMap(drop)]
  }
}

/** The last slot of which all wakes are counted by then; -1: none. */
const lastClosed = ({ uptimeMs }: SignedCount): number => Math.floor((uptimeMs - STRETCH_MS) / HOUR_MS) - 1

const wakesIn = ({ from, to }: NonNullable<ReturnType<WakeBounds['around']>>): number => to.wakes - (from?.wakes ?? 0)
