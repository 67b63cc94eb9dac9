import type { Statement } from 'better-sqlite3'
import type { Store } from './store.ts'

/** chosen: the cloud asks for wakes of the last 26 hours, and may be away for a while */
export const KEPT_MS = 48 * 3_600_000
/** chosen: two days of 25 an hour, 0.7 MB; a device that wakes more often keeps its newest, and so takes none of the others' room */
const DEVICE_WAKES_MAX = 1_200
/** chosen: 110 MB of wakes of 550 bytes; of more the oldest of all go first */
const WAKES_MAX = 200_000

/** Wakes as devices sent them, for the cloud to judge some a second time. Only those of devices that sign which wakes they sent. */
export class KeptWakes {
  readonly #most: { readonly device: number; readonly all: number }
  readonly #insert: Statement<[string, number, number, number, number, Uint8Array]>
  readonly #range: Statement<[string, number, number, number, number], { payload: Buffer }>
  readonly #dropOfDevice: Statement<[string]>
  readonly #dropOldest: Statement<[]>
  readonly #dropOld: Statement<[number]>
  readonly #counts: Statement<[], { device: string; n: number }>
  /** wakes of each device */
  readonly #count = new Map<string, number>()
  #all = 0

  constructor(store: Store, most = { device: DEVICE_WAKES_MAX, all: WAKES_MAX }) {
    this.#most = most
    this.#insert = store.prepare(
      'INSERT INTO kept_wake (device, incarnation, boot, idx, received, payload) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
    )
    this.#range = store.prepare(
      `SELECT payload FROM kept_wake WHERE device = ? AND incarnation = ? AND boot = ? AND idx BETWEEN ? AND ? ORDER BY idx`,
    )
    this.#dropOfDevice = store.prepare(
      'DELETE FROM kept_wake WHERE id = (SELECT id FROM kept_wake WHERE device = ? ORDER BY id LIMIT 1)',
    )
    this.#dropOldest = store.prepare('DELETE FROM kept_wake WHERE id = (SELECT min(id) FROM kept_wake)')
    // 0: received when nobody knew the time; the bounds above are theirs.
    this.#dropOld = store.prepare('DELETE FROM kept_wake WHERE received > 0 AND received < ?')
    this.#counts = store.prepare('SELECT device, count(*) AS n FROM kept_wake GROUP BY device')
    this.recount()
  }

  recount(): void {
    this.#count.clear()
    this.#all = 0
    for (const { device, n } of this.#counts.all()) {
      this.#count.set(device, n)
      this.#all += n
    }
  }

  /** In the transaction that counts the wake. @param receivedMs Unix ms; 0: not known */
  add(
    wake: { readonly device: string; readonly incarnation: number; readonly boot: number; readonly index: number },
    receivedMs: number,
    payload: Uint8Array,
  ): void {
    const { device, incarnation, boot, index } = wake
    if (this.#insert.run(device, incarnation, boot, index, receivedMs, payload).changes === 0) return
    const count = (this.#count.get(device) ?? 0) + 1
    this.#count.set(device, count)
    this.#all++
    if (count > this.#most.device) {
      this.#dropOfDevice.run(device)
      this.#count.set(device, count - 1)
      this.#all--
    } else if (this.#all > this.#most.all) {
      this.#dropOldest.run()
      this.recount()
    }
  }

  /** Those that are there of a boot's wakes. @param limit at most so many */
  range(
    wake: { readonly device: string; readonly incarnation: number; readonly boot: number },
    first: number,
    last: number,
  ): readonly Uint8Array[] {
    return this.#range.all(wake.device, wake.incarnation, wake.boot, first, last).map(({ payload }) => payload)
  }

  forgetBefore(ms: number): void {
    if (this.#dropOld.run(ms).changes > 0) this.recount()
  }
}
