import type { SqliteDatabase } from './database.ts'
import { type SignedCount, WakeBounds } from './wake-bounds.ts'

/** A slot of which a gateway is asked for the wakes, and what it had said of them when it was chosen. */
export interface WakeCheck {
  readonly id: number
  readonly gateway: string
  readonly device: number
  readonly boot: number
  readonly slot: number
  /** indices of the wakes between the reports around the slot, both inclusive */
  readonly first: number
  readonly last: number
  readonly confirmed: number
  readonly rejected: number
  readonly askedMs: number
}

/** What has come of a gateway's checks. */
export interface CheckedSums {
  /** verdicts judged twice, and those of them that differ */
  readonly wakes: number
  readonly differ: number
  /** of each device: checks in which something could have been wanting, and in which it was */
  readonly devices: readonly { readonly checks: number; readonly wanting: number }[]
}

/** A slot that may be checked. */
export type Candidate = Pick<WakeCheck, 'device' | 'boot' | 'slot'>

const CHECK = `id, gateway, device, boot, slot, first, last, confirmed, rejected, asked_ms AS askedMs`

/** Second judgements of wakes: what is asked, and what came of it. */
export class WakeCheckStore {
  readonly #db: SqliteDatabase
  readonly #bounds: WakeBounds
  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#bounds = new WakeBounds(db)
  }

  /** Gateways that judge wakes and are believed. @param sinceHour that have said verdicts of this hour or later */
  judging(sinceHour: number): readonly string[] {
    return this.#db
      .prepare<[number], { name: string }>(
        `SELECT name FROM gateways g WHERE g.quarantined_ms IS NULL AND g.revoked_ms IS NULL AND EXISTS (
           SELECT 1 FROM gateway_devices d JOIN verdicts v ON v.device = d.device
           WHERE d.gateway = g.name AND v.gateway = g.name AND v.hour >= ?)`,
      )
      .all(sinceHour)
      .map(({ name }) => name)
  }

  /** Slots of an hour in which devices that a gateway brings, and no other, have woken, whether or not it has said anything of them. */
  candidates(gateway: string, hour: number): readonly Candidate[] {
    return this.#db
      .prepare<[string, number], Candidate>(
        `SELECT h.device, h.boot, h.slot FROM device_hours h JOIN gateway_devices g ON g.device = h.device AND g.gateway = ?
         WHERE h.hour = ? AND NOT EXISTS (SELECT 1 FROM gateway_devices o WHERE o.device = h.device AND o.gateway <> g.gateway)
           AND NOT EXISTS (SELECT 1 FROM wake_checks c WHERE c.device = h.device AND c.boot = h.boot AND c.slot = h.slot)
         ORDER BY h.device, h.boot, h.slot`,
      )
      .all(gateway, hour)
  }

  /** Asks for a slot's wakes, if the device has signed how many there were, at least one and at most `most`.
   *  @returns whether it is asked */
  ask(gateway: string, { device, boot, slot }: Candidate, most: number, nowMs: number): boolean {
    const around = this.#bounds.around(device, boot, slot)
    if (around === undefined) return false
    const first = (around.from?.wakes ?? 0) + 1
    const last = around.to.wakes
    if (last < first || last - first >= most) return false
    return (
      this.#db
        .prepare(
          `INSERT INTO wake_checks (gateway, device, boot, slot, first, last, asked_ms, confirmed, rejected)
           SELECT @gateway, @device, @boot, @slot, @first, @last, @nowMs, total(confirmed), total(rejected) FROM verdicts
           WHERE device = @device AND boot = @boot AND slot = @slot AND gateway = @gateway ON CONFLICT DO NOTHING`,
        )
        .run({ gateway, device, boot, slot, first, last, nowMs }).changes === 1
    )
  }

  /** What is asked of a gateway and not answered, oldest first. */
  asked(gateway: string, limit: number): readonly WakeCheck[] {
    return this.#db
      .prepare<[string, number], WakeCheck>(
        `SELECT ${CHECK} FROM wake_checks WHERE gateway = ? AND state = 'asked' ORDER BY id LIMIT ?`,
      )
      .all(gateway, limit)
  }

  /** As the gateway knows the boot. */
  bootOf({ device, boot }: Pick<WakeCheck, 'device' | 'boot'>, boots: number): { incarnation: number; boot: number } {
    const found = this.#db
      .prepare<[number, number], { incarnation: number }>(
        'SELECT incarnation FROM incarnations WHERE device = ? AND ordinal = ?',
      )
      .get(device, Math.floor(boot / boots))
    return { incarnation: found?.incarnation ?? 0, boot: boot % boots }
  }

  /** What the device signed in the span of a check. */
  signed({ device, boot, first, last }: WakeCheck): readonly SignedCount[] {
    return this.#bounds.between(device, boot, first, last)
  }

  book(id: number, result: { readonly wakes: number; readonly differ: number; readonly wanting: boolean }): void {
    this.#db
      .prepare("UPDATE wake_checks SET state = 'judged', wakes = ?, differ = ?, wanting = ? WHERE id = ?")
      .run(result.wakes, result.differ, result.wanting ? 1 : 0, id)
  }

  /** What was asked before a time and not answered by a gateway that has been heard since another. */
  overdue(askedBeforeMs: number, heardAfterMs: number): readonly WakeCheck[] {
    return this.#db
      .prepare<[number, number], WakeCheck>(
        `SELECT ${CHECK.replace('id,', 'c.id,')} FROM wake_checks c JOIN gateways g ON g.name = c.gateway
         WHERE c.asked_ms < ? AND c.state = 'asked' AND g.last_ms > ? ORDER BY c.asked_ms, c.id`,
      )
      .all(askedBeforeMs, heardAfterMs)
  }

  sums(gateway: string): CheckedSums {
    const rows = this.#db
      .prepare<[string], { wakes: number; differ: number; checks: number; wanting: number }>(
        `SELECT total(wakes) AS wakes, total(differ) AS differ, total(wakes > 0 OR wanting) AS checks, total(wanting) AS wanting
         FROM wake_checks WHERE gateway = ? AND state = 'judged' GROUP BY device`,
      )
      .all(gateway)
    const sum = (of: 'wakes' | 'differ'): number => rows.reduce((total, row) => total + row[of], 0)
    return {
      ...{ wakes: sum('wakes'), differ: sum('differ') },
      devices: rows.map(({ checks, wanting }) => ({ checks, wanting })),
    }
  }

  /** Its checks until now count no more: it begins anew. */
  forget(gateway: string): void {
    this.#db.prepare("UPDATE wake_checks SET state = 'void' WHERE gateway = ?").run(gateway)
  }
}
