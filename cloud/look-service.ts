import { type HarmAfter, readAfter } from './rollout/after-rollout.ts'
import { type Pasts, readPasts } from './rollout/executor.ts'
import { type GateLook, GateLooks } from './rollout/gate-looks.ts'
import { type Changes, EVERYTHING } from './store/device-changes.ts'
import type { FleetHour } from './store/fleet-store.ts'
import { packLargeInput } from './store/packed-input.ts'
import { Store } from './store/store.ts'
import type { DriftPolicy } from './telemetry/drift-policy.ts'
import { DriftReader, type DriftReading } from './telemetry/drift-reader.ts'
import { type FleetNow, fleetNow } from './telemetry/fleet-now.ts'
import { readSilence, type Silence } from './telemetry/silence.ts'

/** chosen: what kept hours of large rollouts may take, outside of the heap: 100 000 devices with a week of hours take 0.7 GB */
const KEPT_HOURS_BYTES = 2 * 1024 ** 3

export interface LookOptions {
  /** the cloud's database file */
  readonly path: string
  readonly drift: DriftPolicy
}

/** A look, and what it was computed from where that is to be kept. */
export interface LookedAt {
  readonly look: GateLook
  readonly packedInput: Uint8Array | null
}

/** Reads the gates of large rollouts, and drift, on a connection of its own that only reads: each time as of one moment, whatever is written
 *  meanwhile. */
export class LookService {
  readonly #store: Store
  readonly #looks: GateLooks
  readonly #drift: DriftReader

  constructor({ path, drift }: LookOptions) {
    this.#store = Store.reader(path)
    this.#looks = new GateLooks(this.#store, KEPT_HOURS_BYTES)
    this.#drift = new DriftReader(this.#store, drift)
  }

  /** From now on, and until it has looked, it sees the database as it is at this moment. */
  begin(): void {
    this.#end()
    this.#store.db.exec('BEGIN')
    // The moment is that of the first read.
    this.#store.db.prepare('SELECT 1 FROM rollouts LIMIT 1').get()
  }

  /** @param changes at least what has changed from the moment of the look before to that of this one
   *  @returns null: the rollout has ended */
  async look(id: string, nowMs: number, changes: Changes): Promise<LookedAt | null> {
    let input: unknown
    let look: GateLook
    try {
      this.#looks.note(changes)
      const rollout = this.#store.rollouts.get(id)
      if (rollout === undefined || rollout.endedMs !== null) return null
      const seen = this.#looks.look(rollout, nowMs)
      look = seen.look
      input = seen.input
    } catch (cause) {
      // What was half noted is noted nowhere else.
      this.#looks.note(EVERYTHING)
      throw cause
    } finally {
      this.#end()
    }
    return { look, packedInput: input === null ? null : await packLargeInput(input) }
  }

  /** What the devices of a rollout did before its next stage. */
  pasts(id: string, nowMs: number): Pasts | undefined {
    return this.#atOnce(() => {
      const rollout = this.#store.rollouts.get(id)
      return rollout && readPasts(this.#store, rollout, nowMs)
    })
  }

  /** @param hour number of the hour that is not looked at any more */
  drift(hour: number): DriftReading {
    return this.#atOnce(() => this.#drift.read(hour))
  }

  /** Sums of the fleet in an hour. */
  sums(hour: number): readonly FleetHour[] {
    return this.#atOnce(() => this.#store.fleet.sums(hour))
  }

  /** What is looked for once an hour: what rollouts that are over did, and who has fallen silent. */
  afterwards(nowMs: number): { readonly harm: readonly HarmAfter[]; readonly silence: Silence } {
    return this.#atOnce(() => {
      this.#looks.forgetEnded()
      return { harm: readAfter(this.#store, nowMs), silence: readSilence(this.#store, nowMs) }
    })
  }

  /** What a summary of the fleet reads of every device. */
  present(family: string | undefined): FleetNow {
    return this.#atOnce(() => fleetNow(this.#store, family))
  }

  close(): void {
    this.#end()
    this.#store.close()
  }

  #atOnce<T>(read: () => T): T {
    this.begin()
    try {
      return read()
    } finally {
      this.#end()
    }
  }

  #end(): void {
    if (this.#store.db.inTransaction) this.#store.db.exec('COMMIT')
  }
}
